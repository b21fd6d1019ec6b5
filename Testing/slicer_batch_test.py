"""The batch script in a running Slicer (ctest, or `Slicer --testing --no-main-window --python-script`): a row per case, the classifier's own numbers."""

from __future__ import annotations

import csv
import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

BALL_RAS = (0.0, 0.0, 0.0)


def find_script() -> Path:
    """Beside the tests in a source tree; where Slicer found the module, otherwise."""
    source = Path(__file__).resolve().parents[1] / "CLIPLung" / "Scripts" / "CLIPLungBatch.py"
    if source.is_file():
        return source
    import slicer

    return Path(slicer.modules.cliplung.path).parent / "Scripts" / source.name


def write_ct(file: Path) -> None:
    """Lung-like air with a soft-tissue ball of 12 mm at the origin."""
    k, j, i = np.mgrid[-20:21, -40:41, -40:41]
    hu = np.where(np.sqrt(i**2 + j**2 + (2 * k) ** 2) <= 6, 40, -850).astype(np.int16)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin((-40.0, -40.0, -40.0))
    sitk.WriteImage(image, str(file))


def check_batch(folder: Path) -> None:
    """Run the script's own main and compare with a click."""
    specification = importlib.util.spec_from_file_location("CLIPLungBatch", find_script())
    batch = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(batch)
    write_ct(folder / "ct.nrrd")
    cohort, output = folder / "cohort.csv", folder / "out"
    cohort.write_text("id,image,r,a,s\nball,ct.nrrd,0,0,0\nmissing,none.nrrd,0,0,0\n", encoding="utf-8")
    code = batch.main([str(cohort), "--output", str(output), "--device", "cpu"])
    assert code == 3, f"one row must fail: {code}"
    with (output / "results.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    assert set(rows) == {"ball", "missing"}
    assert rows["missing"]["status"] == "failed"
    assert "none.nrrd" in rows["missing"]["error"]

    from CLIPLungLib.image.read import read_ct
    from CLIPLungLib.inference.classifier import NoduleClassifier

    expected = NoduleClassifier.load(device="cpu").classify(read_ct(folder / "ct.nrrd"), BALL_RAS).to_row("ball")
    # A run without heat maps does not know that one is empty.
    assert {**rows["ball"], "warnings": ""} == {**expected, "warnings": ""}


def main() -> None:
    """As a program: a failed check ends with its traceback and exit code 1."""
    missing = [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not installed in this Slicer")
        return
    with tempfile.TemporaryDirectory() as folder:
        check_batch(Path(folder))
    print("passed")


if __name__ == "__main__":
    main()
