"""Points in tables: the names of their columns, the axes these state, and numbers as people and programs write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Names of the columns of a point -> the signs that make it RAS. DICOM and LUNA16 (Setio et al., Med Image Anal 2017) state LPS.
POINT_COLUMNS = {
    ("r", "a", "s"): (1, 1, 1),
    ("x", "y", "z"): (-1, -1, 1),
    ("coordx", "coordy", "coordz"): (-1, -1, 1),
    ("l", "p", "s"): (-1, -1, 1),
}
# Columns whose name may go with its unit: "x (mm)", "r_mm".
NAME_WITH_UNIT = re.compile(r"(r|a|s|l|p|x|y|z|coord[xyz])[\s_]*(?:mm|\(mm\)|\[mm\])")
# Columns that state the axes of a row's point.
AXES_COLUMNS = frozenset(
    {
        "coordinate_system",
        "coordinatesystem",
        "coordinate system",
        "coordinate_frame",
        "coord_system",
        "coordsystem",
        "space",
        "frame",
    }
)
# "LPS", "RAS mm", "LPS+", "left-posterior-superior".
AXES_LETTERS = re.compile(r"([rl][ap][si])(?:\s*\(?mm\)?|\+)?")
AXES_WORDS = re.compile(r"(right|left)\W(anterior|posterior)\W(superior|inferior)")
INDEX_WORDS = frozenset({"ijk", "voxel", "voxels", "index", "pixel", "pixels", "image"})
# A decimal comma, or thousands set apart.
COMMA_AND_THREE = re.compile(r"[-+]?\d{1,3},\d{3}")
WHOLE_NUMBER = re.compile(r"[-+]?\d+")
# The minus sign, and the dashes that take its place in typeset tables.
MINUS_SIGNS = str.maketrans(dict.fromkeys("\u2212\u2013\ufe63\uff0d", "-"))

Signs = tuple[int, int, int]


def without_unit(name: str) -> str:
    """The name of a column of a point without its unit; any other name as it is."""
    found = NAME_WITH_UNIT.fullmatch(name)
    return found[1] if found else name


def axes_of(signs: Signs) -> str:
    """The axes of a point that these signs make RAS."""
    return "".join(letters[sign < 0] for letters, sign in zip(("RL", "AP", "SI"), signs, strict=True))


def signs_of_cell(cell: str, signs: Signs, names: Sequence[str]) -> Signs | str:
    """The signs that make a point RAS whose row states its axes, or what is wrong with that statement.

    Args:
        cell: of one of AXES_COLUMNS; words that name no axes do not count.
        signs: by the names of the point's columns.
        names: of these columns; x, y and z may be on any axes, r, a, s and l, p, s name theirs.
    """
    text = cell.strip().lower()
    if text in INDEX_WORDS:
        return f"The point is said to be in '{cell}', which are places in the image: give it in mm, as r,a,s or x,y,z."
    letters = AXES_LETTERS.fullmatch(text)
    words = AXES_WORDS.fullmatch(text)
    if not letters and not words:
        return signs
    axes = letters[1].upper() if letters else "".join(word[0] for word in words.groups()).upper() if words else ""
    stated = tuple(-1 if letter in "LPI" else 1 for letter in axes)
    if stated != signs and names[0] in ("r", "l"):
        return f"The columns {', '.join(names)} are {axes_of(signs)}, and the row says {axes}. Correct one of them."
    return stated[0], stated[1], stated[2]


def point_of(cells: Sequence[str], signs: Signs) -> tuple[float, float, float] | None:
    """RAS mm, or None for words, and where a comma may set thousands apart: beside a decimal point."""
    if any("." in cell for cell in cells) and any(COMMA_AND_THREE.fullmatch(plain_number(cell)) for cell in cells):
        return None
    try:
        r, a, s = (sign * number_of(cell) for cell, sign in zip(cells, signs, strict=True))
    except ValueError:
        return None
    return r, a, s


def plain_number(cell: str) -> str:
    """A number with a hyphen for its minus sign, and without the apostrophe by which spreadsheets keep it from being a formula."""
    return cell.translate(MINUS_SIGNS).removeprefix("'")


def number_of(cell: str) -> float:
    """A number with a decimal point or a decimal comma.

    Raises:
        ValueError: no number.
    """
    text = plain_number(cell)
    if "." not in text and text.count(",") == 1:
        text = text.replace(",", ".")
    if "_" in text:
        raise ValueError(cell)
    return float(text)


def is_whole(cell: str) -> bool:
    """Whether a cell holds a number without decimals, as decimal commas leave them behind."""
    return WHOLE_NUMBER.fullmatch(plain_number(cell)) is not None
