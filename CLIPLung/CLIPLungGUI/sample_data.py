"""A sample for the Sample Data module, drawn on this computer: nothing is downloaded, and it shows no patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

CATEGORY, SAMPLE_NAME, NODE_NAME = "CLIP-Lung", "CLIPLungSyntheticChest", "Synthetic chest"
SHAPE, SPACING_MM = (110, 220, 290), (2.5, 1.25, 1.25)
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
    """Draw the chest and put it into the scene; takes some seconds."""
    from CLIPLungLib.phantom.chest import synthetic_chest
    from CLIPLungLib.scene.slice_layers import set_lung_window

    with slicer.util.WaitCursor():
        slicer.util.showStatusMessage(_("Drawing a synthetic chest..."))
        chest = synthetic_chest(shape=SHAPE, spacing_mm=SPACING_MM)
        for center_ras, radius_mm in NODULES:
            addBall(chest.hu, chest.ijk_to_ras, np.array(center_ras), radius_mm)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", NODE_NAME)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(chest.ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, chest.hu)
    node.CreateDefaultDisplayNodes()
    set_lung_window(node)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return [node]


def addBall(hu: np.ndarray, ijk_to_ras: np.ndarray, center_ras: np.ndarray, radius_mm: float) -> None:
    """Blend a ball of soft tissue into HU values (K, J, I), with the blur of a scanner at its rim."""
    k, j, i = np.indices(hu.shape, sparse=True)
    ras = [ijk_to_ras[a, 0] * i + ijk_to_ras[a, 1] * j + ijk_to_ras[a, 2] * k + ijk_to_ras[a, 3] for a in range(3)]
    distance_mm = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(ras, center_ras, strict=True)))
    share = np.clip(radius_mm + 0.5 - distance_mm, 0.0, 1.0)
    hu[:] = np.maximum(hu, hu + share * (NODULE_HU - hu)).astype(hu.dtype)
