"""Joining the processes that torchrun starts: `torchrun --nproc-per-node 2 -m CLIPLungLib train ...`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from CLIPLungLib.device import choose_device


@contextmanager
def joined_processes(device: str = "auto") -> Iterator[torch.device]:
    """Belong to torchrun's group of processes for as long as the block runs; without torchrun nothing is joined.

    Args:
        device: "auto", "cpu" or "cuda"; each process of a machine takes a GPU of its own, the one numbered LOCAL_RANK. "cuda:N"
            only without torchrun.

    Yields:
        The device of this process.

    Raises:
        InputError: unknown device, or fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield choose_device(device)
        return
    own = choose_device(device)
    if own.type == "cuda":
        own = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield own
    finally:
        distributed.destroy_process_group()
