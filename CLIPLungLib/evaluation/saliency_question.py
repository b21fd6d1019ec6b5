"""The input of a saliency method: one patch, its readers, one side of the prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from CLIPLungLib.evaluation.map_measures import lung_hu
from CLIPLungLib.image.patch import Patch, PatchSpec
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkOutput
from CLIPLungLib.model.second_reader import SecondReader

SUSPICIOUS, HARMLESS = 1.0, -1.0


@dataclass(frozen=True, eq=False)
class Question:
    """One patch and what is asked of it.

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
        """(B,) what speaks for the side asked for."""
        return self.side * output.malignancy_score

    def lung_hu(self) -> float:
        """HU of this patch's lung."""
        return lung_hu(self.patch)

    def lung(self) -> float:
        """Its grey value."""
        return float(self.spec.normalise(np.array(self.lung_hu())))


# (Z, Y, X) relevance in 0..1 on the patch's grid.
Method = Callable[[Question], np.ndarray]
