"""Why a DICOM file or frame cannot be a slice of a CT volume."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from CLIPLungLib.image.dicom.field_values import number, text
from CLIPLungLib.image.dicom.frames import frame_count

if TYPE_CHECKING:
    from pydicom import Dataset

# "US" is DICOM's word for "unspecified".
HU_RESCALE_TYPES = ("", "HU", "US", "HU_MOD")
# A slope or intercept beyond this gives no HU, and numbers that no float32 holds.
LARGEST_RESCALE = 1e6
UNIT_TOLERANCE = 1e-2
# From air to soft tissue; a picture of 256 greys that kept the rescale of its CT does not reach so far, and all of it would be lung.
LEAST_SPAN_HU = 1000.0
# In words: the highest or lowest value along a line, which no tissue at the place has.
PROJECTION = re.compile(r"(?<![A-Z])(MIP|MINIP|MAX_?IP|MIN_?IP|MAXIMUM|MINIMUM)(?![A-Z])")
# How a frame of an enhanced CT was computed from a volume, where that gives no values of tissue.
PICTURES = ("MAX_IP", "MIN_IP", "VOLUME_RENDER", "SURFACE_RENDER")


def obstacle_of(
    fields: Mapping[str, Any] | Dataset,
    position: np.ndarray | None,
    orientation: np.ndarray | None,
    spacing: np.ndarray | None,
) -> str:
    """The reason in words; empty where there is none. The numbers are those of the fields, None where missing or garbled."""
    kind = "\\".join(np.atleast_1d(fields.get("ImageType") or ()).astype(str)).upper()
    if "LOCALIZER" in kind.split("\\"):
        return "localizer"
    if PROJECTION.search(kind) or text(fields, "VolumeBasedCalculationTechnique") in PICTURES:
        return "projection (MIP or MinIP) or rendering"
    if frame_count(fields) > 1:
        return "multi-frame without a position for each frame (export single-frame DICOM, or save the volume as NRRD)"
    if not fields.get("Rows") or not fields.get("Columns") or not fields.get("BitsAllocated"):
        return "without an image"
    if position is None or spacing is None or (spacing <= 0).any() or not _is_orientation(orientation):
        return "without position, orientation or pixel spacing"
    grey = text(fields, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    if not grey or int(fields.get("SamplesPerPixel") or 1) != 1:
        return "with colour"
    if text(fields, "RescaleType").upper() not in HU_RESCALE_TYPES or not _is_rescale(fields):
        return "not in Hounsfield units"
    if _span_hu(fields) < LEAST_SPAN_HU:
        return "with too few greys for Hounsfield units (pixels of 8 bits, as of a picture)"
    return ""


def _is_rescale(fields: Mapping[str, Any] | Dataset) -> bool:
    slope, intercept = number(fields, "RescaleSlope"), number(fields, "RescaleIntercept")
    return slope != 0 and max(abs(slope or 0.0), abs(intercept or 0.0)) <= LARGEST_RESCALE


def _span_hu(fields: Mapping[str, Any] | Dataset) -> float:
    """How far the stored numbers can reach."""
    bits = int(fields.get("BitsStored") or fields.get("BitsAllocated") or 0)
    return 2.0**bits * abs(number(fields, "RescaleSlope") or 1.0)


def _is_orientation(orientation: np.ndarray | None) -> bool:
    if orientation is None:
        return False
    axes = orientation.reshape(2, 3)
    return bool(np.abs(axes @ axes.T - np.eye(2)).max() < UNIT_TOLERANCE)
