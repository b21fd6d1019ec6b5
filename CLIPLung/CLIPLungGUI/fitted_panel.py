"""A panel that is always as high as its wrapped texts need."""

from __future__ import annotations

from typing import Any

import qt


class FittedPanel(qt.QWidget):
    """Holds a panel and keeps its smallest height at what it needs for its width.

    Slicer's module area takes a panel's minimum size hint for its height, which knows nothing of where lines break: without
    this, the last rows of a panel that was laid out while hidden are cut off and cannot be reached by scrolling.

    Args:
        panel: a widget whose layout's height depends on its width.
    """

    def __init__(self, panel: Any) -> None:
        qt.QWidget.__init__(self)
        self._panel = panel
        layout = qt.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(panel)
        self._timer = qt.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self.fit)

    def resizeEvent(self, _event: Any) -> None:
        """Lines break elsewhere now. The panel has its new width when the timer fires."""
        self.fitSoon()

    def fitSoon(self, *_arguments: Any) -> None:
        """Texts or sections have changed; their layouts tell each other before the timer fires."""
        self._timer.start()

    def fit(self) -> None:
        """Now."""
        self._panel.setMinimumHeight(0)
        self._panel.setMinimumHeight(self._panel.heightForWidth(self._panel.contentsRect().width()))

    def followSections(self, ui: Any) -> None:
        """Fit whenever one of the panel's sections is opened or closed."""
        for section in (ui.nodulesSection, ui.answerSection, ui.overlaySection, ui.exportSection, ui.advancedSection):
            section.connect("contentsCollapsed(bool)", self.fitSoon)
