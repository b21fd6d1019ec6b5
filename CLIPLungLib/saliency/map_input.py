"""The input of a saliency method: one patch, the two models, one side of the prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from CLIPLungLib.image.patch import Patch, PatchSpec
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkOutput
from CLIPLungLib.model.second_reader import SecondReader
from CLIPLungLib.saliency.map_metrics import lung_hu

SUSPICIOUS, HARMLESS = 1.0, -1.0


@dataclass(frozen=True, eq=False)
class MapInput:
    """One patch, the models that read it, and the side of the prediction to explain.

    Attributes:
        network: in evaluation mode.
        second_reader: None where the network reads alone.
        planes: (1, Z, H, W) grey values.
        exists: (1, Z) bool.
        patch: the same in HU and in space.
        spec: of the patch.
        click_ras: (3,) RAS mm, where the reader clicked.
        side: SUSPICIOUS or HARMLESS.
        average_cell: (C,) what a cell of the average nodule holds, for Grad-CAM; None to compare with nothing.
        draws_outline: whether the network has learned to outline the nodule.
        seed: of the control `random`.
    """

    network: CLIPLungNetwork
    second_reader: SecondReader | None
    planes: Tensor
    exists: Tensor
    patch: Patch
    spec: PatchSpec
    click_ras: np.ndarray
    side: float
    average_cell: Tensor | None
    draws_outline: bool = True
    seed: int = 0

    def target(self, output: NetworkOutput) -> Tensor:
        """(B,) the score to explain: higher means more evidence for `side`."""
        return self.side * output.malignancy_score

    def lung_hu(self) -> float:
        """HU of the lung in this patch."""
        return lung_hu(self.patch)

    def lung(self) -> float:
        """Grey value of the lung in this patch."""
        return float(self.spec.normalise(np.array(self.lung_hu())))


# (Z, Y, X) relevance in 0..1 on the patch's grid.
Method = Callable[[MapInput], np.ndarray]
