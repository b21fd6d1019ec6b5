"""Small cohorts for tests."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.result import CSV_COLUMNS

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_image(ct: CTVolume, *files: Path) -> None:
    """Save a CT as ITK does."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(ct.hu)
    matrix = RAS_TO_LPS @ ct.ijk_to_ras
    image.SetSpacing(ct.spacing_mm.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / ct.spacing_mm).ravel().tolist())
    for file in files:
        sitk.WriteImage(image, str(file))


def cohort(folder: Path, *lines: str) -> Path:
    """A cohort table of these lines."""
    file = folder / "cohort.csv"
    file.write_text("\n".join(["id,image,r,a,s", *lines]) + "\n", encoding="utf-8")
    return file


def rows(output: Path) -> dict[str, dict[str, str]]:
    """The results by id; no id occurs twice."""
    with (output / "results.csv").open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        assert tuple(reader.fieldnames) == CSV_COLUMNS
        found = list(reader)
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}
