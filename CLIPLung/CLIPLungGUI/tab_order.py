"""The order in which the tabulator reaches what the panel shows: from top to bottom, whenever a part was put into it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import qt


def orderTabs(parts: Sequence[Any]) -> None:
    """Let the tabulator go through widgets, each with what it holds, in this order; what is not named stays where it is."""
    for first, second in pairwise([widget for part in parts for widget in _reachable(part)]):
        qt.QWidget.setTabOrder(first, second)


def _reachable(widget: Any) -> list[Any]:
    """Widgets that take the focus; those within such a one, as the line of a spin box, go with it. Sections hold others."""
    takesFocus = bool(widget.focusPolicy)
    if takesFocus and not hasattr(widget, "collapsed"):
        return [widget]
    inner = [found for child in widget.children() if child.isWidgetType() for found in _reachable(child)]
    return [widget, *inner] if takesFocus else inner
