"""The network's answers for prepared views, with what the readers said of the same nodules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.calibration.out_of_distribution import presence_at_click
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.inference.outline_measurement import measure_outline
from CLIPLungLib.lidc.nodule_table import LidcNodule
from CLIPLungLib.lidc.training_patches import PATCH_KINDS, TrainingPatches
from CLIPLungLib.model.image_encoder import outline_probability
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkOutput
from CLIPLungLib.model.prompts import attribute_of_level
from CLIPLungLib.training.batches import evaluation_batches
from CLIPLungLib.training.losses import grouped_log_softmax
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTES


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers for V views.

    Attributes:
        view: (V,) index into the prepared views.
        nodule: (V,) index into the table.
        malignancy_score: (V,) uncalibrated.
        level_shares: (V, M) probability of every attribute level, those of one attribute summing to 1.
        estimated_diameter_mm: (V,) the network's direct estimate.
        measured: (V, 4) longest and short diameter in mm, volume in mm3, and distance in mm between click and centroid, all from the
            outline; NaN where nothing was outlined at the click.
    """

    view: np.ndarray
    nodule: np.ndarray
    malignancy_score: np.ndarray
    level_shares: np.ndarray
    estimated_diameter_mm: np.ndarray
    measured: np.ndarray

    def save(self, file: Path) -> None:
        """Write as .npz without pickled objects, at once."""
        with atomic_write(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **vars(self))

    @classmethod
    def load(cls, file: Path) -> Predictions:
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})

    def attribute_level(self, name: str) -> np.ndarray:
        """(V,) expected code of an attribute, from texts alone."""
        columns, codes = _columns(name)
        return self.level_shares[:, columns] @ codes

    def level_share(self, name: str, code: int) -> np.ndarray:
        """(V,) probability of one code of an attribute, from texts alone."""
        columns, codes = _columns(name)
        return self.level_shares[:, columns][:, codes == code].sum(axis=1)

    def of(self, chosen: np.ndarray) -> Predictions:
        """The answers at these places (indices or mask)."""
        return Predictions(**{name: values[chosen] for name, values in vars(self).items()})


def _columns(name: str) -> tuple[slice, np.ndarray]:
    """Where the levels of an attribute stand among all levels, and their codes."""
    first = 0
    for attribute in ATTRIBUTES:
        if attribute.name == name:
            return slice(first, first + len(attribute.levels)), np.array(attribute.codes)
        first += len(attribute.levels)
    raise InputError(f"There is no attribute '{name}'; the attributes are {list(ATTRIBUTE_NAMES)}.")


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """All answers, one part after the other."""
    return Predictions(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in Predictions.__dataclass_fields__}
    )


def predict_views(
    network: CLIPLungNetwork,
    bank: tuple[Tensor, float],
    views: TrainingPatches,
    nodules: Sequence[LidcNodule],
    chosen: np.ndarray,
    patch: PatchSpec,
    device: torch.device,
) -> Predictions:
    """Run the network, in evaluation mode and single precision, over the views `chosen`.

    Args:
        bank: texts of all attribute levels (M, D), and 1 / tau.
    """
    network = network.to(device).eval()
    levels, scale = bank[0].to(device).float(), bank[1]
    attributes = attribute_of_level().to(device)
    parts = []
    with torch.inference_mode():
        for view, batch in evaluation_batches(views, nodules, chosen, patch):
            output = network(batch.planes.to(device), batch.exists.to(device))
            cosines = (output.image_features.float() @ levels.T).mean(dim=1)
            shares = grouped_log_softmax(scale * cosines, attributes).exp()
            parts.append(
                Predictions(
                    view,
                    views.nodule[view],
                    output.malignancy_score.cpu().numpy(),
                    shares.cpu().numpy(),
                    output.log_diameter.float().exp().cpu().numpy(),
                    _measured(output, len(view), patch),
                )
            )
    return join_predictions(parts)


def features_and_presence(
    network: CLIPLungNetwork,
    views: TrainingPatches,
    nodules: Sequence[LidcNodule],
    chosen: np.ndarray,
    patch: PatchSpec,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What familiarity is judged by: view (V,), pooled feature (V, D), and presence (V,) of the views `chosen`, in one order."""
    network = network.to(device).eval()
    parts = []
    with torch.inference_mode():
        for view, batch in evaluation_batches(views, nodules, chosen, patch):
            output = network(batch.planes.to(device), batch.exists.to(device))
            inside = outline_probability(output.maps, len(view), patch.shape[0]).cpu().numpy()
            found = np.array([presence_at_click(volume, patch.spacing_mm) for volume in inside])
            parts.append((view, output.pooled.float().cpu().numpy(), found))
    view, feature, found = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return view, feature, found


def _measured(output: NetworkOutput, patches: int, patch: PatchSpec) -> np.ndarray:
    measured = np.full((patches, 4), np.nan)
    if output.maps.outline_logits is None:
        return measured
    inside = outline_probability(output.maps, patches, patch.shape[0]).cpu().numpy()
    for row, volume in enumerate(inside):
        found = measure_outline(volume, patch.spacing_mm)
        if found is not None:
            offset_mm = np.linalg.norm(found.center_offset_mm)
            measured[row] = found.diameter_mm, found.short_diameter_mm, found.volume_mm3, offset_mm
    return measured


def views_of(
    views: TrainingPatches, nodules: Sequence[LidcNodule], folds: Sequence[int], kinds: Sequence[int]
) -> np.ndarray:
    """Indices of the views of these kinds whose patients are in these folds."""
    fold = np.array([nodule.fold for nodule in nodules])[views.nodule]
    return np.flatnonzero(np.isin(fold, folds) & np.isin(views.kind, kinds))


def one_view_per_nodule(
    views: TrainingPatches, nodules: Sequence[LidcNodule], chosen: np.ndarray, fewest_readers: int
) -> np.ndarray:
    """The volume of every chosen nodule with enough readers, or its slice where there is no volume."""
    enough = [index for index in chosen if nodules[index].n_readers >= fewest_readers]
    volume, slice_ = (
        np.flatnonzero(np.isin(views.nodule, enough) & (views.kind == PATCH_KINDS.index(kind)))
        for kind in ("volume", "slice")
    )
    return np.concatenate([volume, slice_[~np.isin(views.nodule[slice_], views.nodule[volume])]])
