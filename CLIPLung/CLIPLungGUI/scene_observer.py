"""What happens to the scene as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin


class SceneObserver(VTKObservationMixin):
    """Observes the application's scene until `removeObservers`.

    Args:
        onStartClose: called before the scene is emptied.
        onReplaced: called when it was emptied, or when another was loaded.
        onNodeAdded, onNodeRemoved: called with single nodes, not while many come or go at once.
    """

    def __init__(
        self,
        onStartClose: Callable[[], None],
        onReplaced: Callable[[], None],
        onNodeAdded: Callable[[Any], None],
        onNodeRemoved: Callable[[], None],
    ) -> None:
        VTKObservationMixin.__init__(self)
        self._onStartClose, self._onReplaced = onStartClose, onReplaced
        self._onNodeAdded, self._onNodeRemoved = onNodeAdded, onNodeRemoved
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._closing)
        self.addObserver(scene, scene.EndCloseEvent, self._replaced)
        self.addObserver(scene, scene.EndImportEvent, self._replaced)
        self.addObserver(scene, scene.NodeAddedEvent, self._added)
        self.addObserver(scene, scene.NodeRemovedEvent, self._removed)

    def _closing(self, *_arguments: Any) -> None:
        self._onStartClose()

    def _replaced(self, *_arguments: Any) -> None:
        self._onReplaced()

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def _added(self, _scene: Any, _event: str, node: Any) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self._onNodeAdded(node)

    def _removed(self, *_arguments: Any) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self._onNodeRemoved()
