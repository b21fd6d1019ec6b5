"""The last line of the panel: what goes on, and how much of it is left."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _


class StatusLine:
    """Text, progress bar and cancel button.

    Args:
        ui: the loaded .ui, with statusLabel, progressBar and cancelButton.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui

    def show(self, waiting: int, isLoading: bool, isReady: bool, problem: str) -> None:
        """What is true now.

        Args:
            waiting: number of nodules to be analyzed.
            isLoading: whether the model is.
            isReady: whether there is a model.
            problem: why there is none.
        """
        if isLoading:
            text = _("Loading the model...")
        elif waiting:
            text = _("Analyzing; {count} to go").format(count=waiting)
        else:
            text = _("Ready.") if isReady else problem
        self.ui.statusLabel.text = text
        self.ui.progressBar.setRange(0, 0)
        self.ui.progressBar.visible = isLoading or waiting > 0
        self.ui.cancelButton.visible = waiting > 0
