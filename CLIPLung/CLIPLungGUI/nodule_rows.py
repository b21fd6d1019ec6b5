"""A row of the list of nodules: its state, and the texts of its cells. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from CLIPLungLib.inference.result import NoduleResult

DONE, WAITING, MOVED, FAILED, NEW = "done", "waiting", "moved", "failed", "new"


@dataclass(frozen=True)
class NoduleRow:
    """What a row shows.

    Attributes:
        pointID, label: of the control point.
        state: DONE, WAITING, MOVED (since the answer), FAILED or NEW (not asked for).
        probability: of suspicion; None without an answer.
        size: diameter as text.
        reason: why it failed, or why the answer is doubtful.
        isMoved: whether the answer is for another place than the point's, in whatever state the row is.
    """

    pointID: str
    label: str
    state: str
    probability: float | None = None
    size: str = ""
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
    # The warnings themselves are in the tooltip, and in the answer of the selected row.
    return f"{text} (!)" if row.reason else text


def sizeText(result: NoduleResult) -> str:
    """The diameter for a narrow column; rough where nothing could be outlined."""
    return ("{:.1f}\u00a0mm" if result.measurement else "~{:.1f}\u00a0mm").format(result.diameter_mm)


def percentText(probability: float) -> str:
    """A probability in percent; no line may break between number and sign."""
    return f"{100 * probability:.0f}\u00a0%"


def missingAnswerText(row: NoduleRow, isModelComing: bool) -> str:
    """What stands in place of an answer that is not there."""
    if row.reason:
        return row.reason
    if row.state == WAITING:
        return _("{label}: analyzing...").format(label=row.label)
    if isModelComing:
        return _("{label}: waits for the model.").format(label=row.label)
    return _("{label}: not analyzed. Press 'Analyze again', once CT and model are there.").format(label=row.label)
