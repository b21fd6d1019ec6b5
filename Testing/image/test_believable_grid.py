"""Voxels that lost their spacing, their unit or the order of their axes are refused; grids that scanners and resampling make are not."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.believable_grid import grid_problem
from CLIPLungLib.image.ct_volume import CTVolume


def matrix(
    spacing_mm: tuple[float, float, float], origin_ras: tuple[float, ...] = (180.0, 170.0, -300.0)
) -> np.ndarray:
    """Columns to the left, rows to the back, slices upwards."""
    result = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    result[:3, 3] = origin_ras
    return result


NOWHERE = (0.0, 0.0, 0.0)
LOST = {
    "saved without a header": ((512, 512, 133), np.eye(4), "exactly 1 mm that begin at the origin.*spacing and place were lost"),
    "the same, mirrored": ((512, 512, 300), np.diag([-1.0, -1.0, 1.0, 1.0]), "exactly 1 mm"),
    "the same, turned": ((300, 1024, 1024), np.eye(4)[[2, 1, 0, 3]], "exactly 1 mm"),
    "slices first": ((133, 512, 512), matrix((0.7, 0.7, 1.25)), "133 x 512 x 512 voxels of 0.7 x 0.7 x 1.25 mm.*reverse order"),
    "slices first, thick": ((60, 768, 768), matrix((0.6, 0.6, 5.0)), "saved in the reverse order"),
    "centimetres": ((512, 512, 300), matrix((0.07, 0.07, 0.125)), "may be in another unit than mm"),
    "centimetres, large field": ((512, 512, 300), matrix((0.0977, 0.0977, 0.1)), "another unit"),
    "tenths of a millimetre": ((512, 512, 300), matrix((7.0, 7.0, 12.5)), "another unit"),
    "metres": ((512, 512, 300), matrix((7e-4, 7e-4, 1e-3)), "another unit"),
}  # fmt: skip


@pytest.mark.parametrize(("size_ijk", "ijk_to_ras", "message"), LOST.values(), ids=LOST)
def test_grids_that_no_scanner_makes_are_refused(size_ijk, ijk_to_ras, message):
    hu = np.broadcast_to(np.int16(-850), size_ijk[::-1])
    with pytest.raises(InputError, match=f"'CT' has .*{message}"):
        CTVolume(hu, ijk_to_ras).require_ct()


MADE = {
    "a scan": ((512, 512, 133), matrix((0.7, 0.7, 1.25))),
    "as many slices as pixels": ((512, 512, 512), matrix((0.7, 0.7, 1.25))),
    "pixels of 1 mm": ((512, 512, 300), matrix((1.0, 1.0, 1.0))),
    "a sagittal stack": ((300, 512, 512), matrix((1.25, 0.7, 0.7))),
    "a sagittal stack, evenly resampled": ((300, 512, 512), matrix((0.7, 0.7, 0.7))),
    "a coronal stack": ((512, 300, 512), matrix((0.7, 1.25, 0.7))),
    "cut to the lungs": ((400, 300, 512), matrix((0.7, 0.7, 1.25))),
    "resampled without a place": ((350, 350, 300), np.eye(4)),
    "without a place, but with its spacing": ((512, 512, 133), matrix((0.7, 0.7, 1.25), NOWHERE)),
    "cut around a nodule": ((40, 40, 40), np.eye(4)),
    "a small field of view": ((512, 512, 200), matrix((0.12, 0.12, 0.5))),
    "very fine pixels": ((2048, 2048, 600), matrix((0.0977, 0.0977, 0.25))),
    "the whole body": ((512, 512, 1400), matrix((1.37, 1.37, 1.5))),
    "far apart": ((512, 512, 30), matrix((0.7, 0.7, 10.0))),
}  # fmt: skip


@pytest.mark.parametrize(("size_ijk", "ijk_to_ras"), MADE.values(), ids=MADE)
def test_other_grids_are_taken(size_ijk, ijk_to_ras):
    assert grid_problem(np.array(size_ijk), ijk_to_ras) == ""


@pytest.mark.parametrize(
    ("size_ijk", "spacing_mm", "is_refused"),
    [
        ((512, 512, 9), (0.108, 0.108, 1.0), False),
        ((512, 512, 9), (0.107, 0.107, 1.0), True),
        ((511, 511, 9), (0.1, 0.1, 1.0), False),
        ((9, 9, 250), (1.0, 1.0, 10.0), False),
        ((9, 9, 251), (1.0, 1.0, 10.0), True),
        ((133, 512, 512), (0.7, 0.7, 0.74), True),
        ((133, 512, 512), (0.7, 0.7, 0.73), False),
        ((133, 512, 512), (0.7, 0.701, 1.25), False),
        ((133, 511, 511), (0.7, 0.7, 1.25), False),
    ],
)
def test_either_side_of_each_limit(size_ijk, spacing_mm, is_refused):
    assert bool(grid_problem(np.array(size_ijk), matrix(spacing_mm))) is is_refused
