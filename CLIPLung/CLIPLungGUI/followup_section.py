"""The section of the panel that compares the selected nodule with itself in an earlier CT."""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CLIPLungGUI import comparison_state
from CLIPLungGUI.background_worker import BackgroundWorker, Cancelled, qtTimer
from CLIPLungGUI.side_by_side import SideBySide

KEY = "followup"
# Acquisition, series and study date.
DATE_TAGS = ("0008,0022", "0008,0021", "0008,0020")


class FollowupSection:
    """Proposes the place, lets the reader confirm or move it, and compares. The comparison is kept in the scene.

    Args:
        file: the .ui of the section.
        selection: gives the list of points and the ID of the selected one.
        currentCT: gives the CT that the selected nodule's answer is of, or the one of the panel; None without.
        logic: of the module, with the classifier and the stored answers.
        worker: runs the work.
        fit: called when the section needs another height.
    """

    def __init__(
        self,
        file: str,
        selection: Callable[[], tuple[Any, str]],
        currentCT: Callable[[], Any],
        logic: Any,
        worker: BackgroundWorker,
        fit: Callable[..., None],
    ) -> None:
        self.widget = slicer.util.loadUI(file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.views = SideBySide()
        self._selection, self._currentCT, self._logic = selection, currentCT, logic
        self._worker, self._fit = worker, fit
        self._share = 0.0
        self._shown: tuple[Any, str] = (None, "")
        self._dated: Any = None
        self._timer = qtTimer(self._showShare)
        # Called when a nodule was marked in its prior CT.
        self.onMarked: Callable[[], None] = lambda: None
        self.ui.followupProgress.setVisible(False)
        self.ui.followupCancelButton.enabled = False
        self.ui.proposeButton.connect("clicked(bool)", self.onPropose)
        self.ui.followupCancelButton.connect("clicked(bool)", self.onCancel)
        self.ui.compareButton.connect("clicked(bool)", self.onCompare)
        self.ui.sideBySideButton.connect("clicked(bool)", self.onSideBySide)
        self.ui.backButton.connect("clicked(bool)", self.onBack)
        self.ui.priorSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onPriorChanged)
        self.ui.followupSection.connect("contentsCollapsed(bool)", self.onOpened)

    # What the panel tells

    def show(self) -> None:
        """The selection, an answer or the scene has changed."""
        if self.ui.followupSection.collapsed:
            return
        points, pointID = self._selection()
        mark = self._mark()
        self._followDate()
        if (points, pointID) != self._shown:
            isOtherNodule, self._shown = bool(self._shown[1]), (points, pointID)
            self._takeOver(mark)
            if isOtherNodule and self.views.isShown:
                self.onSideBySide()
        self._enable(mark)
        self.ui.followupLabel.setText(self._storedText(mark))
        self._fit()

    def onOpened(self, isCollapsed: bool) -> None:
        """Nothing is looked up while the section is closed."""
        self._shown, self._dated = (None, ""), None
        if not isCollapsed:
            self.show()
        self._fit()

    def onStartClose(self) -> None:
        """The scene is about to be closed: nothing of it may be held."""
        self.onCancel()
        self.views.stop()
        self._shown, self._dated = (None, ""), None

    # What the reader does

    def onPriorChanged(self, *_arguments: Any) -> None:
        """Another earlier CT was chosen."""
        self._fillDate(self.ui.priorDateEdit, self._prior())
        if not self.ui.followupSection.collapsed:
            self._enable(self._mark())

    def onPropose(self, *_arguments: Any) -> None:
        """Find the place in the prior CT, in the background."""
        from CLIPLungLib.followup.registration import propose_place
        from CLIPLungLib.scene.control_points import point_world_ras
        from CLIPLungLib.scene.volume_node import ct_volume

        (points, pointID), current, prior = self._selection(), self._currentCT(), self._prior()
        if points is None or not pointID or current is None or prior is None:
            return
        try:
            scans, ras = (ct_volume(current), ct_volume(prior)), point_world_ras(points, pointID)
            states = comparison_state.statesOf(current, prior)
        except Exception as error:
            self._say(self._logic.reason(error))
            return
        # Held so that the voxels outlive their nodes, should the scene be closed while the thread reads them.
        voxels = [node.GetImageData().GetPointData().GetScalars() for node in (current, prior)]

        def work(cancelled: threading.Event, _voxels: Any = voxels) -> Any:
            def tell(share: float) -> None:
                if cancelled.is_set():
                    raise Cancelled
                self._share = share

            return propose_place(scans[0], ras, scans[1], progress=tell)

        ids = (points.GetID(), pointID, prior.GetID())
        self._start(work, lambda match: self._onProposed(*ids, match, ras, states))

    def onCancel(self, *_arguments: Any) -> None:
        """Forget what is being looked for."""
        self._worker.cancel(KEY)
        self._stop()

    def onCompare(self, *_arguments: Any) -> None:
        """The place stands: measure there, and compare."""
        from CLIPLungLib.followup.comparison import comparison_of, days_of, require_two_scans
        from CLIPLungLib.scene.prior_point import prior_ct, prior_ras
        from CLIPLungLib.scene.volume_node import ct_volume

        (points, pointID), mark = self._selection(), self._mark()
        place = prior_ras(mark) if mark is not None else None
        prior = prior_ct(mark) if mark is not None else None
        stored = self._logic.stored(points, pointID) if points is not None and pointID else None
        # The CT that the answer is of, whichever is chosen in the panel.
        current = stored.ct_node if stored is not None else None
        classifier = self._logic.classifier
        if place is None or prior is None or current is None or stored is None or classifier is None:
            self._say(_("Analyze the nodule, choose the prior CT, and mark the nodule there first."))
            return
        try:
            comparison_state.requireCurrent(points, pointID)
            scans, dates = (ct_volume(current), ct_volume(prior)), self._dates()
            comparison_state.requireTwo(current, prior)
            require_two_scans(*scans)
            days_of(dates)
            states = comparison_state.statesOf(current, prior)
        except Exception as error:
            self._say(self._logic.reason(error))
            return
        voxels = [node.GetImageData().GetPointData().GetScalars() for node in (current, prior)]
        after = stored.result

        def work(_cancelled: threading.Event, _voxels: Any = voxels) -> Any:
            return comparison_of(after, classifier.classify(scans[1], place.tolist()), scans, None, dates)

        ids = (points.GetID(), pointID)
        self._start(work, lambda found: self._onCompared(*ids, found, states))

    def onSideBySide(self, *_arguments: Any) -> None:
        """Both CTs in the views, each on its nodule."""
        from CLIPLungLib.scene.control_points import point_world_ras
        from CLIPLungLib.scene.prior_point import prior_ct, prior_ras

        (points, pointID), current, mark = self._selection(), self._currentCT(), self._mark()
        place = prior_ras(mark) if mark is not None else None
        prior = prior_ct(mark) if mark is not None else None
        if points is None or not pointID or place is None or prior is None or current is None:
            return
        self.views.show(current, point_world_ras(points, pointID).tolist(), prior, place.tolist())
        self._enable(mark)

    def onBack(self, *_arguments: Any) -> None:
        """The views as they were."""
        self.views.back()
        self._enable(self._mark())

    # Answers of the worker

    def _start(self, work: Callable[[threading.Event], Any], onDone: Callable[[Any], None]) -> None:
        self._share = 0.0
        self.ui.followupProgress.setVisible(True)
        self.ui.followupCancelButton.enabled = True
        self._timer.start()
        self._worker.submit(KEY, work, onDone, self._onError)
        self._fit()

    def _stop(self) -> None:
        self._timer.stop()
        self.ui.followupProgress.setVisible(False)
        self.ui.followupCancelButton.enabled = False

    def _showShare(self) -> None:
        self.ui.followupProgress.setValue(int(100 * self._share))

    def _onError(self, error: Exception) -> None:
        self._stop()
        self._say(self._logic.reason(error))

    def _onProposed(self, pointsID: str, pointID: str, priorID: str, match: Any, ras: Any, states: Any = ()) -> None:
        from CLIPLungLib.scene.control_points import defined_points
        from CLIPLungLib.scene.prior_point import set_prior_point, write_record

        self._stop()
        points, prior = (slicer.mrmlScene.GetNodeByID(nodeID) for nodeID in (pointsID, priorID))
        label = next((p.label for p in defined_points(points) if p.id == pointID), None) if points is not None else None
        if label is None or prior is None or not self._isUnchanged(states):
            return
        mark = set_prior_point(points, pointID, prior, match.point_ras, _("{label} before").format(label=label))
        lines = [
            _("Proposed (correlation {value:.2f}). Look at it, drag the point where it is wrong, then compare.").format(
                value=match.similarity
            ),
            *match.warnings,
        ]
        record = {"lines": [[_("Place in the prior CT"), lines]], "proposed_for_ras_mm": [float(x) for x in ras]}
        write_record(mark, record)
        self.onMarked()
        self.show()

    def _onCompared(self, pointsID: str, pointID: str, found: Any, states: Any = ()) -> None:
        from CLIPLungLib.followup.wording import change_lines
        from CLIPLungLib.scene.prior_point import prior_ct, prior_point, write_record

        self._stop()
        points = slicer.mrmlScene.GetNodeByID(pointsID)
        mark = prior_point(points, pointID) if points is not None else None
        prior = prior_ct(mark) if mark is not None else None
        if prior is None or not self._isUnchanged(states):
            return
        record = {"lines": change_lines(found), "comparison": found.to_dict()}
        write_record(mark, record | {"prior_ct": comparison_state.priorToPlain(prior, found.prior)})
        self.show()

    def _isUnchanged(self, states: Any) -> bool:
        """Whether the CTs are what they were when the work began; it is said where they are not."""
        try:
            comparison_state.requireStates(states)
        except Exception as error:
            self._say(self._logic.reason(error))
            return False
        return True

    # What stands in the section

    def _prior(self) -> Any:
        return self.ui.priorSelector.currentNode()

    def _mark(self) -> Any:
        from CLIPLungLib.scene.prior_point import prior_point, remove_orphans

        remove_orphans(slicer.mrmlScene)
        points, pointID = self._selection()
        return prior_point(points, pointID) if points is not None and pointID else None

    def _takeOver(self, mark: Any) -> None:
        """Prior CT and dates of a nodule that was marked before."""
        from CLIPLungLib.scene.prior_point import prior_ct, read_record

        if mark is None:
            return
        node = prior_ct(mark)
        if node is not None:
            self.ui.priorSelector.setCurrentNode(node)
        kept = (read_record(mark) or {}).get("comparison")
        if isinstance(kept, dict):
            for edit, name in ((self.ui.dateEdit, "current_date"), (self.ui.priorDateEdit, "prior_date")):
                edit.setText(str(kept.get(name) or ""))

    def _enable(self, mark: Any) -> None:
        points, pointID = self._selection()
        isReady = points is not None and bool(pointID) and self._currentCT() is not None
        hasPrior = self._prior() is not None and self._prior() is not self._currentCT()
        self.ui.proposeButton.enabled = isReady and hasPrior
        self.ui.compareButton.enabled = isReady and mark is not None and self._logic.classifier is not None
        self.ui.sideBySideButton.enabled = isReady and mark is not None
        self.ui.backButton.enabled = self.views.isShown

    def _storedText(self, mark: Any) -> str:
        from CLIPLungLib.scene.prior_point import prior_ct, read_record

        if mark is None:
            return _("Select an analyzed nodule, choose an earlier CT of the patient, and let the place be proposed.")
        if prior_ct(mark) is None:
            return _("The prior CT of this nodule is gone. Choose another one.")
        record = read_record(mark)
        lines = record.get("lines") if record else None
        if not isinstance(lines, list):
            return _("The nodule is marked in the prior CT. Look at the place, then compare.")
        text = _linesText(lines)
        if not self._isOutdated(record, mark):
            return text
        words = _("Points, CTs or the answer have moved or changed since: look at the place again, then compare again.")
        return f"<p><b>{escape(words)}</b></p>{text}"

    def _isOutdated(self, record: Any, mark: Any) -> bool:
        points, pointID = self._selection()
        return comparison_state.isOutdated(record, points, pointID, mark)

    def _dates(self) -> tuple[Any, Any]:
        from CLIPLungLib.followup.dates import read_date

        texts = ((self.ui.dateEdit.text, _("the CT")), (self.ui.priorDateEdit.text, _("the prior CT")))
        current, prior = (read_date(text, whose) if text.strip() else None for text, whose in texts)
        return current, prior

    def _followDate(self) -> None:
        """The date that stands there is of the CT that is compared; while there is none, it stays."""
        ct = self._currentCT()
        if ct is not None and ct is not self._dated:
            self._dated = ct
            self._fillDate(self.ui.dateEdit, ct)

    def _fillDate(self, edit: qt.QLineEdit, node: Any) -> None:
        """The date of a volume that comes from the DICOM database; the reader is asked for others."""
        uids = ((node.GetAttribute("DICOM.instanceUIDs") if node is not None else None) or "").split()
        found = ""
        if uids and hasattr(slicer, "dicomDatabase"):
            found = next((t for tag in DATE_TAGS if (t := slicer.dicomDatabase.instanceValue(uids[0], tag))), "")
        edit.setText(f"{found[:4]}-{found[4:6]}-{found[6:]}" if len(found) == 8 else "")

    def _say(self, text: str) -> None:
        self.ui.followupLabel.setText(f"<p>{escape(text)}</p>")
        self._fit()


def _linesText(sections: list[Any]) -> str:
    """Headings with their lines, as the label shows them; what a damaged scene holds else is left out."""
    parts = []
    for section in sections:
        if isinstance(section, (list, tuple)) and len(section) == 2 and isinstance(section[1], (list, tuple)):
            lines = "".join(f"<br>{escape(str(line))}" for line in section[1])
            parts.append(f"<p><b>{escape(str(section[0]))}</b>{lines}</p>")
    return "".join(parts)
