"""The network's answers for prepared views, with what the readers said of the same nodules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from CLIPLungLib.lidc.prepare import PreparedViews
from CLIPLungLib.lidc.table import LidcNodule
from CLIPLungLib.model.network import CLIPLungNetwork
from CLIPLungLib.patch import PatchSpec
from CLIPLungLib.training.batches import evaluation_batches


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers for V views.

    Attributes:
        view: (V,) index into the prepared views.
        nodule: (V,) index into the table.
        suspicion: (V,) uncalibrated.
        diameter_mm: (V,).
        image_features: (V, T, D) unit vectors.
    """

    view: np.ndarray
    nodule: np.ndarray
    suspicion: np.ndarray
    diameter_mm: np.ndarray
    image_features: np.ndarray


def predict_views(
    network: CLIPLungNetwork,
    views: PreparedViews,
    nodules: Sequence[LidcNodule],
    chosen: np.ndarray,
    patch: PatchSpec,
    device: torch.device,
) -> Predictions:
    """Run the network, in evaluation mode and single precision, over the views `chosen`."""
    network = network.to(device).eval()
    parts = []
    with torch.inference_mode():
        for view, batch in evaluation_batches(views, nodules, chosen, patch):
            output = network(batch.planes.to(device), batch.exists.to(device))
            parts.append(
                (
                    view,
                    output.suspicion.cpu().numpy(),
                    output.log_diameter.exp().cpu().numpy(),
                    output.image_features.cpu().numpy(),
                )
            )
    view, suspicion, diameter_mm, features = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Predictions(view, views.nodule[view], suspicion, diameter_mm, features)


def views_of(
    views: PreparedViews, nodules: Sequence[LidcNodule], folds: Sequence[int], kinds: Sequence[int]
) -> np.ndarray:
    """Indices of the views of these kinds whose patients are in these folds."""
    fold = np.array([nodule.fold for nodule in nodules])[views.nodule]
    return np.flatnonzero(np.isin(fold, folds) & np.isin(views.kind, kinds))
