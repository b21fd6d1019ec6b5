"""One CT series out of DICOM files: which one, in which order, in Hounsfield units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom import search
from CLIPLungLib.image.dicom.geometry import Stack, place_slices
from CLIPLungLib.image.dicom.grouping import (
    TORN_FROM_SLICES,
    is_even_stack,
    largest_stack,
    require_one_patient,
    require_whole,
    torn_series,
    without_copies,
)
from CLIPLungLib.image.dicom.header import SliceHeader, read_headers, scan_files
from CLIPLungLib.image.dicom.notes import (
    choice_notes,
    copy_notes,
    damage_notes,
    file_names,
    label,
    left_out_notes,
    listed_labels,
    names_projection,
    obstacles,
    slice_notes,
)
from CLIPLungLib.image.dicom.pixels import read_planes
from CLIPLungLib.image.dicom.repeats import without_repeats
from CLIPLungLib.image.dicom.search import MOST_FILES_AROUND, files_below, files_beside, series_files_around
from CLIPLungLib.image.hounsfield import PADDING_READ_AS_HU
from CLIPLungLib.image.regular_file import require_believable_size

INT16, INT16_BYTES = np.iinfo(np.int16), 2
# Between neighbouring slices half of the pixels change by less, whatever is seen there; a lost intercept is 1000 or 1024.
LARGEST_JUMP_HU = 500.0
JUMP_PIXEL_STEP = 4


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """The voxels of a series.

    Attributes:
        hu: (K, J, I) int16 HU; float32 where a slice holds values int16 cannot.
        ijk_to_lps: (4, 4) mm.
        name: series description, or the end of the series UID.
        source: format, series_uid, study_uid, frame_of_reference_uid, modality, series_description, note. Never a
            patient's name.
        doubtful_k: planes without a slice (filled with air), or whose slice lies off its place.
        patient_id: as in the files; told nowhere.
    """

    hu: np.ndarray
    ijk_to_lps: np.ndarray
    name: str
    source: dict[str, str]
    doubtful_k: tuple[int, ...]
    patient_id: str = ""


def read_series(path: Path, series_uid: str | None = None) -> DicomSeries:
    """Read a CT series.

    Args:
        path: a folder, searched with its subfolders; or one DICOM file, which stands for its series in the same folder
            and in the folders beside it.
        series_uid: SeriesInstanceUID, or its end if that is unique; without it the CT series with most slices.

    Raises:
        InputError: no CT series there, no or several series with that UID, several patients, slices doubled, missing, unevenly spaced or damaged.
    """
    is_named = series_uid is not None
    if path.is_dir():
        paths = files_below(path, search.MOST_FILES_OF_STUDY)
    else:
        series_uid = series_uid or read_headers(path)[0].series_uid
        paths = files_beside(path)
    headers, damaged = scan_files(paths)
    if not headers:
        raise InputError(_nothing_found(path, damaged))
    by_uid: dict[str, list[SliceHeader]] = {}
    for header in headers:
        by_uid.setdefault(header.series_uid, []).append(header)
    chosen = by_uid[_choose(by_uid, series_uid)]
    torn = _torn(by_uid, chosen, is_named, path.is_dir())
    if torn:
        uids = len({header.series_uid for header in torn})
        notes = [
            f"{uids} SeriesInstanceUIDs were ignored: by their positions the {len(torn)} slices form one even stack."
        ]
        if not path.is_dir():
            notes.append(f"Slices in other folders than that of '{path.name}' were not looked for.")
        return _read_chosen(torn, [*notes, *damage_notes(damaged)])
    notes = [*choice_notes(chosen, by_uid, series_uid), *damage_notes(damaged)]
    if not path.is_dir():
        chosen, more_notes = _with_other_folders(path, chosen)
        notes += more_notes
    return _read_chosen(chosen, notes)


def read_slices(slices: list[SliceHeader]) -> DicomSeries:
    """Read the series whose headers were found before.

    Raises:
        InputError: they are slices of no complete CT, or damaged.
    """
    return _read_chosen(slices, [])


def _torn(
    by_uid: dict[str, list[SliceHeader]], chosen: list[SliceHeader], is_named: bool, is_folder: bool
) -> list[SliceHeader]:
    """The slices of a series whose files were given UIDs of their own; none where there is no such series.

    Raises:
        InputError: slices alone in their series that make no even stack.
    """
    torn = torn_series(by_uid)
    if len(torn) < 2 or ((is_named or not is_folder) and chosen[0] not in torn):
        return []
    rest = [] if chosen[0] in torn else _usable_stack(chosen)
    whole = largest_stack([*rest, *torn])
    if len(whole) == len(rest) + len(torn) and is_even_stack(whole):
        return whole
    if len(torn) <= len(rest):
        return []
    if is_named or (not is_folder and len(torn) < TORN_FROM_SLICES):
        return []
    raise InputError(
        f"{len(torn)} CT series of one slice each were found, and they form no even stack: SeriesInstanceUID was changed file by "
        "file, or they do not belong together. Anonymise the original again with one UID a series, or name one series by its UID."
    )


def _with_other_folders(path: Path, chosen: list[SliceHeader]) -> tuple[list[SliceHeader], list[str]]:
    """The series with its slices in the folders beside and below a file's own, as a CD holds them."""
    paths, all_seen = series_files_around(path, chosen[0].series_uid)
    others = [header for header in scan_files(paths)[0] if header.series_uid == chosen[0].series_uid]
    notes = []
    if not all_seen:
        notes.append(f"Only {MOST_FILES_AROUND} files around '{path.name}' were searched for slices of its series.")
    if not others:
        return chosen, notes
    everything, _ = without_repeats(without_copies([*chosen, *others])[0])
    more = len(everything) - len(chosen)
    if more <= 0:
        return chosen, notes
    numbers = [header.instance_number for header in everything if header.frame == 0]
    are_different = None not in numbers and len(set(numbers)) == len(numbers)
    folders = file_names(sorted({header.path.parent for header in others}))
    if are_different or is_even_stack(_usable_stack(everything)):
        return everything, [*notes, f"{more} of its slices lie in other folders ({folders})."]
    return chosen, [
        *notes,
        f"{more} more slices with its UID in other folders ({folders}) were left out: with them the slices form no even stack.",
    ]


def _read_chosen(chosen: list[SliceHeader], notes: list[str]) -> DicomSeries:
    chosen, copies = without_copies(chosen)
    chosen, repeats = without_repeats(chosen)
    stack = _stack(chosen)
    notes = [*notes, *copy_notes(copies, repeats), *left_out_notes(chosen, stack)]
    try:
        notes += require_whole(stack, [header for header in chosen if not header.obstacle])
        placed = place_slices(stack)
    except InputError as error:
        raise InputError(" ".join([f"{label(chosen)} cannot be used.", str(error), *notes])) from error
    first = placed.slices[0]
    notes += [*placed.notes, *slice_notes(placed.slices)]
    source = {
        "format": "DICOM",
        "series_uid": _one_or_none(header.series_uid for header in placed.slices),
        "study_uid": _one_or_none(header.study_uid for header in placed.slices),
        "frame_of_reference_uid": _one_or_none(header.frame_of_reference_uid for header in placed.slices),
        "modality": first.modality,
        "series_description": first.description,
        "note": " ".join(notes),
    }
    name = first.description or f"CT series ...{first.series_uid[-8:]}"
    return DicomSeries(_read_hu(placed, name), placed.ijk_to_lps, name, source, placed.doubtful_k, first.patient_id)


def _nothing_found(path: Path, damaged: list[Path]) -> str:
    found = f"only damaged DICOM files ({file_names(damaged)})" if damaged else "no DICOM files"
    return f"The folder '{path.name or path}' holds {found}. Give the folder of a CT series, or name the file of a NRRD, NIfTI or MetaImage."


def _choose(by_uid: dict[str, list[SliceHeader]], series_uid: str | None) -> str:
    """The UID of the wanted series, or of the CT series with most slices, an original one if it can be."""
    if series_uid is not None:
        uid = _match(by_uid, series_uid.strip())
        modality = by_uid[uid][0].modality or "unknown"
        if modality != "CT":
            raise InputError(f"{label(by_uid[uid])} has modality {modality}; only CT can be read. {_ct_series(by_uid)}")
        return uid
    ct_uids = [uid for uid, headers in by_uid.items() if headers[0].modality == "CT"]
    if not ct_uids:
        counts = Counter(headers[0].modality or "unknown modality" for headers in by_uid.values())
        found = ", ".join(f"{modality} ({n} series)" for modality, n in sorted(counts.items()))
        raise InputError(f"The DICOM files hold {found} and no CT. Give the folder of a CT series.")
    require_one_patient(by_uid)
    return max(ct_uids, key=lambda uid: (*_preference(_usable_stack(by_uid[uid])), uid))


def _preference(stack: list[SliceHeader]) -> tuple[int, bool]:
    """More slices are better; of equally many, as from one scan, those that were reconstructed, not derived or projected."""
    first = stack[0] if stack else None
    return len(stack), first is not None and first.is_original and not names_projection(first.description)


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
            f"{label(chosen)} has no slice that can be used: {obstacles(chosen)}. Choose the axial CT series of the chest."
        )
    with_rescale = sum(header.has_rescale for header in stack)
    if 0 < with_rescale < len(stack):
        raise InputError(
            f"{label(chosen)} has rescale slope and intercept in {with_rescale} of {len(stack)} slices only, "
            "so the HU of the others are unknown. Export the series again."
        )
    return stack


def _read_hu(placed: Stack, name: str) -> np.ndarray:
    """(K, J, I) HU; planes without a slice hold air."""
    rows, columns = placed.slices[0].shape
    count = int(placed.planes[-1]) + 1
    require_believable_size(name, (columns, rows, count), INT16_BYTES)
    hu: np.ndarray | None = None
    for k, pixels in zip(placed.planes, read_planes(placed.slices), strict=True):
        if hu is None:  # Not before one slice was found to be as large as stated.
            hu = np.full((count, rows, columns), PADDING_READ_AS_HU, np.int16)
        if hu.dtype == np.int16 and not _fits_int16(pixels):
            hu = hu.astype(np.float32)
        hu[k] = pixels
    assert hu is not None
    _require_no_jump(placed, hu, name)
    return hu


def _require_no_jump(placed: Stack, hu: np.ndarray, name: str) -> None:
    """Refuse a series whose values jump where its rescale tags change: some of them are wrong, and the volume as a whole hides it."""
    for (before, low), (after, high) in pairwise(zip(placed.slices, placed.planes, strict=True)):
        if (before.slope, before.intercept) == (after.slope, after.intercept):
            continue
        pixels = [hu[k, ::JUMP_PIXEL_STEP, ::JUMP_PIXEL_STEP].astype(np.float32) for k in (low, high)]
        jump = float(np.median(pixels[1] - pixels[0]))
        if abs(jump) > LARGEST_JUMP_HU:
            raise InputError(
                f"'{name}' is in no one scale: from the slice '{before.path.name}' to '{after.path.name}' its values jump by {jump:.0f} HU, "
                "and so do the rescale slope and intercept. Export the series again from where it was made."
            )


def _fits_int16(pixels: np.ndarray) -> bool:
    return bool(pixels.dtype.kind in "iu" and pixels.min() >= INT16.min and pixels.max() <= INT16.max)


def _ct_series(by_uid: dict[str, list[SliceHeader]]) -> str:
    found = [headers for headers in by_uid.values() if headers[0].modality == "CT"]
    return f"CT found: {listed_labels(found)}." if found else "No CT series was found."


def _one_or_none(uids: Iterable[str]) -> str:
    """The UID all slices share; empty where they have several."""
    found = set(uids)
    return found.pop() if len(found) == 1 else ""
