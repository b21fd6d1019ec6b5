"""Answers as files: table, numbers, picture, structured report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import slicer

from CLIPLungGUI.nodule_list import DONE, MOVED

if TYPE_CHECKING:
    from CLIPLungGUI.logic import CLIPLungLogic
    from CLIPLungLib.inference.result import NoduleResult


class Answer(NamedTuple):
    """An answer for where its point lies now."""

    label: str
    pointID: str
    result: NoduleResult


def writeCSV(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, path: Path) -> None:
    """All answers, with the columns of `cliplung batch`."""
    from CLIPLungLib.atomic_write import atomic_write
    from CLIPLungLib.inference.result import CSV_COLUMNS

    rows = [answer.result.to_row(answer.label) for answer in answers(logic, points)]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, CSV_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def writeJSON(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str, path: Path) -> None:
    """One answer with every number."""
    from CLIPLungLib.inference.result_files import write_json

    write_json(logic.result(points, pointID), path)


def writeReport(_logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str, path: Path) -> None:
    """One answer as a picture."""
    from CLIPLungLib.report.page import save_report
    from CLIPLungLib.scene.result_store import stored_result
    from CLIPLungLib.scene.volume_node import ct_volume

    stored = stored_result(points, pointID)
    save_report(ct_volume(stored.ct_node), stored.result, path)


def writeDICOM(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, path: Path) -> None:
    """All answers as a DICOM structured report that refers to the CT's series."""
    from CLIPLungLib.report.dicom_sr import ReportedNodule, write_structured_report
    from CLIPLungLib.scene.result_store import stored_result
    from CLIPLungLib.scene.volume_node import ct_volume

    found = answers(logic, points)
    ctNodes = {stored_result(points, answer.pointID).ct_node for answer in found}
    nodules, files = [ReportedNodule(answer.label, answer.result) for answer in found], sourceFiles(ctNodes)
    write_structured_report(nodules, files, path, ct_volume(next(iter(ctNodes))))


def answers(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode) -> list[Answer]:
    """The answer of every point that has one.

    Raises:
        InputError: a point has moved since; its numbers would be taken for those of where it lies now.
    """
    from CLIPLungLib.errors import InputError

    rows = [row for row in logic.rows(points, set()) if row.state in (DONE, MOVED)]
    moved = [row.label for row in rows if row.state == MOVED]
    if moved:
        raise InputError(
            f"These points have moved since they were analyzed: {', '.join(moved)}. Press 'Analyze again' for each, then export."
        )
    return [Answer(row.label, row.pointID, logic.result(points, row.pointID)) for row in rows]


def sourceFiles(ctNodes: set[slicer.vtkMRMLScalarVolumeNode | None]) -> list[Path]:
    """The DICOM files a CT was loaded from.

    Raises:
        InputError: several CTs, or one that does not come from Slicer's DICOM database.
    """
    from CLIPLungLib.errors import InputError

    if len(ctNodes) != 1 or None in ctNodes:
        raise InputError("A structured report refers to one CT. Export the nodules of one CT at a time.")
    ct = next(iter(ctNodes))
    uids = (ct.GetAttribute("DICOM.instanceUIDs") or "").split()
    files = [slicer.dicomDatabase.fileForInstance(uid) for uid in uids]
    if not files or not all(files):
        raise InputError(
            f"'{ct.GetName()}' was not loaded from Slicer's DICOM database, so a structured report has no series to refer to. "
            "Import the series with the DICOM module, load it from there, and analyze the nodules on it."
        )
    return [Path(file) for file in files]
