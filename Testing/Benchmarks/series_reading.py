"""Reading a DICOM series, checks included, against ITK's series reader on the same folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(Path(__file__).parent)]

import numpy as np
from helpers.made_up_ct import made_up_ct
from interleaved import Goal, figure, timed_in_turns

SHAPE = (133, 512, 512)


def measured(rounds: int, threads: int, folder: Path, description: str) -> list[dict[str, Any]]:
    """Our reader against `SimpleITK.ImageSeriesReader`, which finds and sorts the files itself, too."""
    import SimpleITK as sitk

    from CLIPLungLib.image.read import read_ct

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)

    def by_itk() -> Any:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        return sitk.GetArrayFromImage(reader.Execute())

    if not np.array_equal(read_ct(folder).hu, by_itk()):
        raise SystemExit(f"the readers disagree on {description}")
    times = timed_in_turns({"itk": by_itk, "ours": lambda: read_ct(folder)}, rounds)
    what, baseline = f"reading a DICOM series ({description})", "SimpleITK.ImageSeriesReader"
    return [figure(what, baseline, times["ours"], times["itk"], Goal(1.3), threads)]


def write_made_up_series(folder: Path) -> Path:
    """A series of SHAPE, where none of a patient is at hand."""
    from helpers.synthetic_dicom import write_series

    write_series(folder, made_up_ct(SHAPE).hu)
    return folder


def largest_series_folder(place: Path) -> Path | None:
    """The folder with most DICOM files in it, below `place`."""
    counts = {folder: len(list(folder.glob("*.dcm"))) for folder in place.rglob("*") if folder.is_dir()}
    best = max(counts, key=lambda folder: counts[folder], default=None)
    return best if best is not None and counts[best] else None
