"""A few slices missing or off their place spoil the answers near them only; a change of spacing is called by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic_dicom import slice_dataset, write

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec, extract_patch
from CLIPLungLib.image.read import read_ct

SPEC = PatchSpec(shape=(5, 9, 9), spacing_mm=(2.0, 1.0, 1.0))
STEP_MM = 2.0


def lung_hu(k: int) -> np.ndarray:
    """(20, 20) HU that tell the plane, with the chest wall at the side."""
    hu = np.full((20, 20), -860 + k, np.int16)
    hu[:, 18:] = 40
    return hu


def series(
    folder: Path, positions_mm: dict[int, float] | list[float], sideways_mm: dict[int, float] | None = None
) -> Path:
    """Slice k at its position along z; moved sideways where told."""
    places = positions_mm if isinstance(positions_mm, dict) else dict(enumerate(positions_mm))
    for k, z in places.items():
        position_lps = ((sideways_mm or {}).get(k, 0.0), 0.0, z)
        write(folder / f"{k:03}.dcm", slice_dataset((lung_hu(k) + 1024).astype(np.int16), position_lps))
    return folder


def even(count: int = 40, without: tuple[int, ...] = (), **moved_mm: float) -> dict[int, float]:
    """Positions STEP_MM apart; `k7=0.2` moves slice 7."""
    return {k: STEP_MM * k + moved_mm.get(f"k{k}", 0.0) for k in range(count) if k not in without}


def patch_at(ct: CTVolume, k: int) -> np.ndarray:
    return extract_patch(ct, np.array([-10.0, -10.0, STEP_MM * k]), SPEC).hu


@pytest.mark.parametrize("missing", [(20,), (20, 21), (5, 30), (1,)])
def test_missing_slices_are_refused_near_the_point_and_told_elsewhere(tmp_path, missing):
    ct = read_ct(series(tmp_path, even(without=missing)))
    assert ct.doubtful_k == missing
    assert ct.hu.shape[0] == 40
    assert (
        f"{len(missing)} slice(s) are missing along the slice normal: at {STEP_MM * missing[0]:.2f} mm"
        in ct.source["note"]
    )
    for k in missing:
        for near in (k - 1, k, k + 2):
            if near >= 0:
                with pytest.raises(
                    InputError, match=r"lacks slices.*within the \d plane.*Copy or export the complete series"
                ):
                    patch_at(ct, near)
    far = extract_patch(ct, np.array([-10.0, -10.0, STEP_MM * 12]), SPEC)
    assert np.allclose(far.hu, np.arange(-850, -845)[:, None, None])
    assert any(f"{len(missing)} slice(s) of the scan are missing" in text for text in far.warnings)


@pytest.mark.parametrize("jitter_mm", [0.2, -0.2, 0.7])
@pytest.mark.parametrize("which", [0, 20, 39])
def test_a_slice_off_its_place_is_refused_near_the_point_and_told_elsewhere(tmp_path, which, jitter_mm):
    ct = read_ct(series(tmp_path, even(**{f"k{which}": jitter_mm})))
    assert ct.doubtful_k == (which,)
    assert np.allclose(ct.ijk_to_ras[:3, 2:], [[0, 0], [0, 0], [STEP_MM, 0]], atol=1e-3)
    assert f"1 slice(s) are off their place along the slice normal: at {STEP_MM * which:.2f} mm" in ct.source["note"]
    with pytest.raises(InputError, match="off their place, within the 1 plane"):
        patch_at(ct, min(max(which, 2), 37))
    assert np.allclose(patch_at(ct, 10)[2], -850)


def test_a_slice_moved_sideways_is_refused_near_the_point_only(tmp_path):
    ct = read_ct(series(tmp_path, even(), sideways_mm={20: 3.0}))
    assert ct.doubtful_k == (20,)
    assert np.allclose(patch_at(ct, 30)[2], -830)


def test_a_moved_volume_keeps_its_doubtful_planes(tmp_path):
    assert read_ct(series(tmp_path, even(without=(20,)))).moved(np.eye(4)).doubtful_k == (20,)


def test_jitter_within_a_tenth_of_a_millimetre_is_none(tmp_path):
    assert read_ct(series(tmp_path, even(k7=0.09, k20=-0.09))).doubtful_k == ()


def test_too_many_missing_slices_refuse_the_whole_series(tmp_path):
    with pytest.raises(
        InputError, match=r"5 slice\(s\) are missing along the slice normal: between 8\.00 and 12\.00 mm"
    ):
        read_ct(series(tmp_path, even(without=(5, 10, 15, 20, 25))))


def test_a_shift_of_half_the_series_is_no_even_stack(tmp_path):
    with pytest.raises(InputError, match=r"The slices form no even stack: they lie 2.00 to 2.70 mm apart"):
        read_ct(series(tmp_path, [STEP_MM * k + 0.7 * (k >= 20) for k in range(40)]))


def slabs(*parts: tuple[float, int]) -> list[float]:
    """Positions of consecutive slabs: (step in mm, steps)."""
    return np.concatenate([[0.0], np.cumsum(np.concatenate([np.full(count, step) for step, count in parts]))]).tolist()


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        (((2, 29), (4, 10)), r"from 2\.00 to 4\.00 mm at 58\.00 mm"),
        (((4, 10), (2, 29)), r"from 4\.00 to 2\.00 mm at 40\.00 mm"),
        (((1.25, 30), (5, 8)), r"from 1\.25 to 5\.00 mm at 37\.50 mm"),
        (((2, 10), (3, 10)), r"from 2\.00 to 3\.00 mm at 20\.00 mm"),
        (((5, 6), (1, 20), (5, 6)), r"from 5\.00 to 1\.00 mm at 30\.00 mm, from 1\.00 to 5\.00 mm at 50\.00 mm"),
        (((2, 15), (3, 1), (4, 10)), r"from 2\.00 to 4\.00 mm at 33\.00 mm"),
    ],
)
def test_slabs_of_different_spacing_are_called_so(tmp_path, parts, where):
    with pytest.raises(InputError, match=rf"The slice spacing changes {where} .*nothing is missing\. Resample"):
        read_ct(series(tmp_path, slabs(*parts)))


def test_positions_rounded_to_a_tenth_drift_nowhere(tmp_path):
    ct = read_ct(series(tmp_path, [round(0.625 * k, 1) for k in range(200)]))
    assert ct.hu.shape[0] == 200
    assert ct.doubtful_k == ()
    assert ct.spacing_mm[2] == pytest.approx(0.625, abs=1e-3)
