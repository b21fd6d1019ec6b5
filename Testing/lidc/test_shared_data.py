"""Prepared from the real series, the nodules are those of the shared table; and the groups of readings, from the database alone."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from CLIPLungLib.dataset.data_folder import CROP_MASKS
from CLIPLungLib.dataset.nodule_table import read_nodules
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.lidc.annotations import opened_database, read_scan
from CLIPLungLib.lidc.prepare import ORIGINS_NAME, prepare_archive
from CLIPLungLib.lidc.reading_groups import group_readings, readers_centre

# Every so many scans of the table; all of them take minutes.
SCANS_APART = 25


def table(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return {row["nodule_id"]: row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def prepared(lidc_folder, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared")
    prepare_archive(lidc_folder / "dicom", output, folds=lidc_folder / "nodules.csv")
    return output


def test_nodules_are_those_of_the_table(prepared, lidc_folder):
    rows, origins = table(lidc_folder / "nodules.csv"), table(prepared / ORIGINS_NAME)
    nodules = read_nodules(prepared)
    assert len(nodules) == 13
    for nodule in nodules:
        row, origin = rows[nodule.nodule_id], origins[nodule.nodule_id]
        assert origin["annotation_ids"] == row["annotation_ids"]
        assert nodule.fold == int(row["fold"])
        assert nodule.diameter_mm == pytest.approx(float(row["diameter_mm"]), abs=0.006)
        assert nodule.volume_mm3 == pytest.approx(float(row["volume_mm3"]), abs=0.06)
        assert nodule.malignancy == pytest.approx(float(row["malignancy_mean"]), abs=0.01)
        assert " ".join(map(str, nodule.ratings["spiculation"])) == row["spiculation"]
        for name in ("center_row", "center_col", "center_z_mm"):
            assert float(origin[name]) == pytest.approx(float(row[name]), abs=0.011)


def test_crops_and_outlines_are_those_of_the_shared_folder(prepared, lidc_folder):
    compared = 0
    for nodule_id, row in table(lidc_folder / "nodules.csv").items():
        own = prepared / CROP_MASKS / f"{nodule_id}.nrrd"
        if row["crop_mask"] and own.is_file():
            assert dice(read_ct(own), read_ct(lidc_folder / row["crop_mask"]), np.zeros(3)) == 1.0
            compared += 1
    assert compared == 12


def test_outlines_lie_on_those_of_the_volumes(prepared, lidc_folder):
    """Those masks were made by another program and reach one slice farther; place and size must agree."""
    origins = table(prepared / ORIGINS_NAME)
    found = []
    for nodule_id, row in table(lidc_folder / "nodules.csv").items():
        if row["mask"] and nodule_id in origins:
            click_ras = np.array([float(origins[nodule_id][axis]) for axis in "ras"])
            own = read_ct(prepared / CROP_MASKS / f"{nodule_id}.nrrd")
            found.append(dice(own, read_ct(lidc_folder / row["mask"]), click_ras))
    assert len(found) > 5
    assert min(found) > 0.7
    assert np.mean(found) > 0.8


def dice(own: CTVolume, other: CTVolume, shift_ras: np.ndarray) -> float:
    """Overlap on the voxels of the first; `shift_ras` leads from its frame to that of the other."""
    k, j, i = np.indices(own.hu.shape)
    ijk = np.rint(other.to_ijk(own.to_ras(np.stack([i, j, k], axis=-1)) + shift_ras)).astype(int)
    inside = other.contains_ijk(ijk)
    ijk[~inside] = 0
    of_other = (other.hu[ijk[..., 2], ijk[..., 1], ijk[..., 0]] > 0) & inside
    of_own = own.hu > 0
    return float(2 * (of_own & of_other).sum() / (of_own.sum() + (other.hu > 0).sum()))


def test_groups_of_readings_are_those_of_the_table(lidc_folder):
    rows = table(lidc_folder / "nodules.csv")
    series = sorted({row["series_uid"] for row in rows.values()})[::SCANS_APART]
    compared = 0
    with opened_database() as database:
        for uid in series:
            scan = read_scan(database, uid)
            for number, readings in enumerate(group_readings(scan)):
                row = rows.get(f"{scan.patient_id}_{uid[-4:]}_{number}")
                if row is None:
                    continue
                assert " ".join(str(reading.annotation_id) for reading in readings) == row["annotation_ids"]
                volumes = [reading.volume_mm3(scan.thickness_mm) for reading in readings]
                assert np.mean(volumes) == pytest.approx(float(row["volume_mm3"]), abs=0.06)
                where = [float(row[name]) for name in ("center_row", "center_col", "center_z_mm")]
                np.testing.assert_allclose(readers_centre(readings), where, atol=0.011)
                compared += 1
    assert compared == sum(row["series_uid"] in series for row in rows.values())
