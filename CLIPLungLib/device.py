"""Where torch computes. A graphics card is the default where there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    import torch

KNOWN = "auto, cpu, cuda, cuda:N or mps"
# Words of torch's own errors that speak of the device, not of the input: no kernels for this card, its libraries, its memory.
FAULT_WORDS = ("cuda", "cudnn", "cublas", "cufft", "nvrtc", "hip error", "mps", "kernel image", "out of memory")


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of a name: "auto" (CUDA, else Apple's MPS, else the processor), "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        InputError: unknown name, or a device that is not there.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Device '{name}' is not known: use {KNOWN}.") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"Device '{name}' is not supported: use {KNOWN}.")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise InputError(f"Device '{name}' was asked for, but torch sees {found} GPU(s). Use --device auto or cpu.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"Device '{name}' was asked for, but this machine has no MPS. Use --device auto or cpu.")
    return device


def is_device_fault(error: RuntimeError) -> bool:
    """Whether the device failed, so that the processor may do better."""
    import torch

    text = str(error).lower()
    known = isinstance(error, torch.cuda.OutOfMemoryError | NotImplementedError)
    return known or any(word in text for word in FAULT_WORDS)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Half precision where it is fast and safe without loss scaling: bfloat16, on GPUs and CPUs that have it."""
    import torch

    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=_has_fast_bfloat16(device))


def _has_fast_bfloat16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Torch has no public name for this yet; without it the CPU computes in single precision.
    is_supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and is_supported is not None and bool(is_supported())
