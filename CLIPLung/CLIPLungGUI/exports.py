"""Answers as files: table, numbers, picture, structured report.

One rule for all: a point that has moved since, or whose CT has moved or changed, is refused.
"""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import slicer
from slicer.i18n import tr as _

from CLIPLungGUI.nodule_rows import DONE, MOVED, NoduleRow, missingAnswerText

if TYPE_CHECKING:
    from CLIPLungGUI.logic import CLIPLungLogic
    from CLIPLungLib.scene.result_store import StoredResult


class CurrentAnswer(NamedTuple):
    """An answer for where its point lies now."""

    label: str
    pointID: str
    stored: StoredResult


def writeCSV(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, path: Path) -> None:
    """All nodules, with the columns of `cliplung batch`; one without an answer is a failed row that says why.

    Nodules of several CTs are told apart by the CT's name before their own: they may be of several patients.
    """
    from CLIPLungLib.atomic_write import writing
    from CLIPLungLib.inference.result import CSV_COLUMNS, failed_row

    answers = {answer.pointID: answer for answer in currentAnswers(logic, points)}
    isOfOneCT = len({answer.stored.ct_node for answer in answers.values()}) <= 1
    rows = [
        answers[row.pointID].stored.result.to_row(row.label if isOfOneCT else _labelWithCT(answers[row.pointID]))
        if row.pointID in answers
        else failed_row(row.label, missingAnswerText(row, isModelComing=False))
        for row in logic.rows(points, set())
    ]
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, CSV_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _labelWithCT(answer: CurrentAnswer) -> str:
    ct = answer.stored.ct_node
    return answer.label if ct is None else f"{ct.GetName()} {answer.label}"


def writeJSON(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str, path: Path) -> None:
    """One answer with every number."""
    from CLIPLungLib.inference.result_files import write_json

    write_json(currentAnswer(logic, points, pointID).stored.result, path)


def writeReport(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str, path: Path) -> None:
    """One answer as a picture."""
    # Slicer's log takes everything, and matplotlib tells of every font it looks at.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from CLIPLungLib.report.page import save_report
    from CLIPLungLib.scene.volume_node import ct_volume

    stored = currentAnswer(logic, points, pointID).stored
    save_report(ct_volume(stored.ct_node), stored.result, path)


def writeDICOM(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, path: Path) -> str:
    """All answers as a DICOM structured report that refers to the CT's series, and beside it the outlines as a DICOM segmentation.

    Returns:
        Which nodules are not in it, and why; empty when all are.
    """
    from CLIPLungLib.report.dicom_seg import write_report_with_segmentation
    from CLIPLungLib.report.dicom_sr import ReportedNodule
    from CLIPLungLib.scene.volume_node import ct_volume

    found = currentAnswers(logic, points)
    ctNodes = {answer.stored.ct_node for answer in found}
    nodules, files = [ReportedNodule(a.label, a.stored.result) for a in found], sourceFiles(ctNodes)
    write_report_with_segmentation(nodules, files, path, ct_volume(next(iter(ctNodes))))
    return leftOutText(logic, points)


def leftOutText(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode) -> str:
    """The nodules without an answer to export, each with its reason; empty when all have one."""
    missing = [row for row in logic.rows(points, set()) if row.state != DONE]
    reasons = "\n".join(f"{row.label}: {withoutLabel(row)}" for row in missing)
    return _("Not in the report, for there is no answer:\n{reasons}").format(reasons=reasons) if missing else ""


def withoutLabel(row: NoduleRow) -> str:
    """Why a row has no answer, without its label before the reason."""
    return missingAnswerText(row, isModelComing=False).removeprefix(f"{row.label}: ")


def currentAnswers(
    logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode | None, pointID: str = ""
) -> list[CurrentAnswer]:
    """The answer of every point that has one, or of the one point named.

    Raises:
        InputError: no list, or a point or its CT has moved or changed since: the numbers would be taken for those of what is there now.
    """
    from CLIPLungLib.errors import InputError

    if points is None:
        raise InputError("There is no list of points to export. Place a point on a nodule first.")
    rows = [row for row in logic.rows(points, set()) if pointID in ("", row.pointID)]
    # A refused point's answer is not exported, wherever it was given.
    moved = [row.label for row in rows if row.state == MOVED]
    if moved:
        raise InputError(
            f"These points have moved since they were analyzed, or their CT has moved or changed: {', '.join(moved)}. "
            "Press 'Analyze again' for each, then export."
        )
    found = [(row, logic.stored(points, row.pointID)) for row in rows if row.state == DONE]
    return [CurrentAnswer(row.label, row.pointID, stored) for row, stored in found if stored is not None]


def currentAnswer(logic: CLIPLungLogic, points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str) -> CurrentAnswer:
    """The answer of one point.

    Raises:
        InputError: it has none, or has moved since.
    """
    from CLIPLungLib.errors import InputError

    found = currentAnswers(logic, points, pointID) if pointID else []
    if not found:
        raise InputError("The selected nodule has no answer to export. Press 'Analyze again', then export.")
    return found[0]


def sourceFiles(ctNodes: set[slicer.vtkMRMLScalarVolumeNode | None]) -> list[Path]:
    """The DICOM files a CT was loaded from.

    Raises:
        InputError: several CTs, or one that does not come from Slicer's DICOM database.
    """
    from CLIPLungLib.errors import InputError

    ct = next(iter(ctNodes), None)
    if len(ctNodes) != 1 or ct is None:
        raise InputError("A structured report refers to one CT. Export the nodules of one CT at a time.")
    uids = (ct.GetAttribute("DICOM.instanceUIDs") or "").split()
    files = [slicer.dicomDatabase.fileForInstance(uid) for uid in uids]
    if not files or not all(files):
        raise InputError(
            f"'{ct.GetName()}' was not loaded from Slicer's DICOM database, so a structured report has no series to refer to. "
            "Import the series with the DICOM module, load it from there, and analyze the nodules on it."
        )
    return [Path(file) for file in files]
