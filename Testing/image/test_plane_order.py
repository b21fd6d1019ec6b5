"""Whole chests whose planes are shuffled, sorted by name, cut or stacked are refused; scans as scanners and programs make them are not."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.plane_order import order_problem
from CLIPLungLib.image.read import read_ct

RANDOM = np.random.default_rng(0)
BREAK = "axial planes that do not follow each other"


def chest(planes: int = 100, noise_hu: float = 20.0) -> np.ndarray:
    """(planes, 128, 128) HU: a body whose outline, lungs and vessels change along it."""
    z, y, x = np.mgrid[:planes, :128, :128].astype(float)
    at = z / planes
    wide = 48 + 12 * np.sin(3 * at)
    hu = np.where(np.hypot((x - 64) / wide, (y - 64) / 40) < 1, 40.0, -1000.0)
    for side in (-1, 1):
        lung = 18 + 8 * np.sin(np.pi * at)
        hu[np.hypot((x - 64 - 24 * side) / lung, (y - 64 - 30 * at) / (1.3 * lung)) < 1] = -850
    for number in range(30):
        where = RANDOM.uniform(30, 98, 2), RANDOM.uniform(-60, 60, 2)
        hu[np.hypot(x - where[0][0] - where[1][0] * at, y - where[0][1] - where[1][1] * at) < 3 + number % 5] = 30
    return np.rint(hu + RANDOM.normal(0, noise_hu, hu.shape)).astype(np.int16)


CHEST = chest()
BY_NAME = CHEST[sorted(range(100), key=str)]
WRONG = {
    "sorted by name": (BY_NAME, BREAK),
    "shuffled": (CHEST[RANDOM.permutation(100)], "in no order"),
    "a scan on top of another": (np.concatenate([CHEST, CHEST]), BREAK),
    "a third missing": (np.delete(CHEST, range(40, 73), axis=0), "between 39 and 40 .counted from 0"),
    "halves exchanged": (np.roll(CHEST, 50, axis=0), "between 49 and 50 "),
}
SOUND = {
    "as scanned": CHEST,
    "upside down": CHEST[::-1],
    "every plane twice": np.repeat(CHEST, 2, axis=0),
    "half as many": CHEST[::2],
    "much noise": chest(noise_hu=150.0),
    "padded": np.concatenate([CHEST, np.full((30, 128, 128), -1024, np.int16)]),
    "planes lost in between, which are refused near a nodule only": np.where(
        np.mgrid[:100, :128, :128][0] // 3 == 15, -1024, CHEST
    ),
    "nothing but noise": RANDOM.normal(-800, 30, (100, 128, 128)),
    "a few planes": CHEST[[9, 3, 7, 1, 5]],
    "not all numbers": np.where(CHEST < -990, np.nan, CHEST),
}


@pytest.mark.parametrize(("hu", "problem"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_wrong_order_is_found_along_any_axis(hu, problem, axis):
    matrix = np.zeros((4, 4))
    # The patient's axis runs along this one of the array.
    for row, array_axis in zip((2, 0, 1), (axis, (axis + 1) % 3, (axis + 2) % 3), strict=True):
        matrix[row, 2 - array_axis] = 2.0
    matrix[3, 3] = 1.0
    ct = CTVolume(np.moveaxis(hu, (0, 1, 2), (axis, (axis + 1) % 3, (axis + 2) % 3)), matrix, "chest")
    with pytest.raises(InputError, match=f"'chest' has .*{problem}.*sorted by their positions"):
        ct.require_ct()


@pytest.mark.parametrize("hu", SOUND.values(), ids=SOUND)
def test_other_scans_are_in_order(hu):
    assert order_problem(hu) == ""


@pytest.mark.parametrize(("pixel_mm", "is_whole"), [(2.0, True), (1.0, False)])
def test_a_cut_around_a_nodule_is_not_judged(pixel_mm, is_whole):
    ct = CTVolume(BY_NAME, np.diag([pixel_mm, pixel_mm, 2.0, 1.0]))
    assert bool(ct._order_problem) is is_whole


def test_an_image_without_noise_is_made_up_and_not_judged():
    z, y, x = np.mgrid[:100, :128, :128]
    hu = np.where((y < 20 + z) & (x < 64), 40, -850).astype(np.int16)[sorted(range(100), key=str)]
    assert order_problem(hu) != ""
    CTVolume(hu, np.diag([2.0, 2.0, 2.0, 1.0])).require_ct()


@pytest.mark.parametrize("patient", ["LIDC-IDRI-0001", "LIDC-IDRI-0012"])
def test_real_series_are_in_order_until_they_are_sorted_by_name(lidc_folder, patient):
    hu = read_ct(lidc_folder / "dicom" / patient).hu
    hu = hu[:, ::4, ::4]
    for step in (1, 2, 4):
        thick = hu[: len(hu) // step * step].reshape(-1, step, 128, 128).mean(axis=1)
        assert order_problem(thick) == ""
        assert BREAK in order_problem(thick[sorted(range(len(thick)), key=str)])
        assert "in no order" in order_problem(thick[np.random.default_rng(0).permutation(len(thick))])
    assert BREAK in order_problem(np.concatenate([hu, hu]))
