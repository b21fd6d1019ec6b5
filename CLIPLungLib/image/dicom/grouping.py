"""Which slices belong together, where the files' UIDs or orientations say less than the truth.

Anonymisers that give every file UIDs of its own tear a series apart; a tilt of a twentieth of a degree must not.
"""

from __future__ import annotations

import filecmp
from itertools import combinations

import numpy as np

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.geometry import DOUBTFUL_SHARE, place_slices
from CLIPLungLib.image.dicom.header import SliceHeader
from CLIPLungLib.image.dicom.notes import listed_labels
from CLIPLungLib.image.dicom.scan_marks import require_one_scan

# 0.6 mm at the edge of a slice of 360 mm.
PARALLEL_WITHIN_DEGREES = 0.1
# Up to here, slices are views of the same kind; a localizer or a reformatted view differs by far more.
SAME_VIEW_WITHIN_DEGREES = 10.0
SAME_SPACING = 1e-3
# Two slices form an even stack whatever they are.
TORN_FROM_SLICES = 3
# A stray slice or two are no scan of another patient.
SERIES_FROM_SLICES = 3
# Fewer slices of another grid beyond a stack are localizers and the like.
OTHER_PART_FROM_SLICES = 3


def without_copies(slices: list[SliceHeader]) -> tuple[list[SliceHeader], int]:
    """The slices without files that are byte for byte those of another one, and how many were left out."""
    by_place: dict[tuple[bytes, int, int], list[SliceHeader]] = {}
    copies: set[str] = set()
    for header in slices:
        key = (header.position_lps.tobytes(), header.frame, header.path.stat().st_size)
        by_place.setdefault(key, []).append(header)
    for same_place in by_place.values():
        for first, second in combinations(same_place, 2):
            known = {str(first.path), str(second.path)} & copies
            if not known and filecmp.cmp(first.path, second.path, shallow=False):
                copies.add(str(second.path))
    return [header for header in slices if str(header.path) not in copies], len(copies)


def largest_stack(slices: list[SliceHeader]) -> list[SliceHeader]:
    """The most slices that share size, pixel spacing and, within a tenth of a degree, orientation."""
    stacks: list[list[SliceHeader]] = []
    for header in slices:
        for stack in stacks:
            if _same_grid(stack[0], header) and _angle(stack[0], header) <= PARALLEL_WITHIN_DEGREES:
                stack.append(header)
                break
        else:
            stacks.append([header])
    return max(stacks, key=len, default=[])


def require_whole(stack: list[SliceHeader], usable: list[SliceHeader]) -> list[str]:
    """Notes on what unites a stack with doubt.

    Raises:
        InputError: slices of several patients or of scans that alternate, slices left out of it that are tilted a little or go on where it ends, or frames of
            reference that make no one stack.
    """
    patients = {header.patient_id for header in stack} - {""}
    if len(patients) > 1:
        raise InputError(
            f"Its {len(stack)} slices name {len(patients)} different patients (PatientID). Sort the files by patient; if they are of one "
            "patient, anonymise the original again with one ID."
        )
    normal_lps = stack[0].normal_lps
    require_one_scan([header.scan_marks for header in sorted(stack, key=lambda h: float(h.position_lps @ normal_lps))])
    chosen = set(map(id, stack))
    tilted = [header for header in usable if id(header) not in chosen and _same_grid(stack[0], header)]
    tilted = [header for header in tilted if _angle(stack[0], header) <= SAME_VIEW_WITHIN_DEGREES]
    if tilted:
        raise InputError(
            f"{len(tilted)} of its {len(usable)} slices are tilted by {_angle(stack[0], tilted[0]):.2f} degrees against the others, "
            "so they form no one volume. Export each part as a series of its own, or resample it first."
        )
    beyond = _parallel_beyond(stack, [header for header in usable if id(header) not in chosen])
    if len(beyond) >= OTHER_PART_FROM_SLICES and len(beyond) > DOUBTFUL_SHARE * len(usable):
        raise InputError(
            f"{len(beyond)} of its {len(usable)} slices go on where the others end and have another size, pixel spacing or direction, so "
            "they form no one volume. Export each part as a series of its own, or resample it first."
        )
    notes = []
    angle = max(_angle(stack[0], header) for header in stack)
    if angle > 1e-3:
        notes.append(f"Slices are tilted against each other by up to {angle:.2f} degrees and taken as parallel.")
    frames = {header.frame_of_reference_uid for header in stack}
    if len(frames) > 1:
        if not is_even_stack(stack):
            raise InputError(
                f"Its {len(stack)} slices have {len(frames)} frames of reference and form no even stack, so their places cannot "
                "be compared: FrameOfReferenceUID was changed file by file. Anonymise the original again, with one UID a series."
            )
        notes.append(
            f"{len(frames)} different FrameOfReferenceUIDs were ignored: by their positions the {len(stack)} slices form one even stack."
        )
    return notes


def _parallel_beyond(stack: list[SliceHeader], others: list[SliceHeader]) -> list[SliceHeader]:
    """The slices that run along a stack's own, above or below it."""
    normal_lps = stack[0].normal_lps
    heights_mm = [float(header.position_lps @ normal_lps) for header in stack]
    least = np.cos(np.radians(SAME_VIEW_WITHIN_DEGREES))
    return [
        header
        for header in others
        if abs(header.normal_lps @ normal_lps) >= least
        and not min(heights_mm) <= header.position_lps @ normal_lps <= max(heights_mm)
    ]


def require_one_patient(by_uid: dict[str, list[SliceHeader]]) -> None:
    """Refuse CT series of several patients where none was named: the largest would be read, whosever it is.

    Raises:
        InputError: at least two patients have a series of some slices.
    """
    stacks = [
        largest_stack([header for header in headers if header.modality == "CT" and not header.obstacle])
        for headers in by_uid.values()
    ]
    of_patient = [stack for stack in stacks if len(stack) >= SERIES_FROM_SLICES and stack[0].patient_id]
    patients = {stack[0].patient_id.casefold() for stack in of_patient}
    if len(patients) > 1:
        raise InputError(
            f"The folder holds CT of {len(patients)} patients (PatientID): {listed_labels(of_patient)}. Give the folder of one patient, or "
            "name the series by its UID."
        )


def torn_series(by_uid: dict[str, list[SliceHeader]]) -> list[SliceHeader]:
    """The CT slices that are alone in their series and share size and orientation."""
    return largest_stack(
        [
            headers[0]
            for headers in by_uid.values()
            if len(headers) == 1 and headers[0].modality == "CT" and not headers[0].obstacle
        ]
    )


def is_even_stack(stack: list[SliceHeader]) -> bool:
    """Whether at least three slices lie at even distances, with none doubled or missing."""
    if len(stack) < TORN_FROM_SLICES:
        return False
    try:
        return not place_slices(stack).doubtful_k
    except InputError:
        return False


def _same_grid(a: SliceHeader, b: SliceHeader) -> bool:
    return a.shape == b.shape and np.allclose(a.spacing_mm, b.spacing_mm, rtol=SAME_SPACING, atol=0)


def _angle(a: SliceHeader, b: SliceHeader) -> float:
    """Degrees between the axes of two slices, the larger of the two."""
    chord = np.linalg.norm(a.orientation_lps - b.orientation_lps, axis=1).max()
    return float(np.degrees(2 * np.arcsin(min(1.0, chord / 2))))
