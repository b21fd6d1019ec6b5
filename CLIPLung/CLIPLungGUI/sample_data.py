"""A sample for the Sample Data module, drawn on this computer: nothing is downloaded, and it shows no patient."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

# The sample's name is what its button says.
CATEGORY, SAMPLE_NAME, NODE_NAME = "CLIP-Lung", "Synthetic chest (CLIP-Lung)", "Synthetic chest"
# Coarse enough to be drawn in some seconds, fine enough for nodules of 10 mm.
SHAPE, SPACING_MM = (110, 184, 242), (2.5, 1.5, 1.5)
YIELD_S = 0.01
# Middle in RAS mm and radius in mm: free in both lungs, where a click is easy.
NODULES = (((75.0, -10.0, 190.0), 9.0), ((-70.0, -30.0, 170.0), 5.0))
NODULE_HU = 40.0


def registerSampleData() -> None:
    """Called when the application has started; without the Sample Data module there is nothing to do."""
    try:
        import SampleData
    except ImportError:
        return
    icon = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "CLIPLung.png"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE_NAME,
        # Empty lists, as SampleDataSource compares their lengths: there are no files.
        uris=[],
        fileNames=[],
        nodeNames=[],
        thumbnailFileName=str(icon),
        customDownloader=addSyntheticChest,
    )


def addSyntheticChest(_source: Any = None) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """Draw the chest and put it into the scene; takes some seconds, in which the window stays alive."""
    from CLIPLungLib.scene.slice_layers import set_lung_window

    with _progressShown(_("Drawing a synthetic chest...")):
        chest = _inThread(drawChest)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", NODE_NAME)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(chest.ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, chest.hu)
    node.CreateDefaultDisplayNodes()
    set_lung_window(node)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return [node]


def drawChest() -> Any:
    """The chest with its nodules as CTVolume: arrays only, so that a thread may do it."""
    from CLIPLungLib.phantom.chest import synthetic_chest

    chest = synthetic_chest(shape=SHAPE, spacing_mm=SPACING_MM)
    for center_ras, radius_mm in NODULES:
        addBall(chest.hu, chest.ijk_to_ras, np.array(center_ras), radius_mm)
    return chest


def _inThread(work: Callable[[], Any]) -> Any:
    """Do work that touches neither MRML nor Qt while the application goes on answering; its result."""
    done: list[Any] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="CLIPLung sample", daemon=True)
    thread.start()
    while thread.is_alive():
        slicer.app.processEvents()
        # Gives the thread Python's global lock.
        time.sleep(YIELD_S)
    if failed:
        raise failed[0]
    return done[0]


@contextmanager
def _progressShown(text: str) -> Iterator[None]:
    """A dialog that says what is going on and keeps the user from starting something else; none without a window."""
    if slicer.util.mainWindow() is None:
        yield
        return
    import qt

    # Without an end, as nobody knows how far it is.
    dialog = slicer.util.createProgressDialog(labelText=text, windowTitle=CATEGORY, maximum=0)
    dialog.setCancelButton(None)
    dialog.setWindowModality(qt.Qt.ApplicationModal)
    dialog.show()
    try:
        yield
    finally:
        dialog.close()
        dialog.deleteLater()


def addBall(hu: np.ndarray, ijk_to_ras: np.ndarray, center_ras: np.ndarray, radius_mm: float) -> None:
    """Blend a ball of soft tissue into HU values (K, J, I), with the blur of a scanner at its rim."""
    k, j, i = np.ogrid[: hu.shape[0], : hu.shape[1], : hu.shape[2]]
    ras = [ijk_to_ras[a, 0] * i + ijk_to_ras[a, 1] * j + ijk_to_ras[a, 2] * k + ijk_to_ras[a, 3] for a in range(3)]
    distance_mm = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(ras, center_ras, strict=True)))
    share = np.clip(radius_mm + 0.5 - distance_mm, 0.0, 1.0)
    hu[:] = np.maximum(hu, hu + share * (NODULE_HU - hu)).astype(hu.dtype)
