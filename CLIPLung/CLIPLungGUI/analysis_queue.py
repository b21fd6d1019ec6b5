"""Questions to the model, answered in the background, and the answers put into the scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from CLIPLungGUI.background_worker import BackgroundWorker
from CLIPLungGUI.logic import CLIPLungLogic
from CLIPLungGUI.model_loader import MODEL_KEY
from CLIPLungGUI.nodule_rows import NoduleRow


class Analyses:
    """Asks for the answers of points.

    Args:
        logic: whose classifier answers.
        worker: runs the classifier.
        inputs: gives the CT and the list of points of the panel; None where one is not chosen.
        onStored: called with a list of points and a point's ID when its answer is in the scene.
        onChange: called when there is something else to show.
    """

    def __init__(
        self,
        logic: CLIPLungLogic,
        worker: BackgroundWorker,
        inputs: Callable[[], tuple[Any, Any]],
        onStored: Callable[[Any, str], None],
        onChange: Callable[[], None],
    ) -> None:
        self.logic, self.worker, self.inputs = logic, worker, inputs
        self.onStored, self.onChange = onStored, onChange

    def ask(self, pointID: str) -> None:
        """Ask for the answer for a point; nothing happens without a CT or a model."""
        ct, points = self.inputs()
        if ct is None or points is None or self.logic.classifier is None:
            return
        key, ids = self.logic.key(points, pointID), (points.GetID(), ct.GetID())
        self.logic.failures.pop(key, None)
        try:
            work, state = self.logic.job(ct, points, pointID), self.logic.ctState(ct)
        except Exception as error:
            self._onRefused(key, error)
            return
        self.worker.submit(
            key,
            work,
            lambda result: self._onAnswer(*ids, pointID, result, state),
            lambda error: self._onRefused(key, error),
        )

    def askFor(self, rows: Sequence[NoduleRow], *states: str, first: str = "") -> str:
        """Ask for every point in one of these states; the newest is answered first. Answers of another CT than the chosen one stay.

        Args:
            first: ID of a point that is answered before the newest, if it is one of them.

        Returns:
            ID of the newest of them; empty without any.
        """
        asked = [row.pointID for row in rows if row.state in states and self._isOfChosenCT(row.pointID)]
        # The worker takes the one that was submitted last.
        with self.worker.collecting():
            for pointID in sorted(asked, key=lambda pointID: pointID == first):
                self.ask(pointID)
        return asked[-1] if asked else ""

    def _isOfChosenCT(self, pointID: str) -> bool:
        """Whether a point has no answer, or one of the CT that is chosen: another CT may be of another patient."""
        ct, points = self.inputs()
        return self.logic.heatMap(points, pointID) is None or self.logic.ctOf(points, pointID) is ct

    def prefer(self, pointID: str) -> None:
        """The reader looks at this nodule: its answer comes next, if it waits for one."""
        points = self.inputs()[1]
        if points is not None:
            self.worker.prefer(self.logic.key(points, pointID))

    @property
    def waiting(self) -> set[str]:
        """Keys of the points that have no answer yet."""
        return self.worker.keys - {MODEL_KEY}

    def cancel(self) -> None:
        """Forget the nodules that wait; they can be asked for again."""
        for key in self.waiting:
            self.logic.failures[key] = _("Cancelled. Press 'Analyze again' to ask for the answer.")
            self.worker.cancel(key)
        self.onChange()

    def _onAnswer(self, pointsID: str, ctID: str, pointID: str, result: Any, state: Any) -> None:
        points, ct = slicer.mrmlScene.GetNodeByID(pointsID), slicer.mrmlScene.GetNodeByID(ctID)
        if points is None or ct is None or not self.logic.hasPoint(points, pointID):
            return  # gone meanwhile
        try:
            self.logic.requireUnchanged(ct, state)
            self.logic.store(ct, points, pointID, result)
        except Exception as error:
            self._onRefused(self.logic.key(points, pointID), error)
            return
        # Showing it takes about as long as storing it, and the window shall stay awake in between.
        self.worker.later(lambda: self.onStored(points, pointID))

    def _onRefused(self, key: str, error: Exception) -> None:
        self.logic.failures[key] = self.logic.reason(error)
        self.onChange()
