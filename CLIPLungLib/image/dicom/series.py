"""One CT series out of DICOM files: which one, in which order, in Hounsfield units."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.geometry import largest_stack, sort_slices, stack_to_lps
from CLIPLungLib.image.dicom.header import SliceHeader, read_header, scan_files

INT16 = np.iinfo(np.int16)
NAMED_FILES_AT_MOST = 5


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """The voxels of a series.

    Attributes:
        hu: (K, J, I) int16 HU; float32 where a slice holds values int16 cannot.
        ijk_to_lps: (4, 4) mm.
        name: series description, or the end of the series UID.
        source: format, series_uid, study_uid, frame_of_reference_uid, modality, series_description, note. Never a
            patient's name.
    """

    hu: np.ndarray
    ijk_to_lps: np.ndarray
    name: str
    source: dict[str, str]


def read_series(path: Path, series_uid: str | None = None) -> DicomSeries:
    """Read a CT series.

    Args:
        path: a folder, searched with its subfolders; or one DICOM file, which stands for its series in the same folder.
        series_uid: SeriesInstanceUID, or its end if that is unique; without it the CT series with most slices.

    Raises:
        InputError: no CT series there, no or several series with that UID, slices doubled, missing, unevenly spaced or damaged.
    """
    if path.is_dir():
        paths = sorted(path.rglob("*"))
    else:
        series_uid = series_uid or read_header(path).series_uid
        paths = sorted(path.parent.iterdir())
    headers, damaged = scan_files(paths)
    if not headers:
        raise InputError(_nothing_found(path, damaged))
    by_uid: dict[str, list[SliceHeader]] = {}
    for header in headers:
        by_uid.setdefault(header.series_uid, []).append(header)
    chosen = by_uid[_choose(by_uid, series_uid)]
    return _read_chosen(chosen, [*_choice_notes(chosen, by_uid, series_uid), *_damage_notes(damaged)])


def _read_chosen(chosen: list[SliceHeader], notes: list[str]) -> DicomSeries:
    stack = _stack(chosen)
    notes = [*notes, *_left_out_notes(chosen, stack)]
    try:
        ordered = sort_slices(stack)
    except InputError as error:
        raise InputError(" ".join([f"{_label(chosen)} cannot be used.", str(error), *notes])) from error
    first = ordered[0]
    if len(ordered) == 1:
        notes.append(f"One slice only; it is taken as {first.thickness_mm or 1.0:g} mm thick.")
    notes.extend(_rescale_notes(ordered))
    source = {
        "format": "DICOM",
        "series_uid": first.series_uid,
        "study_uid": first.study_uid,
        "frame_of_reference_uid": first.frame_of_reference_uid,
        "modality": first.modality,
        "series_description": first.description,
        "note": " ".join(notes),
    }
    name = first.description or f"CT series ...{first.series_uid[-8:]}"
    return DicomSeries(_read_hu(ordered), stack_to_lps(ordered), name, source)


def _nothing_found(path: Path, damaged: list[Path]) -> str:
    found = f"only damaged DICOM files ({_file_names(damaged)})" if damaged else "no DICOM files"
    return f"The folder '{path.name or path}' holds {found}. Give the folder of a CT series, or name the file of a NRRD, NIfTI or MetaImage."


def _choose(by_uid: dict[str, list[SliceHeader]], series_uid: str | None) -> str:
    """The UID of the wanted series, or of the CT series with most slices."""
    if series_uid is not None:
        uid = _match(by_uid, series_uid.strip())
        modality = by_uid[uid][0].modality or "unknown"
        if modality != "CT":
            raise InputError(
                f"{_label(by_uid[uid])} has modality {modality}; only CT can be read. {_ct_series(by_uid)}"
            )
        return uid
    ct_uids = [uid for uid, headers in by_uid.items() if headers[0].modality == "CT"]
    if not ct_uids:
        counts = Counter(headers[0].modality or "unknown modality" for headers in by_uid.values())
        found = ", ".join(f"{modality} ({n} series)" for modality, n in sorted(counts.items()))
        raise InputError(f"The DICOM files hold {found} and no CT. Give the folder of a CT series.")
    return max(ct_uids, key=lambda uid: (len(_usable_stack(by_uid[uid])), uid))


def _match(by_uid: dict[str, list[SliceHeader]], series_uid: str) -> str:
    if series_uid in by_uid:
        return series_uid
    matches = [uid for uid in by_uid if series_uid and uid.endswith(series_uid)]
    if not matches:
        raise InputError(f"No series has the UID '{series_uid}' or ends so. {_ct_series(by_uid)}")
    if len(matches) > 1:
        raise InputError(f"{len(matches)} series end with '{series_uid}'. Give more of the UID. {_ct_series(by_uid)}")
    return matches[0]


def _usable_stack(headers: list[SliceHeader]) -> list[SliceHeader]:
    return largest_stack([header for header in headers if not header.obstacle])


def _stack(chosen: list[SliceHeader]) -> list[SliceHeader]:
    stack = _usable_stack(chosen)
    if not stack:
        raise InputError(
            f"{_label(chosen)} has no slice that can be used: {_obstacles(chosen)}. Choose the axial CT series of the chest."
        )
    with_rescale = sum(header.has_rescale for header in stack)
    if 0 < with_rescale < len(stack):
        raise InputError(
            f"{_label(chosen)} has rescale slope and intercept in {with_rescale} of {len(stack)} slices only, "
            "so the HU of the others are unknown. Export the series again."
        )
    return stack


def _read_hu(ordered: list[SliceHeader]) -> np.ndarray:
    """(K, J, I) HU. ITK decodes each file and applies its own slope and intercept."""
    hu = np.empty((len(ordered), *ordered[0].shape), np.int16)
    for k, header in enumerate(ordered):
        pixels = _decode(header)
        if hu.dtype == np.int16 and not _fits_int16(pixels):
            hu = hu.astype(np.float32)
        hu[k] = pixels
    return hu


def _decode(header: SliceHeader) -> np.ndarray:
    """(J, I) HU of one file."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(header.path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise InputError(
            f"The slice '{header.path.name}' cannot be decoded (transfer syntax {header.transfer_syntax}). "
            "If the file is damaged, copy it again; if its compression is unknown here, export the series uncompressed."
        ) from error
    pixels = sitk.GetArrayFromImage(image)
    if pixels.shape != (1, *header.shape):
        raise InputError(
            f"The slice '{header.path.name}' decodes to {pixels.shape} pixels, not {header.shape}. Copy it again."
        )
    return pixels[0]


def _fits_int16(pixels: np.ndarray) -> bool:
    return bool(pixels.dtype.kind in "iu" and pixels.min() >= INT16.min and pixels.max() <= INT16.max)


def _choice_notes(chosen: list[SliceHeader], by_uid: dict[str, list[SliceHeader]], series_uid: str | None) -> list[str]:
    others = [headers for headers in by_uid.values() if headers is not chosen]
    why = "as asked for" if series_uid is not None else "the CT series with most slices"
    if not others:
        return []
    return [f"{_label(chosen)} was chosen, {why}. Others found: {'; '.join(_label(headers) for headers in others)}."]


def _ct_series(by_uid: dict[str, list[SliceHeader]]) -> str:
    labels = [_label(headers) for headers in by_uid.values() if headers[0].modality == "CT"]
    return f"CT found: {'; '.join(labels)}." if labels else "No CT series was found."


def _label(headers: list[SliceHeader]) -> str:
    first = headers[0]
    title = f"'{first.description}', " if first.description else ""
    return f"Series {first.series_uid} ({title}{first.modality or 'unknown modality'}, {len(headers)} slices)"


def _left_out_notes(chosen: list[SliceHeader], stack: list[SliceHeader]) -> list[str]:
    usable = sum(not header.obstacle for header in chosen)
    parts = [_obstacles(chosen)] if usable < len(chosen) else []
    if len(stack) < usable:
        parts.append(f"{usable - len(stack)} of other orientation, size or frame of reference")
    return [f"Left out of it: {', '.join(parts)}."] if parts else []


def _obstacles(headers: list[SliceHeader]) -> str:
    counts = Counter(header.obstacle for header in headers if header.obstacle)
    return ", ".join(f"{n} {obstacle}" for obstacle, n in counts.items())


def _damage_notes(damaged: list[Path]) -> list[str]:
    return [f"Damaged DICOM files passed over: {_file_names(damaged)}."] if damaged else []


def _rescale_notes(ordered: list[SliceHeader]) -> list[str]:
    if ordered[0].has_rescale:
        return []
    return ["Rescale tags are missing: slope 1 and intercept 0 were taken where not stated."]


def _file_names(paths: list[Path]) -> str:
    more = f" and {len(paths) - NAMED_FILES_AT_MOST} more" if len(paths) > NAMED_FILES_AT_MOST else ""
    return ", ".join(f"'{path.name}'" for path in paths[:NAMED_FILES_AT_MOST]) + more
