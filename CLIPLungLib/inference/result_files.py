"""The files beside the picture: heat map and numbers. A file under its final name is always complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.write import write_volume
from CLIPLungLib.inference.result import NoduleResult

ROUNDING_TOLERANCE = 1e-5


def require_finite(result: NoduleResult) -> None:
    """Refuse a result with numbers no reader could use.

    Raises:
        InputError: a number is NaN or infinite.
    """
    numbers = [*result.point_ras, result.malignancy_probability, result.diameter_mm, *result.class_probabilities]
    for attribute in result.attributes:
        numbers += [attribute.level, attribute.similarity, *attribute.level_probabilities]
    if result.measurement is not None:
        size = result.measurement
        numbers += [size.diameter_mm, *size.diameter_interval_mm, size.volume_mm3, *size.volume_interval_mm3]
    if not np.isfinite(numbers).all():
        raise InputError(
            f"The result at {result.point_ras} RAS mm cannot be used: it holds a number that is NaN or infinite. "
            "Check the CT around the point for damaged voxels and classify again."
        )


def write_json(result: NoduleResult, path: Path) -> None:
    """Write the numbers of a result as JSON.

    Raises:
        InputError: a number is NaN or infinite (JSON has no such numbers), or the file cannot be written.
    """
    require_finite(result)
    text = result.to_json()
    with writing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_heatmap(result: NoduleResult, path: Path) -> None:
    """Write the heat map as an NRRD volume: float32, 0..1, in patient space (LPS, as the format's readers expect).

    Raises:
        InputError: the heat map is not a finite 3-D array within 0..1, the name does not end in .nrrd, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".nrrd":
        raise InputError(f"'{path}' is no name for a heat map: it is stored as NRRD. Choose a name that ends in .nrrd.")
    write_volume(checked_heatmap(result), result.heatmap_to_ras, path)


def write_ct(ct: CTVolume, path: Path) -> None:
    """Write a CT as an NRRD volume in patient space.

    Raises:
        InputError: the file cannot be written.
    """
    write_volume(ct.hu, ct.ijk_to_ras, path)


def checked_heatmap(result: NoduleResult) -> np.ndarray:
    """The heat map as (Z, Y, X) float32 in 0..1.

    Raises:
        InputError: it is not a 3-D array of finite numbers within 0..1.
    """
    heatmap = np.asarray(result.heatmap, dtype=np.float32)
    low, high = -ROUNDING_TOLERANCE, 1.0 + ROUNDING_TOLERANCE
    # Written so that NaN fails it too.
    if heatmap.ndim != 3 or heatmap.size == 0 or not ((heatmap >= low) & (heatmap <= high)).all():
        raise InputError(
            f"The heat map at {result.point_ras} RAS mm cannot be used: it must be a 3-D array of numbers within 0..1 "
            f"(shape {heatmap.shape}). Check the CT around the point for damaged voxels and classify again."
        )
    return np.clip(heatmap, 0.0, 1.0)
