"""From raw readings to what a reader is told: calibrated probabilities, signs, sizes with intervals, warnings."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.calibration.double_reading import sizes_disagree
from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.outline_mask import OutlineMask, on_grid_of
from CLIPLungLib.image.patch import Patch
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD
from CLIPLungLib.inference.outline_measurement import CUT_OFF, OUTLINE_IN_DOUBT, Measurement
from CLIPLungLib.inference.readout import Reading
from CLIPLungLib.inference.result import AttributeResult, Ends, NoduleMeasurement, NoduleResult
from CLIPLungLib.version import __version__
from CLIPLungLib.vocabulary import ATTRIBUTES, Attribute, best_code, level_columns

EMPTY_MAP = "The heat map is empty: nothing here looks more suspicious than in the average nodule."


def require_calibrations(checkpoint: Checkpoint) -> Calibrations:
    """The calibrations of a checkpoint.

    Raises:
        CheckpointError: it has none, as those of a cross-validation that is not finished.
    """
    if checkpoint.calibrations is None:
        raise CheckpointError(
            "These weights have no calibrations: their cross-validation is not finished. Run its command again."
        )
    return checkpoint.calibrations


def nodule_result(
    reading: Reading, heat: np.ndarray, ct: CTVolume, click_ras: np.ndarray, checkpoint: Checkpoint
) -> NoduleResult:
    """Args: heat (Z, Y, X) on the patch's grid, of size 0 where none is asked for; click_ras (3,) RAS mm.

    Raises:
        CheckpointError: the checkpoint has no calibrations.
    """
    calibrations, patch, found = require_calibrations(checkpoint), reading.patch, reading.measurement
    score = np.array([reading.malignancy_score])
    classes = calibrations.probability.class_probabilities(score)[0]
    measurement = calibrated_measurement(reading, found, calibrations) if found else None
    right, anterior, superior = (float(value) for value in click_ras)
    benign, unsure, malignant = (float(p) for p in classes)
    return NoduleResult(
        point_ras=(right, anterior, superior),
        malignancy_probability=float(calibrations.probability.malignancy_probability(score)[0]),
        class_probabilities=(benign, unsure, malignant),
        diameter_mm=measurement.diameter_mm if measurement else reading.estimated_diameter_mm,
        attributes=attribute_results(reading, calibrations),
        heatmap=heat.astype(np.float32),
        heatmap_to_ras=patch.ijk_to_ras,
        warnings=(*patch.warnings, *reading_warnings(reading, calibrations), *_heat_warnings(heat)),
        model={"name": "CLIP-Lung", "version": __version__, "sha256": checkpoint.sha256},
        image={"name": ct.name, **ct.source},
        measurement=measurement,
        class_set=calibrations.class_set(classes),
        outline=found.mask if found else None,
        outline_on_ct=on_grid_of(OutlineMask(found.mask, patch.ijk_to_ras), ct) if found else None,
        truth=calibrations.truth,
    )


def attribute_results(reading: Reading, calibrations: Calibrations) -> tuple[AttributeResult, ...]:
    """All attributes in the order of ATTRIBUTES."""
    return tuple(_attribute_result(attribute, reading, calibrations) for attribute in ATTRIBUTES)


def _attribute_result(attribute: Attribute, reading: Reading, calibrations: Calibrations) -> AttributeResult:
    columns = level_columns(attribute.name)
    probabilities = tuple(float(p) for p in reading.level_probabilities[columns])
    level = sign_level(attribute.name, reading, calibrations)
    return AttributeResult(
        name=attribute.name,
        similarity=float(reading.level_cosines[columns][attribute.sign_level - 1]),
        level=level,
        level_probabilities=probabilities,
        text=attribute.levels[best_code(attribute, probabilities, level) - 1],
    )


def sign_level(name: str, reading: Reading, calibrations: Calibrations) -> float:
    """Expected code of an attribute; where the nodule was outlined, its measured shape has a say in its sphericity."""
    level, found = reading.level(name), reading.measurement
    if name != "sphericity" or found is None or calibrations.outline is None:
        return level
    sizes = (np.array([size]) for size in (found.diameter_mm, found.short_diameter_mm, found.volume_mm3))
    return float(calibrations.outline.sphericity.level(np.array([level]), *sizes)[0])


def reading_warnings(reading: Reading, calibrations: Calibrations) -> tuple[str, ...]:
    """What makes a case doubtful: unlike anything learned, cut off, or outlined as something much larger or smaller than it looks."""
    warnings: tuple[str, ...] = ()
    if calibrations.outline is not None:
        warnings += calibrations.outline.limits.warnings(reading.distance, reading.presence)
    if reading.measurement is not None and reading.measurement.is_cut:
        warnings += (CUT_OFF,)
    if reading.measurement is not None and sizes_disagree(np.array(reading.measurement.diameter_mm), reading.second):
        warnings += (OUTLINE_IN_DOUBT,)
    return warnings


def calibrated_measurement(
    reading: Reading, found: Measurement, calibrations: Calibrations
) -> NoduleMeasurement | None:
    """The size as readers would measure it; None without calibrations for outlines.

    The diameter is that of outline, direct estimate and second reader together; the other diameters keep their ratio to it.
    """
    if calibrations.outline is None:
        return None
    patch, volume = reading.patch, calibrations.outline.volume
    diameter_mm = calibrations.outline.diameter.value(reading.measured_diameter_mm)
    right, anterior, superior = (float(value) for value in offset_ras(patch, found.center_offset_mm))
    return NoduleMeasurement(
        diameter_mm=diameter_mm,
        diameter_interval_mm=calibrations.outline.diameter.interval(reading.measured_diameter_mm),
        mean_diameter_mm=diameter_mm * found.mean_diameter_mm / found.diameter_mm,
        volume_mm3=volume.value(found.volume_mm3),
        volume_interval_mm3=volume.interval(found.volume_mm3),
        center_ras=(right, anterior, superior),
        short_diameter_mm=diameter_mm * found.short_diameter_mm / found.diameter_mm,
        long_axis_ras=_ends_ras(patch, found.long_axis_mm),
        short_axis_ras=_ends_ras(patch, found.short_axis_mm),
    )


def _ends_ras(patch: Patch, ends_mm: np.ndarray | None) -> Ends | None:
    """RAS mm of the ends (2, 3) of an axis, given as `offset_ras` wants them."""
    if ends_mm is None:
        return None
    (r0, a0, s0), (r1, a1, s1) = (offset_ras(patch, end_mm).tolist() for end_mm in ends_mm)
    return (r0, a0, s0), (r1, a1, s1)


def offset_ras(patch: Patch, offset_mm: np.ndarray) -> np.ndarray:
    """(3,) RAS mm of a place given by its distance from the patch's middle along planes, rows, columns."""
    axes = patch.ijk_to_ras[:3, :3] / np.linalg.norm(patch.ijk_to_ras[:3, :3], axis=0)
    place_ras: np.ndarray = patch.center_ras + axes @ offset_mm[::-1]
    return place_ras


def _heat_warnings(heat: np.ndarray) -> tuple[str, ...]:
    return () if heat.size == 0 or heat.max() >= HEAT_THRESHOLD else (EMPTY_MAP,)
