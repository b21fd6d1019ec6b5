"""Reading a CT from disk: NRRD, NIfTI and MetaImage files, DICOM files and folders.

Files and DICOM state positions in LPS mm; here, and only here, they become RAS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.dicom.header import is_dicom

# Suffix -> format.
FORMATS = {
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_ct(path: str | Path, series_uid: str | None = None) -> CTVolume:
    """A CT volume from a file or a DICOM folder.

    Args:
        path: NRRD (.nrrd, .nhdr), NIfTI (.nii, .nii.gz), MetaImage (.mha, .mhd), a folder with DICOM files (searched with
            its subfolders), or one DICOM file, which stands for its whole series, also in the folders beside its own.
        series_uid: which DICOM series to read, as SeriesInstanceUID or the end of it; without it the CT series with most
            slices.

    Returns:
        The volume, (K, J, I) as stored (DICOM: int16 HU, float32 where int16 cannot hold them), and its IJK-to-RAS matrix
        in mm. `source` holds facts about the file; for DICOM `note` says which series was chosen and what was left out.

    Raises:
        InputError: nothing there, a format that is not read, a damaged file, an image without three axes or without a
            place in the patient, a series that is not CT or not complete.
    """
    path = _existing(path)
    if path.is_dir() or is_dicom(path):
        return _read_dicom(path, series_uid)
    if series_uid is not None:
        raise InputError(
            f"'{path.name}' is no DICOM; a series UID ('{series_uid}') can only be chosen in a DICOM folder."
        )
    return _read_file(path)


def _existing(path: str | Path) -> Path:
    if not str(path).strip():
        raise InputError("The path of the CT is empty. Name a file or a DICOM folder.")
    path = Path(path)
    try:
        exists = path.exists()
    except (OSError, ValueError):  # A name that no file can have.
        exists = False
    if not exists:
        raise InputError(f"There is no file or folder '{path}'. Check the path.")
    return path


def _read_dicom(path: Path, series_uid: str | None) -> CTVolume:
    from CLIPLungLib.image.dicom.series import read_series

    series = read_series(path, series_uid)
    matrix = LPS_TO_RAS @ series.ijk_to_lps
    return CTVolume(series.hu, matrix, series.name, series.source, series.doubtful_k, series.patient_id)


def _read_file(path: Path) -> CTVolume:
    file_format = _format(path)
    stored, ijk_to_ras = _reader(file_format)(path)
    return CTVolume(stored, ijk_to_ras, path.name, {"file": path.name, "format": file_format})


def _reader(file_format: str) -> Callable[[Path], tuple[np.ndarray, np.ndarray]]:
    from CLIPLungLib.image import metaimage, nifti, nrrd

    return {"NRRD": nrrd.read_nrrd, "NIfTI": nifti.read_nifti, "MetaImage": metaimage.read_metaimage}[file_format]


def _format(path: Path) -> str:
    name = path.name.lower()
    for suffix, file_format in FORMATS.items():
        if name.endswith(suffix):
            return file_format
    raise InputError(
        f"'{path.name}' is of no format that is read here. Give a DICOM folder or file, or one of {', '.join(FORMATS)}; unpack archives first."
    )
