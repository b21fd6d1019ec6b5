"""Answers as a DICOM structured report: Comprehensive 3D SR by template TID 1500, one measurement group with a 3-D point per nodule.

3D Slicer's own reader of TID 1500 reports asks of every group: a point as SCOORD3D, a tracking identifier, a finding, a finding
site, and the same evaluations in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.result import NoduleResult
from CLIPLungLib.inference.result_files import require_finite
from CLIPLungLib.report import dicom_codes
from CLIPLungLib.report.dicom_source import corners_ras, read_series
from CLIPLungLib.version import __version__

if TYPE_CHECKING:
    import highdicom as hd
    import pydicom

NAME, MANUFACTURER = "CLIPLung", "CLIPLung developers"
SERIES_NUMBER, SERIES_DESCRIPTION = 9100, "CLIP-Lung nodules (research use only)"
# How far, in voxels, rounded numbers in files may put a corner off.
PLACE_VOXELS = 0.1
# Stands where a CT does not state its slice thickness while the report is built; it is no part of the report then.
NO_THICKNESS = 1.0


@dataclass(frozen=True, eq=False)
class ReportedNodule:
    """A result and what its point is called."""

    label: str
    result: NoduleResult

    def name(self, number: int) -> str:
        """The label as DICOM takes it, in one line and without its separator of values; the number where there is none."""
        return " ".join(self.label.replace("\\", "/").split()) or f"Nodule {number}"


@dataclass(frozen=True, eq=False)
class SegmentReference:
    """The segment that outlines a nodule.

    Attributes:
        document: the DICOM segmentation it lies in.
        number: of the segment, from 1.
        tracking_uid: by which the segment names the nodule.
    """

    document: hd.seg.Segmentation
    number: int
    tracking_uid: str


def write_structured_report(
    nodules: Sequence[ReportedNodule],
    files: Sequence[Path],
    path: Path,
    ct: CTVolume | None = None,
    segments: Mapping[int, SegmentReference] | None = None,
) -> None:
    """Write one report about the nodules of one CT series.

    Args:
        nodules: one at least; their points lie in the series' frame of reference.
        files: every DICOM file of the series.
        path: to write.
        ct: what was analyzed; when given, it must be of their series and still lie where they put it.
        segments: index of a nodule -> its outline, to which its measurements then refer; the others refer to their point.

    Raises:
        InputError: nothing to report, answers by different truths, files that are not one CT series, a CT of another series or that lies elsewhere, or a file that cannot be written.
        MissingPackageError: highdicom is missing.
    """
    require_highdicom()
    if not nodules:
        raise InputError("There is no answer to report. Analyze a nodule first.")
    for nodule in nodules:
        require_finite(nodule.result)
    if len({nodule.result.truth.whose for nodule in nodules}) > 1:
        raise InputError(
            "Some answers estimate readers' ratings and others an outcome, which one report cannot hold. Analyze all nodules with one model."
        )
    images = read_series(files)
    if ct is not None:
        require_same_series(ct, images)
        require_in_place(ct, images)
    try:
        document = _document(nodules, images, segments or {})
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"The series of '{files[0]}' cannot be reported: its header does not fit the standard ({error}). Export it again."
        ) from error
    with writing(Path(path)) as temporary:
        document.save_as(str(temporary))


def require_highdicom() -> None:
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"A structured report needs highdicom, which cannot be loaded ({error}). Install it with `pip install highdicom` "
            "(in Slicer's Python console: `slicer.util.pip_install('highdicom')`); other exports do not need it."
        ) from error


def _document(
    nodules: Sequence[ReportedNodule], images: Sequence[pydicom.Dataset], segments: Mapping[int, SegmentReference]
) -> hd.sr.Comprehensive3DSR:
    import highdicom as hd
    from pydicom.uid import generate_uid

    return hd.sr.Comprehensive3DSR(
        evidence=[*images, *{id(segment.document): segment.document for segment in segments.values()}.values()],
        content=_measurement_report(nodules, images, segments),
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=SERIES_DESCRIPTION,
        software_versions=__version__,
    )


def _measurement_report(
    nodules: Sequence[ReportedNodule], images: Sequence[pydicom.Dataset], segments: Mapping[int, SegmentReference]
) -> hd.sr.MeasurementReport:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    without = {image.SOPInstanceUID for image in images if "SliceThickness" not in image}
    for image in images:
        image.setdefault("SliceThickness", NO_THICKNESS)
    report = hd.sr.MeasurementReport(
        observation_context=_observed_by_program(),
        procedure_reported=concept(dicom_codes.CHEST_CT),
        imaging_measurements=[
            _measurement_group(
                nodule, index + 1, images[0].FrameOfReferenceUID, images[0].SeriesInstanceUID, segments.get(index)
            )
            for index, nodule in enumerate(nodules)
        ],
        referenced_images=images,
    )
    for entry in _image_entries(report):
        if entry.ReferencedSOPSequence[0].ReferencedSOPInstanceUID in without:
            kept = [item for item in entry.ContentSequence if item.name != codes.DCM.SliceThickness]
            entry.ContentSequence = hd.sr.ContentSequence(kept)
    return report


def _image_entries(report: hd.sr.MeasurementReport) -> list[pydicom.Dataset]:
    """The images that a report describes in its image library."""
    from pydicom.sr.codedict import codes

    libraries = [item for item in report[0].ContentSequence if item.name == codes.DCM.ImageLibrary]
    groups = [group for library in libraries for group in library.ContentSequence]
    return [entry for group in groups for entry in group.ContentSequence if "ReferencedSOPSequence" in entry]


def require_same_series(ct: CTVolume, images: Sequence[pydicom.Dataset]) -> None:
    """A report refers to the series that was analyzed; a CT that does not come from DICOM names none."""
    uid = ct.source.get("series_uid")
    if uid == "":
        raise InputError(
            f"'{ct.name}' was put together from files with different SeriesInstanceUIDs, so a structured report has no one series to "
            "refer to. Anonymize the original again with one UID a series, and analyze the nodules there."
        )
    if uid is not None and uid != images[0].SeriesInstanceUID:
        raise InputError(
            f"'{ct.name}' is series {uid}, the files are series {images[0].SeriesInstanceUID}. Give the files of the series that was "
            "analyzed."
        )


def require_in_place(ct: CTVolume, images: Sequence[pydicom.Dataset]) -> None:
    """Whether a CT still lies where its DICOM files put it; the points of a report would be elsewhere in the series otherwise."""
    ijk = ct.to_ijk(np.array([corners_ras(image) for image in images]))  # (N, 2, 3)
    last_ijk = ct.size_ijk - 1.0
    in_plane = np.abs(ijk[:, :, :2] - [[0.0, 0.0], last_ijk[:2]]).max()
    beyond = max(-ijk[:, :, 2].min(), ijk[:, :, 2].max() - last_ijk[2])
    if not max(in_plane, beyond) <= PLACE_VOXELS:
        raise InputError(
            f"'{ct.name}' no longer lies where its DICOM series does: it was moved, resampled or cropped, and the report's points "
            "would be in the wrong place. Take it out of its transform or load the series again, and analyze the nodules there."
        )


def _observed_by_program() -> hd.sr.ObservationContext:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        # Of the program in this version, wherever it runs.
        uid=generate_uid(entropy_srcs=[NAME, __version__]),
        name=NAME,
        manufacturer_name=MANUFACTURER,
        model_name=f"{NAME} {__version__}",
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _measurement_group(
    nodule: ReportedNodule, number: int, frame_of_reference_uid: str, series_uid: str, segment: SegmentReference | None
) -> Any:
    import highdicom as hd
    from pydicom.uid import generate_uid

    result = nodule.result
    r, a, s = result.point_ras
    algorithm = hd.sr.AlgorithmIdentification(
        name=NAME,
        version=result.model.get("version", __version__),
        parameters=[f"weights SHA-256 {result.model.get('sha256', 'unknown')}", result.notice],
    )
    # DICOM's axes are left, posterior, superior.
    point_lps = np.array([[-r, -a, s]])
    uid = generate_uid() if segment is None else segment.tracking_uid
    content: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(uid=uid, identifier=nodule.name(number)),
        "finding_type": concept(dicom_codes.NODULE),
        "finding_sites": [hd.sr.FindingSite(concept(dicom_codes.LUNG))],
        "algorithm_id": algorithm,
        "measurements": _measurements(result),
        "qualitative_evaluations": _evaluations(result),
    }
    if segment is None:
        region = hd.sr.ImageRegion3D("POINT", point_lps, frame_of_reference_uid)
        return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **content)
    outline = hd.sr.ReferencedSegment(
        sop_class_uid=segment.document.SOPClassUID,
        sop_instance_uid=segment.document.SOPInstanceUID,
        segment_number=segment.number,
        source_series=hd.sr.SourceSeriesForSegmentation(series_uid),
    )
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=outline, **content)
    # The template wants one region a group, the segment; the click stands beside it under a name of its own.
    group[0].ContentSequence.append(
        hd.sr.Scoord3DContentItem(
            name=concept(dicom_codes.CENTER),
            graphic_type="POINT",
            graphic_data=point_lps,
            frame_of_reference_uid=frame_of_reference_uid,
            relationship_type="CONTAINS",
        )
    )
    return group


def _measurements(result: NoduleResult) -> list[hd.sr.Measurement]:
    similarities = [
        _measurement(dicom_codes.similarity_code(a.name), a.similarity, dicom_codes.NO_UNITS) for a in result.attributes
    ]
    probability = dicom_codes.PROBABILITIES[result.truth.whose]
    return [
        _measurement(probability, result.malignancy_probability, dicom_codes.NO_UNITS),
        *_sizes(result),
        *similarities,
    ]


def _sizes(result: NoduleResult) -> list[hd.sr.Measurement]:
    """Measured on the outline, whose author is named; the bare estimate where there is none."""
    size = result.measurement
    if size is None:
        return [_measurement(dicom_codes.DIAMETER, result.diameter_mm, dicom_codes.MM)]
    method = dicom_codes.METHODS[size.corrected_by_hand]
    found = [_measurement(dicom_codes.LONG_AXIS, size.diameter_mm, dicom_codes.MM, method)]
    if size.short_diameter_mm is not None:
        found.append(_measurement(dicom_codes.SHORT_AXIS, size.short_diameter_mm, dicom_codes.MM, method))
    return [*found, _measurement(dicom_codes.VOLUME, size.volume_mm3, dicom_codes.MM3, method)]


def _measurement(
    name: dicom_codes.Code, value: float, unit: dicom_codes.Code, method: dicom_codes.Code | None = None
) -> hd.sr.Measurement:
    import highdicom as hd

    return hd.sr.Measurement(
        name=concept(name),
        value=float(value),
        unit=concept(unit),
        method=None if method is None else concept(method),
    )


def _evaluations(result: NoduleResult) -> list[hd.sr.QualitativeEvaluation]:
    import highdicom as hd

    found = [(dicom_codes.SUSPICION, dicom_codes.CLASS_CODES[result.truth.whose][result.predicted_class])]
    for attribute in result.attributes:
        found.append((dicom_codes.SIGNS[attribute.name], dicom_codes.level_code(attribute.name, attribute.code)))
    return [hd.sr.QualitativeEvaluation(concept(name), concept(value)) for name, value in found]


def concept(code: dicom_codes.Code) -> hd.sr.CodedConcept:
    import highdicom as hd

    value, scheme, meaning = code
    return hd.sr.CodedConcept(value, scheme, meaning)
