"""Reading a CT from disk: NRRD, NIfTI and MetaImage files, DICOM files and folders.

Files and DICOM state positions in LPS mm; here, and only here, they become RAS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume

if TYPE_CHECKING:
    import SimpleITK as sitk

# Suffix -> (format, ITK's reader of it).
FORMATS = {
    ".nrrd": ("NRRD", "NrrdImageIO"),
    ".nhdr": ("NRRD", "NrrdImageIO"),
    ".nii": ("NIfTI", "NiftiImageIO"),
    ".nii.gz": ("NIfTI", "NiftiImageIO"),
    ".mha": ("MetaImage", "MetaImageIO"),
    ".mhd": ("MetaImage", "MetaImageIO"),
}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_ct(path: str | Path, series_uid: str | None = None) -> CTVolume:
    """A CT volume from a file or a DICOM folder.

    Args:
        path: NRRD (.nrrd, .nhdr), NIfTI (.nii, .nii.gz), MetaImage (.mha, .mhd), a folder with DICOM files (searched with
            its subfolders), or one DICOM file, which stands for its whole series in the same folder.
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
    if path.is_dir() or _is_dicom(path):
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


def _is_dicom(path: Path) -> bool:
    from CLIPLungLib.image.dicom.header import is_dicom

    try:
        return is_dicom(path)
    except OSError as error:
        raise InputError(f"'{path}' cannot be opened ({error.strerror}). Check its permissions.") from error


def _read_dicom(path: Path, series_uid: str | None) -> CTVolume:
    from CLIPLungLib.image.dicom.series import read_series

    series = read_series(path, series_uid)
    return CTVolume(series.hu, LPS_TO_RAS @ series.ijk_to_lps, series.name, series.source)


def _read_file(path: Path) -> CTVolume:
    import SimpleITK as sitk

    from CLIPLungLib.image.file_integrity import check_file

    file_format, image_io = _format(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_axes(reader, path.name)
        check_file(path, file_format, reader)
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path.name, file_format, error) from error
    # Copied once: SimpleITK frees its own buffer with the image.
    hu = sitk.GetArrayFromImage(image)
    return CTVolume(hu, LPS_TO_RAS @ _ijk_to_lps(image), path.name, {"file": path.name, "format": file_format})


def _format(path: Path) -> tuple[str, str]:
    name = path.name.lower()
    for suffix, file_format in FORMATS.items():
        if name.endswith(suffix):
            return file_format
    raise InputError(
        f"'{path.name}' is of no format that is read here. Give a DICOM folder or file, or one of {', '.join(FORMATS)}; unpack archives first."
    )


def _check_axes(reader: sitk.ImageFileReader, name: str) -> None:
    size = reader.GetSize()
    if len(size) != 3:
        raise InputError(
            f"'{name}' has {len(size)} axes ({' x '.join(str(n) for n in size)} voxels); a CT volume has three. "
            "Save one time point, or the whole stack of slices, as a volume."
        )
    if reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"'{name}' holds {reader.GetNumberOfComponents()} values per voxel (a colour image or a time series); "
            "a CT has one. Save the plain CT volume."
        )


def _ijk_to_lps(image: sitk.Image) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def _unreadable(name: str, file_format: str, error: RuntimeError) -> InputError:
    # ITK's own words mislead (a cut MetaImage is "No such file or directory"), so only their kind is used.
    if "direction" in str(error):
        return InputError(
            f"'{name}' has axes that lie askew or point the same way, which cannot be read from {file_format}. "
            "Load the CT from DICOM, or resample it to axes at right angles."
        )
    return InputError(
        f"'{name}' cannot be read as {file_format}: it is damaged, incomplete, of another format, or lacks the data file "
        "that belongs to it. Copy or export it again."
    )
