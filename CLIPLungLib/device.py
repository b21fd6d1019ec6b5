"""Where torch computes. CUDA is the default where there is a GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of a name: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        InputError: unknown name, or a GPU that is not there.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Device '{name}' is not known: use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise InputError(f"Device '{name}' was asked for, but torch sees {found} GPU(s). Use --device auto or cpu.")
    return device


def autocast(device: torch.device) -> AbstractContextManager:
    """Half precision where it is fast and safe without loss scaling: bfloat16, on GPUs and CPUs that have it."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=_has_fast_bfloat16(device))


def _has_fast_bfloat16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Torch has no public name for this yet; without it the CPU computes in single precision.
    is_supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and is_supported is not None and is_supported()
