"""The second reader in a checkpoint: its large tensors in half precision, as it was fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from CLIPLungLib.model.second_reader import SecondReader

PREFIX = "second_reader."
CENTRES = f"{PREFIX}centres"
# Of these the rounding was part of the fit.
HALF = (f"{PREFIX}features.", CENTRES)
MOST_CENTRES = 20_000


def second_reader_tensors(reader: SecondReader) -> dict[str, Tensor]:
    """Name -> tensor as it is stored."""
    named = {f"{PREFIX}{name}": value.cpu().contiguous() for name, value in reader.state_dict().items()}
    return {name: value.half() if _is_half(name, value) else value for name, value in named.items()}


def build_second_reader(tensors: dict[str, Tensor]) -> SecondReader | None:
    """The inverse; None where there is none.

    Raises:
        ValueError: tensors that are missing, unknown, of another shape or type, or not numbers.
    """
    import torch

    stored = {name: value for name, value in tensors.items() if name.startswith(PREFIX)}
    if not stored:
        return None
    from CLIPLungLib.model.second_reader import SecondReader

    if CENTRES not in stored or stored[CENTRES].ndim != 2 or not 1 <= len(stored[CENTRES]) <= MOST_CENTRES:
        raise ValueError(f"{CENTRES} must hold 1 to {MOST_CENTRES} rows")
    reader = SecondReader(len(stored[CENTRES]))
    wanted = second_reader_tensors(reader)
    if strange := stored.keys() ^ wanted.keys():
        raise ValueError(f"missing or unknown tensors: {', '.join(sorted(strange)[:3])}")
    for name, value in wanted.items():
        found = stored[name]
        if (found.shape, found.dtype) != (value.shape, value.dtype) or not torch.isfinite(found).all():
            raise ValueError(
                f"{name} is {found.dtype} {tuple(found.shape)}, expected {value.dtype} {tuple(value.shape)} of numbers"
            )
    if (stored[f"{PREFIX}deviation"] <= 0).any():
        raise ValueError(f"{PREFIX}deviation must be above 0")
    reader.load_state_dict(
        {
            name.removeprefix(PREFIX): value.float() if value.is_floating_point() else value
            for name, value in stored.items()
        }
    )
    return reader


def _is_half(name: str, value: Tensor) -> bool:
    return name.startswith(HALF) and value.is_floating_point()
