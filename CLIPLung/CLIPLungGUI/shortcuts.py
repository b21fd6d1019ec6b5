"""Keys that work in the whole window, as long as the module is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
import slicer


class Shortcuts:
    """Key sequence -> what it does."""

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = dict(actions)
        # Held here: a shortcut that nothing holds dies at once.
        self._shortcuts: list[qt.QShortcut] = []

    def start(self) -> None:
        """Listen; nothing happens without a main window, or when it listens already."""
        window = slicer.util.mainWindow()
        if window is None or self._shortcuts:
            return
        for keys, action in self._actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def stop(self) -> None:
        """Leave the keys to others."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
        self._shortcuts = []
