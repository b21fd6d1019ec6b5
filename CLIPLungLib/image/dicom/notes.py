"""What a reader should know about how a series was read, in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from CLIPLungLib.image.dicom.header import SliceHeader
from CLIPLungLib.image.dicom.obstacle import PROJECTION

NAMED_FILES_AT_MOST = 5
NAMED_SERIES_AT_MOST = 8
# Slices of half their distance are usual; high-resolution CT of 1 mm every 10 mm is not a volume.
GAP_OVER_THICKNESS = 2.1


def choice_notes(chosen: list[SliceHeader], by_uid: dict[str, list[SliceHeader]], series_uid: str | None) -> list[str]:
    """Which series was chosen and why, where there are others."""
    others = [headers for headers in by_uid.values() if headers is not chosen]
    why = "as asked for" if series_uid is not None else "the CT series with most slices"
    if not others:
        return []
    return [f"{label(chosen)} was chosen, {why}. Others found: {listed_labels(others)}."]


def listed_labels(series: list[list[SliceHeader]]) -> str:
    """The first few series, and how many more."""
    more = f"; and {len(series) - NAMED_SERIES_AT_MOST} more" if len(series) > NAMED_SERIES_AT_MOST else ""
    return "; ".join(label(headers) for headers in series[:NAMED_SERIES_AT_MOST]) + more


def label(headers: list[SliceHeader]) -> str:
    """A series in a message: UID, description, modality, number of slices."""
    first = headers[0]
    title = f"'{first.description}', " if first.description else ""
    return f"Series {first.series_uid} ({title}{first.modality or 'unknown modality'}, {len(headers)} slices)"


def left_out_notes(chosen: list[SliceHeader], stack: list[SliceHeader]) -> list[str]:
    """What of a series is not in the volume."""
    usable = sum(not header.obstacle for header in chosen)
    parts = [obstacles(chosen)] if usable < len(chosen) else []
    if len(stack) < usable:
        parts.append(f"{usable - len(stack)} of other orientation or size")
    return [f"Left out of it: {', '.join(parts)}."] if parts else []


def obstacles(headers: list[SliceHeader]) -> str:
    """How many slices cannot be used, and why."""
    counts = Counter(header.obstacle for header in headers if header.obstacle)
    return ", ".join(f"{n} {obstacle}" for obstacle, n in counts.items())


def damage_notes(damaged: list[Path]) -> list[str]:
    """The damaged files that were passed over."""
    return [f"Damaged DICOM files passed over: {file_names(damaged)}."] if damaged else []


def copy_notes(copies: int, repeats: int) -> list[str]:
    """How many copies were ignored."""
    notes = [f"{copies} byte-identical copies of its files were ignored."] if copies else []
    return (
        [*notes, f"{repeats} slices that were stored twice (same UID, place and HU) are read once."]
        if repeats
        else notes
    )


def slice_notes(ordered: list[SliceHeader]) -> list[str]:
    """What the slices lack, or have unlike others."""
    notes = []
    if len(ordered) == 1:
        notes.append(f"One slice only; it is taken as {ordered[0].thickness_mm or 1.0:g} mm thick.")
    if not all(header.has_rescale for header in ordered):
        notes.append("Rescale tags are missing: slope 1 and intercept 0 were taken where not stated.")
    if any(header.is_inverted for header in ordered):
        notes.append("Its display is inverted (MONOCHROME1); HU are the stored values all the same.")
    if any(header.has_loss for header in ordered):
        notes.append(
            "Its pixels were once compressed with loss (LossyImageCompression): fine texture may be gone or made up."
        )
    if names_projection(ordered[0].description):
        notes.append(
            f"Its description '{ordered[0].description}' names a projection (MIP or MinIP). If it is one, a nodule's HU and size in it "
            "are not true: choose the series it was made from."
        )
    notes += _gap_notes(ordered)
    studies = len({header.study_uid for header in ordered})
    if studies > 1:
        notes.append(f"{studies} different StudyInstanceUIDs were ignored.")
    numbers = [header.instance_number for header in ordered if header.instance_number is not None]
    if len(numbers) == len(ordered) > 1 and ordered[-1].frame == 0 and min(numbers) > 1:
        notes.append(
            f"Its instance numbers run from {min(numbers)} to {max(numbers)}: slices before them may be missing."
        )
    return notes


def _gap_notes(ordered: list[SliceHeader]) -> list[str]:
    """Whether more lies between the slices than in them."""
    thickness_mm = [header.thickness_mm for header in ordered if header.thickness_mm is not None]
    if len(ordered) < 2 or len(thickness_mm) < len(ordered):
        return []
    step_mm = float(np.median(np.diff([float(header.position_lps @ ordered[0].normal_lps) for header in ordered])))
    thickest_mm = max(thickness_mm)
    if step_mm <= GAP_OVER_THICKNESS * thickest_mm:
        return []
    return [
        f"Its slices are {thickest_mm:g} mm thick and lie {step_mm:g} mm apart: what lies between them was not scanned."
    ]


def names_projection(description: str) -> bool:
    """Whether a series is called a MIP or MinIP."""
    return PROJECTION.search(description.upper()) is not None


def file_names(paths: list[Path]) -> str:
    """The first few names, and how many more."""
    more = f" and {len(paths) - NAMED_FILES_AT_MOST} more" if len(paths) > NAMED_FILES_AT_MOST else ""
    return ", ".join(f"'{path.name}'" for path in paths[:NAMED_FILES_AT_MOST]) + more
