"""What an answer of the program proposes to a guideline: its measured sizes and a type.

The reader confirms the type. The program's probability of malignancy is never used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.case import Size
from CLIPLungLib.guidelines.requirements import required

# The rating of the sign "texture": 1 is ground glass, 5 is solid.
GROUND_GLASS_BELOW, SOLID_FROM = 1.5, 4.5
HIGHEST_LEVEL, ROUNDING = 5, 1e-3
REMEDY = "Give the result.json that 'cliplung classify' wrote, or the size itself with --size."


@dataclass(frozen=True)
class Proposal:
    """What a `result.json` says of a nodule.

    Attributes:
        size: as the program measured it, to 0.1 mm and 1 mm3.
        interval_mm: holds the readers' longest diameter in 90 % of nodules.
        texture_level: expected rating of the sign "texture", 1..5.
        nodule_type: that the rating speaks for.
        warnings: of the answer.
    """

    size: Size
    interval_mm: tuple[float, float]
    texture_level: float
    nodule_type: str
    warnings: tuple[str, ...]

    @property
    def longest_mm(self) -> float:
        """The measured longest diameter."""
        return required(self.size.long_mm)

    @property
    def words(self) -> str:
        """The measurement and the proposed type in one line."""
        size, (low, high) = self.size, self.interval_mm
        return (
            f"measured: longest diameter {size.long_mm} mm ({low:.1f} to {high:.1f}), mean diameter {size.mean_mm} mm, "
            f"volume {size.volume_mm3:.0f} mm3; texture {self.texture_level:.1f} of 5 speaks for '{self.nodule_type}'"
        )


def read_proposal(file: Path) -> Proposal:
    """Read what `cliplung classify` wrote.

    Raises:
        InputError: no such answer, or one of a nodule that could not be measured.
        OSError: the file cannot be read.
    """
    try:
        plain = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{file}' is no JSON. {REMEDY}") from error
    measured = _part(plain, "measurement", file)
    low, high = (_number(value, file) for value in _pair(measured.get("diameter_interval_mm"), file))
    level = _number(_part(_part(plain, "attributes", file), "texture", file).get("level"), file)
    if not 1 - ROUNDING <= level <= HIGHEST_LEVEL + ROUNDING or low > high:
        raise InputError(
            f"'{file}' holds a texture of {level:g} (it is 1 to {HIGHEST_LEVEL}) or an interval of the diameter that runs backwards. {REMEDY}"
        )
    size = _size(measured, file)
    said = plain.get("warnings", [])
    warnings = tuple(text for text in said if isinstance(text, str)) if isinstance(said, list) else ()
    return Proposal(size, (low, high), level, proposed_type(level), warnings)


def _size(measured: Mapping[str, Any], file: Path) -> Size:
    mean_mm, long_mm, volume_mm3 = (
        _number(measured.get(name), file) for name in ("mean_diameter_mm", "diameter_mm", "volume_mm3")
    )
    try:
        return Size(mean_mm=round(mean_mm, 1), long_mm=round(long_mm, 1), volume_mm3=round(volume_mm3))
    except InputError as error:
        raise InputError(f"'{file}' holds sizes of no nodule: {error} {REMEDY}") from error


def proposed_type(texture_level: float) -> str:
    """The type that a rating of texture (1..5) speaks for: one of NODULE_TYPES."""
    if texture_level < GROUND_GLASS_BELOW:
        return "ground_glass"
    return "solid" if texture_level >= SOLID_FROM else "part_solid"


def _part(plain: Any, name: str, file: Path) -> Mapping[str, Any]:
    part = plain.get(name) if isinstance(plain, dict) else None
    if not isinstance(part, dict):
        raise InputError(f"'{file}' holds no {name}: the nodule may not have been outlined. {REMEDY}")
    return part


def _pair(value: Any, file: Path) -> list[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise InputError(f"'{file}' holds no interval of the diameter. {REMEDY}")
    return value


def _number(value: Any, file: Path) -> float:
    # Booleans are ints in Python; the range keeps out NaN and infinity, too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise InputError(f"'{file}' holds {value!r} where a positive number belongs. {REMEDY}")
    return float(value)
