"""Outlines as a DICOM segmentation: one binary segment a nodule, on the slices of the CT series, for the structured report to refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask
from CLIPLungLib.report import dicom_codes
from CLIPLungLib.report.dicom_source import read_series, slice_place
from CLIPLungLib.report.dicom_sr import (
    MANUFACTURER,
    NAME,
    ReportedNodule,
    SegmentReference,
    concept,
    require_highdicom,
    require_in_place,
    require_same_series,
    write_structured_report,
)
from CLIPLungLib.version import __version__

if TYPE_CHECKING:
    import highdicom as hd
    import pydicom

SERIES_NUMBER, SERIES_DESCRIPTION = 9101, "CLIP-Lung outlines (research use only)"
# How far, in voxels, an outline's voxel may lie from the pixel it becomes; slices are never spaced quite evenly.
OFF_PIXEL, OFF_SLICE = 0.1, 0.3
# Letters that the standard allows.
LONGEST_LABEL = 64


@dataclass(frozen=True, eq=False)
class _Outlined:
    """A nodule with an outline, and its place among the nodules of the report."""

    index: int
    nodule: ReportedNodule
    outline: OutlineMask


def segmentation_path(report: Path) -> Path:
    """Where the segmentation of a structured report is written: nodules.seg.dcm beside nodules.dcm."""
    return report.with_name(f"{report.stem}.seg{report.suffix}")


def write_report_with_segmentation(
    nodules: Sequence[ReportedNodule], files: Sequence[Path], path: Path, ct: CTVolume
) -> list[Path]:
    """Write a structured report and, beside it, the segmentation it refers to; only the report where nothing is outlined.

    Args:
        nodules: one at least.
        files: every DICOM file of the series.
        path: of the report.
        ct: what was analyzed.

    Returns:
        What was written.

    Raises:
        InputError: as `write_structured_report`, or an outline that does not lie on the slices of the series.
        MissingPackageError: highdicom is missing.
    """
    path = Path(path)
    require_highdicom()
    outlines = [(index, nodule, nodule.result.outline_in(ct)) for index, nodule in enumerate(nodules)]
    outlined = [_Outlined(index, nodule, mask) for index, nodule, mask in outlines if mask is not None]
    if not outlined:
        write_structured_report(nodules, files, path, ct)
        return [path]
    images = read_series(files)
    require_same_series(ct, images)
    require_in_place(ct, images)
    try:
        document = _document(outlined, images)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"The series of '{files[0]}' cannot hold a segmentation: its header does not fit the standard ({error}). Export it again."
        ) from error
    references = {
        one.index: SegmentReference(document, number, str(document.get_segment_description(number).tracking_uid))
        for number, one in enumerate(outlined, start=1)
    }
    place = segmentation_path(path)
    with writing(place) as temporary:
        document.save_as(str(temporary))
        write_structured_report(nodules, files, path, ct, references)
    return [path, place]


def _document(outlined: Sequence[_Outlined], images: Sequence[pydicom.Dataset]) -> hd.seg.Segmentation:
    import highdicom as hd
    from pydicom.uid import generate_uid

    voxels = [_pixels(one, images) for one in outlined]
    used = sorted(set(np.concatenate([found[0] for found in voxels]).tolist()))
    sources = [images[index] for index in used]
    # The standard wants a thickness for frames, and readers may measure volumes by it: that of slices which touch, where a CT states none.
    distance_mm = round(_slice_distance_mm(outlined[0].outline, _normal(images[0])), 3)
    for image in sources:
        image.setdefault("SliceThickness", distance_mm)
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=_frames(voxels, used, (sources[0].Rows, sources[0].Columns)),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(number, one) for number, one in enumerate(outlined, start=1)],
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=NAME,
        software_versions=__version__,
        device_serial_number=__version__,
    )


def _pixels(one: _Outlined, images: Sequence[pydicom.Dataset]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index of the image (N,), row and column of every voxel of an outline, from the places that the files state."""
    mask = one.outline
    voxels_ijk = np.argwhere(mask.inside)[:, ::-1]
    voxels_ras = voxels_ijk @ mask.ijk_to_ras[:3, :3].T + mask.ijk_to_ras[:3, 3]
    places = [slice_place(image) for image in images]
    normal = _normal(images[0])
    heights_mm = np.array([place.origin_ras @ normal for place in places])
    distance_mm = np.abs((voxels_ras @ normal)[:, None] - heights_mm)  # (N, images)
    image = distance_mm.argmin(axis=1)
    thickness_mm = _slice_distance_mm(mask, normal)
    offsets_ras = voxels_ras - np.array([place.origin_ras for place in places])[image]
    exact = np.stack([offsets_ras @ step / (step @ step) for step in places[0].steps_ras], axis=1)  # column, row
    column, row = np.rint(exact).astype(int).T
    size = (images[0].Columns, images[0].Rows)
    is_off = (
        np.abs(exact - np.rint(exact)).max() > OFF_PIXEL or distance_mm.min(axis=1).max() > OFF_SLICE * thickness_mm
    )
    if is_off or (np.rint(exact) < 0).any() or (np.rint(exact) >= size).any():
        raise InputError(
            f"The outline of '{one.nodule.label}' does not lie on the slices of the series. Load the series again, and analyze or draw "
            "the nodule there."
        )
    return image, row, column


def _normal(image: pydicom.Dataset) -> np.ndarray:
    """(3,) RAS, of length 1: across a slice."""
    across: np.ndarray = np.cross(*slice_place(image).steps_ras)
    return np.asarray(across / np.linalg.norm(across))


def _slice_distance_mm(outline: OutlineMask, normal_ras: np.ndarray) -> float:
    """From slice to slice of an outline's grid."""
    return float(np.abs(outline.ijk_to_ras[:3, :3].T @ normal_ras).max())


def _frames(
    voxels: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], used: Sequence[int], size: tuple[int, int]
) -> np.ndarray:
    """(frames, rows, columns) uint16 number of the segment; one more axis for the segments where some overlap."""
    frame_of = {image: frame for frame, image in enumerate(used)}
    labels = np.zeros((len(used), *size), np.uint16)
    places = [(np.array([frame_of[i] for i in image.tolist()]), row, column) for image, row, column in voxels]
    for number, place in enumerate(places, start=1):
        if labels[place].any():
            break
        labels[place] = number
    else:
        return labels
    separate = np.zeros((*labels.shape, len(voxels)), np.uint8)
    for index, (frame, row, column) in enumerate(places):
        separate[frame, row, column, index] = 1
    return separate


def _description(number: int, one: _Outlined) -> hd.seg.SegmentDescription:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    result, name = one.nodule.result, one.nodule.name(one.index + 1)
    by_hand = result.measurement is not None and result.measurement.corrected_by_hand
    kinds = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:LONGEST_LABEL],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=concept(dicom_codes.NODULE),
        algorithm_type=kinds.SEMIAUTOMATIC if by_hand else kinds.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=NAME,
            version=result.model.get("version", __version__),
            family=codes.DCM.ArtificialIntelligence,
        ),
        tracking_uid=generate_uid(),
        tracking_id=name,
        anatomic_regions=[concept(dicom_codes.LUNG)],
    )
