"""What the heat map explains: suspicion, harmlessness or a sign. Other maps than suspicion's are computed when they are first wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from CLIPLungGUI.background_worker import BackgroundWorker
from CLIPLungGUI.logic import CLIPLungLogic
from CLIPLungLib.inference.explain_targets import EXPLAINABLE, HARMLESSNESS, SUSPICION, explains
from CLIPLungLib.vocabulary import ATTRIBUTE_OF_NAME

if TYPE_CHECKING:
    from CLIPLungLib.scene.result_store import StoredResult

PLACE_IN_FORM = 1


class ExplainSelector:
    """A list of names in the section of the heat map, and the map of the chosen one in the slice views.

    Args:
        form: layout of the section, to which the list is added.
        logic: which has the answers and the classifier.
        worker: runs the classifier.
        selection: gives the list of points and the ID of the selected one.
        look: gives the module's parameters, or None while it is closed.
        onChosen: called when another map shall be shown; it must end in `show`.
        onResized: called when the text below the list has changed.
    """

    def __init__(
        self,
        form: qt.QFormLayout,
        logic: CLIPLungLogic,
        worker: BackgroundWorker,
        selection: Callable[[], tuple[Any, str]],
        look: Callable[[], Any],
        onChosen: Callable[[], None],
        onResized: Callable[..., None],
    ) -> None:
        self.logic, self.worker, self.selection, self.look = logic, worker, selection, look
        self.onChosen, self.onResized = onChosen, onResized
        self._problems: dict[tuple[str, str], str] = {}
        self.combo, self.message = qt.QComboBox(), qt.QLabel()
        for name in EXPLAINABLE:
            self.combo.addItem(titleOf(name), name)
        self.combo.setToolTip(
            _("What the heat map explains. Other maps than that of suspicion are computed when they are chosen.")
        )
        self.message.setWordWrap(True)
        self.message.setVisible(False)
        label = qt.QLabel(_("Explain:"))
        label.setBuddy(self.combo)
        form.insertRow(PLACE_IN_FORM, label, self.combo)
        form.insertRow(PLACE_IN_FORM + 1, self.message)
        self.combo.connect("currentIndexChanged(int)", self.onNameChosen)

    @property
    def name(self) -> str:
        """The chosen one of EXPLAINABLE."""
        return self.combo.itemData(self.combo.currentIndex)

    def onNameChosen(self, *_arguments: Any) -> None:
        """Show another map; what failed before is tried again."""
        self._problems.clear()
        self.onChosen()

    def show(self) -> None:
        """The chosen map in front in the slice views, after the nodule's own was put there; computed where it is missing."""
        points, pointID = self.selection()
        stored = self.logic.stored(points, pointID) if points is not None and pointID else None
        if self.name == SUSPICION or stored is None or stored.ct_node is None:
            self._say("")
            return
        from CLIPLungLib.scene.explanation_node import find_explanation

        node = find_explanation(points, pointID, self.name)
        self._putInFront(stored, node)
        if node is not None:
            self._say(foundText(self.name, node))
            return
        key = self._key(points, pointID)
        problem = self._problems.get((key, self.name)) or self._obstacle(points, pointID, stored)
        self._say(problem or _("Computing what speaks for {thing}...").format(thing=explains(self.name)))
        if not problem and key not in self.worker.keys:
            self._ask(points, pointID, stored)

    def _obstacle(self, points: Any, pointID: str, stored: StoredResult) -> str:
        """Why the map cannot be computed; empty when it can."""
        from CLIPLungLib.errors import CLIPLungError
        from CLIPLungLib.scene.result_store import is_stale
        from CLIPLungLib.scene.volume_node import ct_volume

        classifier = self.logic.classifier
        if classifier is None:
            return _("This map needs the model, which is not loaded.")
        if classifier.checkpoint.sha256 != stored.result.model.get("sha256"):
            return _("The answer is of other weights than those loaded. Press 'Analyze again', then choose the map.")
        try:
            ct_volume(stored.ct_node)
            if is_stale(points, pointID):
                return _(
                    "The point has moved since, or the CT has moved or changed. Press 'Analyze again', then choose the map."
                )
        except CLIPLungError as error:
            return str(error)
        return ""

    def _ask(self, points: Any, pointID: str, stored: StoredResult) -> None:
        from CLIPLungLib.scene.volume_node import ct_volume

        ctNode: Any = stored.ct_node
        name, classifier, ras = self.name, self.logic.classifier, stored.result.point_ras
        key, ids = self._key(points, pointID), (points.GetID(), ctNode.GetID())
        volume = ct_volume(ctNode)
        # Held so that the voxels outlive the node, should the scene be closed while the thread reads them.
        voxels = ctNode.GetImageData().GetPointData().GetScalars()

        def work(_cancelled: Any, _voxels: Any = voxels) -> Any:
            return classifier.explain(volume, ras, name)

        self.worker.submit(
            key,
            work,
            lambda found: self._onMap(*ids, pointID, name, ras, found),
            lambda error: self._onRefused(key, name, error),
        )

    def _onMap(self, pointsID: str, ctID: str, pointID: str, name: str, ras: Any, found: Any) -> None:
        """Keep the map, unless its answer is gone, another one or of something else by now."""
        from CLIPLungLib.scene.control_points import defined_point
        from CLIPLungLib.scene.explanation_node import update_explanation
        from CLIPLungLib.scene.result_store import is_stale

        points, ct = slicer.mrmlScene.GetNodeByID(pointsID), slicer.mrmlScene.GetNodeByID(ctID)
        stored = self.logic.stored(points, pointID) if points is not None and ct is not None else None
        if stored is None or stored.ct_node is not ct or tuple(stored.result.point_ras) != tuple(ras):
            return
        try:
            if not is_stale(points, pointID):
                update_explanation(ct, points, defined_point(points, pointID), name, *found)
        except Exception as error:
            self._problems[self._key(points, pointID), name] = self.logic.reason(error)
        self.onChosen()

    def _onRefused(self, key: str, name: str, error: Exception) -> None:
        self._problems[key, name] = self.logic.reason(error)
        self.onChosen()

    def _putInFront(self, stored: StoredResult, node: Any) -> None:
        """The map, or none while it is missing: suspicion's would be taken for it."""
        from CLIPLungLib.scene.color_legend import show_legend
        from CLIPLungLib.scene.heatmap_node import display_of
        from CLIPLungLib.scene.slice_layers import show_overlay

        look = self.look()
        opacity = look.opacity if look is not None and look.showOverlay else 0.0
        if node is not None and look is not None:
            display_of(node).SetLowerThreshold(max(look.threshold, 1e-3))
            show_legend(node, look.showLegend)
        show_overlay(slicer.mrmlScene, stored.ct_node, node, opacity)

    def _say(self, text: str) -> None:
        if self.message.text != text:
            self.message.setText(text)
            self.message.setVisible(bool(text))
            self.onResized()

    def _key(self, points: Any, pointID: str) -> str:
        """One map of a nodule is computed at a time."""
        return f"explain/{self.logic.key(points, pointID)}"


def titleOf(name: str) -> str:
    """An entry of the list."""
    if name == SUSPICION:
        return _("Suspicion")
    return _("Harmlessness") if name == HARMLESSNESS else ATTRIBUTE_OF_NAME[name].title


def foundText(name: str, node: Any) -> str:
    """What a map shows, and that it is empty where it is."""
    from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD

    if slicer.util.arrayFromVolume(node).max() < HEAT_THRESHOLD:
        return _("Empty: nothing here speaks for {thing} more than in the average nodule.").format(thing=explains(name))
    return _("What speaks for {thing}.").format(thing=explains(name))
