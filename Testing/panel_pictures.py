"""The panel as PNG in every state, on Qt stand-ins: python Testing/panel_pictures.py FOLDER

Widgets are PySide6's and stand-ins for CTK's, so colours and spacing differ a little from 3D Slicer's; texts and order do not.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from helpers import slicer_scene

slicer = slicer_scene.slicer
from standins.qt.application import Application

WIDTH = 420


@contextmanager
def opened(application: Application, missing: tuple[str, ...] = ()) -> Iterator[object]:
    """The module, entered; with packages `missing` as on first use."""
    widget = application.open_module()
    from CLIPLungGUI import installer

    found = installer.missingPackages
    installer.missingPackages = lambda: list(missing)
    widget.enter()
    widget.worker.wait(120, slicer.app.processEvents)
    try:
        yield widget
    finally:
        installer.missingPackages = found


def place(widget: object, *points: tuple[tuple[float, float, float], str]) -> None:
    """Points as clicked, with their answers."""
    if widget._parameterNode.points is None:
        widget._parameterNode.points = widget.logic.makePoints()
    for ras, label in points:
        widget._parameterNode.points.AddControlPointWorld(list(ras), label)
        widget.worker.wait(120, slicer.app.processEvents)


def save(widget: object, file: Path, part: object | None = None) -> None:
    """The panel, or a part of it alone, at the width it has beside the views."""
    stretch(widget)
    (part or widget.parent).grab().save(str(file))
    print(f"written: {file}")


def stretch(widget: object) -> None:
    """Give the panel its width, and the height that all it holds needs."""
    parent = widget.parent
    parent.resize(WIDTH, 1200)
    parent.show()
    for _ in range(5):
        slicer.app.processEvents()
    height = parent.layout().totalHeightForWidth(WIDTH)
    parent.resize(WIDTH, max(height, parent.sizeHint().height()))
    for _ in range(5):
        slicer.app.processEvents()


@cache
def chest() -> object:
    """The sample CT, drawn once for all pictures."""
    from CLIPLungGUI import sample_data

    return sample_data.drawChest()


def show_chest(widget: object) -> None:
    """The sample CT in the scene."""
    from CLIPLungGUI import sample_data

    del widget
    chest()
    # Each application imports the module's files anew.
    sample_data.drawChest = chest
    sample_data.addSyntheticChest()


def nodules() -> list[tuple[tuple[float, float, float], str]]:
    """The sample's nodules."""
    from CLIPLungGUI.sample_data import NODULES

    return [(center, f"N-{index + 1}") for index, (center, _radius) in enumerate(NODULES)]


def states() -> dict[str, Callable[[object], None]]:
    """Name of the picture -> what to do in an opened panel."""

    def one(widget: object) -> None:
        show_chest(widget)
        place(widget, nodules()[0])

    def many(widget: object) -> None:
        show_chest(widget)
        place(widget, *nodules())

    def stale(widget: object) -> None:
        many(widget)
        x, y, z = nodules()[1][0]
        widget._parameterNode.points.SetNthControlPointPositionWorld(1, x + 4, y, z)

    def error(widget: object) -> None:
        one(widget)
        place(widget, ((0.0, 0.0, 900.0), "N-2"))
        widget.selectNodule(widget._parameterNode.points.GetNthControlPointID(1))

    def guidelines(widget: object) -> None:
        one(widget)
        widget.onGuidelines()
        for name, value in (("context", "screening"), ("seen", "baseline"), ("sex", "female")):
            editor = widget.guidelines._editors[name]
            editor.setCurrentIndex(editor.findData(value))
        widget.onGuidelines()

    return {
        "no_ct": lambda widget: None,
        "empty": show_chest,
        "one": one,
        "many": many,
        "stale": stale,
        "error": error,
        "guidelines": guidelines,
    }


def main(folder: Path) -> None:
    """All pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for name, prepare in states().items():
            application = Application(Path(temporary) / f"{name}.ini")
            with opened(application) as widget:
                prepare(widget)
                save(widget, folder / f"{name}.png")
                if name == "many":
                    darken(application)
                    widget.refresh()
                    save(widget, folder / "dark.png")
                    application.qt.setPalette(application.qt.style().standardPalette())
            application.close()
        application = Application(Path(temporary) / "no_torch.ini")
        with opened(application, ("torch", "safetensors")) as widget:
            show_chest(widget)
            save(widget, folder / "no_torch.png")
        application.close()


def darken(application: Application) -> None:
    """Colours as in Slicer's dark style."""
    from PySide6.QtGui import QColor, QPalette

    palette = QPalette(QColor(50, 50, 50))
    palette.setColor(QPalette.Base, QColor(35, 35, 35))
    palette.setColor(QPalette.Text, QColor(230, 230, 230))
    palette.setColor(QPalette.WindowText, QColor(230, 230, 230))
    palette.setColor(QPalette.ButtonText, QColor(230, 230, 230))
    application.qt.setPalette(palette)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
