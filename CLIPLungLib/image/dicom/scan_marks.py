"""What tells the slices of one scan or reconstruction from those of another that carry the same series UID."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from CLIPLungLib.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

# Constant within a scan, or counted up along it. Not among them: what a scanner modulates, as the current of its tube.
SCAN_TAGS = (
    "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate", "ContentTime", "SeriesDate", "SeriesNumber",
    "SeriesTime", "StudyDate", "StudyInstanceUID", "FrameOfReferenceUID", "SeriesDescription", "ProtocolName", "ImageType", "ConvolutionKernel",
    "KVP", "SliceThickness", "ReconstructionDiameter", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "TriggerTime",
    "StationName", "ImageComments",
)  # fmt: skip
# The same of a frame of a multi-frame file.
FRAME_TAGS = ("FrameAcquisitionNumber", "FrameAcquisitionDateTime", "TemporalPositionIndex", "StackID")
# Scans one after the other change once; a scanner that counts every rotation has as many of them as slices, or half as many.
ALTERNATING_SHARE, SLICES_PER_SCAN = 0.8, 4


def scan_marks(fields: Mapping[str, Any] | Dataset) -> tuple[str, ...]:
    """The value of every one of the tags, empty where it is missing or garbled."""
    return tuple(_text(fields, keyword) for keyword in (*SCAN_TAGS, *FRAME_TAGS))


def require_one_scan(marks: Sequence[tuple[str, ...]]) -> None:
    """Refuse two scans (breathed in and out, without and with contrast) or reconstructions (soft and sharp, two tube voltages) that lie
    between each other like the teeth of a zip.

    Args:
        marks: of every slice, in the order of their places.

    Raises:
        InputError: a tag whose values alternate.
    """
    for keyword, kinds in _alternating(marks):
        raise InputError(
            f"Its {len(marks)} slices are of {kinds} acquisitions or reconstructions ({keyword}) that alternate along the slice normal, so "
            "neighbouring slices show different ones. Export each as a series of its own."
        )


def _alternating(marks: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, int]]:
    """The tags whose values alternate, and how many values they have. What is not stated everywhere says nothing."""
    for keyword, values in zip((*SCAN_TAGS, *FRAME_TAGS), zip(*marks, strict=True), strict=False):
        kinds = len(set(values))
        if "" in values or kinds < 2 or kinds > len(values) / SLICES_PER_SCAN:
            continue
        if sum(before != after for before, after in pairwise(values)) > ALTERNATING_SHARE * (len(values) - 1):
            yield keyword, kinds


def _text(fields: Mapping[str, Any] | Dataset, keyword: str) -> str:
    try:
        value = fields.get(keyword)
        return "" if value is None else str(value).strip()  # Zero is a value.
    except Exception:  # pydicom converts a value when it is first used.
        return ""
