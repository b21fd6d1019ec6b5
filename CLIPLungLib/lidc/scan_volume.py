"""The voxels of a LIDC-IDRI series, checked against the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.dicom.header import SliceHeader, scan_files
from CLIPLungLib.image.dicom.series import read_slices
from CLIPLungLib.image.read import LPS_TO_RAS, read_ct
from CLIPLungLib.lidc.annotations import AnnotatedScan
from CLIPLungLib.lidc.archive import SeriesFiles

SAME_PIXEL = 0.01
# An outline lies on a slice; heights are rounded in files and database.
ON_SLICE_WITHIN_STEPS = 0.25
SAME_HEIGHT_DIGITS = 2


@dataclass(frozen=True, eq=False)
class ScanVolume:
    """One series.

    Attributes:
        ct: in the scanner's frame; its columns and rows are those of the outlines, however they run in the patient.
        damaged: DICOM files that could not be read.
        doubled: how many slices lay on the height of another one and were left out.
    """

    ct: CTVolume
    damaged: list[Path]
    doubled: int

    def plane_of(self, z_mm: float) -> int:
        """The slice at an outline's height.

        Raises:
            InputError: there is none.
        """
        step_mm, origin_mm = float(self.ct.ijk_to_ras[2, 2]), float(self.ct.ijk_to_ras[2, 3])
        plane = (z_mm - origin_mm) / step_mm
        nearest = round(plane)
        if not 0 <= nearest < len(self.ct.hu) or abs(plane - nearest) > ON_SLICE_WITHIN_STEPS:
            raise InputError(f"The series has no slice at {z_mm:.2f} mm, where a reader drew an outline.")
        return nearest


def read_scan_volume(files: SeriesFiles, scan: AnnotatedScan) -> ScanVolume:
    """The series from its DICOM files, or from LUNA16's file where there are none.

    Raises:
        InputError: it cannot be used, or is not the scan that the readers saw.
    """
    headers, damaged = scan_files(files.dicom)
    own = [header for header in headers if header.series_uid == scan.series_uid and header.modality == "CT"]
    usable, doubled = [header for header in own if not header.obstacle], 0
    if own:
        slices = _one_per_height(usable)
        doubled = len(usable) - len(slices)
        series = read_slices(slices or own)
        ct = CTVolume(series.hu, LPS_TO_RAS @ series.ijk_to_lps, scan.series_uid, series.source, series.doubtful_k)
    elif files.volume is not None:
        ct = read_ct(files.volume)
    else:
        raise InputError(
            f"None of its {len(files.dicom)} file(s) is a readable CT slice of this series. Download it again."
        )
    ct.require_ct()
    _require_same_grid(ct, scan)
    return ScanVolume(ct, damaged, doubled)


def _one_per_height(usable: list[SliceHeader]) -> list[SliceHeader]:
    """One slice for each height: of the folder with most of them, and there the first acquired.

    Whole copies of a series are thus used once; where one folder holds two images of a height, pylidc takes the same one.
    """
    in_folder = Counter(header.path.parent for header in usable)
    ordered = sorted(
        usable,
        key=lambda h: (
            -in_folder[h.path.parent],
            h.path.parent,
            h.instance_number is None,
            h.instance_number or 0,
            h.path,
        ),
    )
    chosen: dict[float, SliceHeader] = {}
    for header in ordered:
        chosen.setdefault(round(float(header.position_lps @ header.normal_lps), SAME_HEIGHT_DIGITS), header)
    return list(chosen.values())


def _require_same_grid(ct: CTVolume, scan: AnnotatedScan) -> None:
    """Refuse a series of another pixel size than that of the outlines, which are in pixels."""
    if not np.allclose(ct.spacing_mm[:2], scan.pixel_mm, rtol=SAME_PIXEL):
        raise InputError(
            f"Its pixels measure {ct.spacing_mm[0]:.3f} x {ct.spacing_mm[1]:.3f} mm, those of the annotated scan {scan.pixel_mm:.3f} mm: "
            "it was resampled. Use the original series."
        )
    tilt = np.abs(ct.ijk_to_ras[2, :2]).max()
    if tilt > 1e-3 * ct.spacing_mm[0]:
        raise InputError("Its slices are not axial, as those of the annotated scan are. Use the original series.")
