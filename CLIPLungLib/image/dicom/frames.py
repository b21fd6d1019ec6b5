"""What a multi-frame CT (enhanced, or converted from single slices) says of each frame, as if each were a file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.dicom.scan_marks import FRAME_TAGS

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_FRAMES = 65_535
# Functional group -> what a single slice has at its top.
GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTImageFrameTypeSequence": ("FrameType", "VolumeBasedCalculationTechnique"),
    "FrameContentSequence": FRAME_TAGS,
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTXRayDetailsSequence": ("KVP",),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase",),
}


def has_frames(dataset: Dataset) -> bool:
    """Whether a file states its geometry frame by frame."""
    return bool(dataset.get("PerFrameFunctionalGroupsSequence"))


def frame_count(dataset: Mapping[str, Any] | Dataset) -> int:
    """The stated number of frames; one where nothing is stated.

    Raises:
        InputError: a number no CT has.
    """
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= count <= MOST_FRAMES:
        raise InputError(f"{count} frames are stated; 1 to {MOST_FRAMES} are read")
    return count


def each_frame(dataset: Dataset) -> Iterator[Mapping[str, Any]]:
    """The fields of every frame: its own group's, else the shared group's, over those of the file.

    Raises:
        InputError: another number of frames than of groups.
    """
    groups = dataset.PerFrameFunctionalGroupsSequence
    count = frame_count(dataset)
    if len(groups) != count:
        raise InputError(f"{count} frames are stated and {len(groups)} described")
    common = dict(_single_values(dataset))
    shared = _first(dataset.get("SharedFunctionalGroupsSequence"))
    for group in groups:
        fields: dict[str, Any] = {**common, "NumberOfFrames": 1}
        for sequence, keywords in GROUPS.items():
            item = _first(group.get(sequence)) or _first(shared.get(sequence) if shared is not None else None)
            if item is not None:
                fields.update({keyword: item.get(keyword) for keyword in keywords})
        if fields.get("FrameType"):
            fields["ImageType"] = fields["FrameType"]
        yield fields


def _single_values(dataset: Dataset) -> Iterator[tuple[str, Any]]:
    """The elements of a file without its sequences; what is garbled is none."""
    for tag in tuple(dataset.keys()):
        try:
            element = dataset[tag]
            if element.VR != "SQ":
                yield str(element.keyword), element.value
        except Exception:  # pydicom converts a value when it is first used.
            continue


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None
