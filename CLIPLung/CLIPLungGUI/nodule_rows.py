"""A row of the list of nodules: its state, and the texts of its cells. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from slicer.i18n import tr as _

DONE, WAITING, MOVED, FAILED, NEW = "done", "waiting", "moved", "failed", "new"
WARNING_SIGN = "\u26a0"


@dataclass(frozen=True)
class NoduleRow:
    """What a row shows.

    Attributes:
        pointID, label: of the control point.
        state: DONE, WAITING, MOVED (since the answer), FAILED or NEW (not asked for).
        probability: of suspicion; None without an answer.
        className: the most probable of vocabulary.CLASSES; empty without an answer.
        diameter_mm: None without an answer.
        volume_mm3: None where nothing could be outlined.
        reason: why it failed, or why the answer is doubtful.
        isMoved: whether the answer is for another place than the point's, in whatever state the row is.
    """

    pointID: str
    label: str
    state: str
    probability: float | None = None
    className: str = ""
    diameter_mm: float | None = None
    volume_mm3: float | None = None
    reason: str = ""
    isMoved: bool = False


def answerText(row: NoduleRow) -> str:
    """The probability, or why there is none to trust."""
    if row.state == WAITING:
        return _("analyzing...")
    if row.state == FAILED:
        return _("refused")
    if row.probability is None:
        return _("not analyzed")
    text = percentText(row.probability)
    if row.state == MOVED:
        return _("{probability} (moved)").format(probability=text)
    # The warnings themselves are in the tool tip, and in the answer of the selected row.
    return f"{text} {WARNING_SIGN}" if row.reason else text


def classText(row: NoduleRow) -> str:
    """The most probable class as readers call it."""
    from CLIPLungLib.vocabulary import CLASS_TITLES

    return CLASS_TITLES.get(row.className, "")


def toolTipText(row: NoduleRow, isCut: bool = False) -> str:
    """Why there is no answer, or why it is doubtful, in rich text; the label before it, where the column cuts it."""
    lines = [row.label] * isCut + row.reason.splitlines()
    return f"<p>{'<br>'.join(escape(line) for line in lines)}</p>" if lines else ""


def diameterText(row: NoduleRow) -> str:
    """The diameter for a narrow column; rough where nothing could be outlined."""
    if row.diameter_mm is None:
        return ""
    return ("{:.1f}\u00a0mm" if row.volume_mm3 is not None else "~{:.1f}\u00a0mm").format(row.diameter_mm)


def volumeText(row: NoduleRow) -> str:
    """The volume for a narrow column; empty where nothing could be outlined."""
    return "" if row.volume_mm3 is None else f"{row.volume_mm3:.0f}\u00a0mm\u00b3"


def percentText(probability: float) -> str:
    """A probability in percent; no line may break between number and sign."""
    from CLIPLungLib.report.wording import percent

    return percent(probability).replace("%", "\u00a0%")


def missingAnswerText(row: NoduleRow, isModelComing: bool) -> str:
    """What stands in place of an answer that is not there."""
    if row.reason:
        return row.reason
    if row.state == WAITING:
        return _("{label}: analyzing...").format(label=row.label)
    if isModelComing:
        return _("{label}: waits for the model.").format(label=row.label)
    return _("{label}: not analyzed. Press 'Analyze again', once CT and model are there.").format(label=row.label)
