"""The processes that torchrun starts: `torchrun --nproc-per-node 2 -m CLIPLungLib train ...`. Without it there is one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from CLIPLungLib.device import choose_device

# The others wait while the first process answers for a fold or fits a model; torch's own patience is 10 minutes on GPUs.
PATIENCE = timedelta(hours=6)


@contextmanager
def joined_processes(device: str = "auto") -> Iterator[torch.device]:
    """Join torchrun's process group for the duration of the block; without torchrun, do nothing.

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
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield own
    finally:
        distributed.destroy_process_group()


def process_count() -> int:
    """Number of processes of this run, 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_rank() -> int:
    """Which of the processes this is, from 0."""
    return distributed.get_rank() if process_count() > 1 else 0


def wait_for_all() -> None:
    """Return when every process of this run has come this far."""
    if process_count() > 1:
        distributed.barrier()


def take_from_first(tensors: Iterable[Tensor]) -> None:
    """Give all processes the first one's values, in place."""
    if process_count() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of the values of all processes."""
    if process_count() == 1:
        return values
    total = values.clone()
    distributed.all_reduce(total)
    return total / process_count()
