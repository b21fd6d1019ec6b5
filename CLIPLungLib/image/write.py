"""Volumes written as NRRD, at once and checked."""

from __future__ import annotations

import errno
import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from CLIPLungLib.atomic_write import writing

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_volume(
    voxels: np.ndarray, ijk_to_ras: np.ndarray, path: Path, fields: Mapping[str, str] | None = None
) -> None:
    """Write voxels (K, J, I) in patient space, compressed, with fields of the caller's own in the header.

    Raises:
        InputError: the file cannot be written.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(voxels)
    matrix_lps = RAS_TO_LPS @ np.asarray(ijk_to_ras, dtype=np.float64)
    spacing_mm = np.linalg.norm(matrix_lps[:3, :3], axis=0)
    image.SetOrigin(matrix_lps[:3, 3].tolist())  # type: ignore[no-untyped-call]
    image.SetSpacing(spacing_mm.tolist())  # type: ignore[no-untyped-call]
    image.SetDirection((matrix_lps[:3, :3] / spacing_mm).ravel().tolist())  # type: ignore[no-untyped-call]
    for name, value in (fields or {}).items():
        image.SetMetaData(name, value)  # type: ignore[no-untyped-call]
    with writing(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
            # On a full disk the writer can lose the end of the file and not notice.
            _, _, packed = temporary.read_bytes().partition(b"\n\n")
            if not packed:
                raise EOFError
            gzip.decompress(packed)
        except (RuntimeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise OSError(errno.ENOSPC, "the file did not arrive whole") from error
