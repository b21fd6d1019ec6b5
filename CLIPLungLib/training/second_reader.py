"""Fitting of the second reader: features of the middle plane of every patch, then kernel ridge regression in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.device import choose_device
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.model.second_outputs import GRADED_SIGNS, SECOND_OUTPUTS
from CLIPLungLib.model.second_reader import FEATURES, FrozenFeatures, Moves, SecondReader, kernel
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.pretrained import load_trunk, weights_file

# Weight of each kind of patch. A slice shows less than a scan; every volume is inserted into several hosts.
KIND_WEIGHTS = {"volume": 1.0, "cube": 1.0, "crop": 1.0, "slice": 0.5, "inserted": 0.5}
# Every patch as it is, and once rotated, flipped and shifted by as much as the centre of an outline may be off.
COPIES, LARGEST_SHIFT_MM = 2, 1.0
CENTRES, RIDGE = 800, 0.5
PLANES_AT_ONCE = 64


class SecondReaderFits:
    """Second readers for several choices of folds. The features are extracted once, when the first reader is fitted.

    With `init`, its second reader is kept: a table of own cases has too few nodules to fit another.

    Args:
        config: says whether there is a second reader, and how patches are cut.
        patches: the prepared data.
        nodules: all rows of the table.
        device: where to compute.
        init: checkpoint that the training starts from.

    Raises:
        MissingPackageError: the package with the trunk's weights is needed and not installed.
    """

    def __init__(
        self,
        config: TrainConfig,
        patches: TrainingPatches,
        nodules: Sequence[Nodule],
        device: str = "auto",
        init: Checkpoint | None = None,
    ) -> None:
        self._config, self._patches, self._nodules, self._device = config, patches, nodules, device
        self._init = init
        self._extracted: PatchFeatures | None = None
        if self.is_fitted:
            weights_file()

    @property
    def is_fitted(self) -> bool:
        """Whether second readers are fitted here."""
        return self._config.second_reader and self._init is None

    def of(self, folds: Sequence[int]) -> SecondReader | None:
        """The second reader fitted on these folds, or that of `init`; None without one."""
        if not self.is_fitted:
            return self._init.second_reader if self._init is not None else None
        if self._extracted is None:
            self._extracted = extract_features(self._patches, self._config.patch, self._device, seed=self._config.seed)
        return fit_second_reader(self._extracted, self._nodules, folds, self._config.seed)


@dataclass(frozen=True, eq=False)
class PatchFeatures:
    """Features of the N patches that show a nodule, each in COPIES augmented copies.

    Attributes:
        features: (COPIES, N, FEATURES) float32; the first copy is not augmented.
        nodule, kind: (N,) as in TrainingPatches.
        trunk: the frozen network that extracted them.
    """

    features: np.ndarray
    nodule: np.ndarray
    kind: np.ndarray
    trunk: FrozenFeatures


def extract_features(
    patches: TrainingPatches,
    spec: PatchSpec,
    device: str = "auto",
    seed: int = 0,
) -> PatchFeatures:
    """Run the frozen trunk once over the middle plane of every patch; the fits of all folds share the result.

    Args:
        patches: the prepared data.
        spec: of the patches.
        device: where to compute ("auto", "cpu", "cuda" ...).
        seed: of the augmentation.

    Raises:
        MissingPackageError: the package with the trunk's weights is not installed.
        CheckpointError: its weights are not the expected ones.
    """
    where = choose_device(device)
    trunk = FrozenFeatures().eval().requires_grad_(False)
    load_trunk(trunk.trunk)
    # A checkpoint keeps it in half precision: what is fitted must see the same.
    trunk.half().float().to(where, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch lacks this one
    shown = np.flatnonzero(np.isin(patches.kind, [PATCH_KINDS.index(kind) for kind in KIND_WEIGHTS]))
    planes = np.array([_middle_plane(patches, int(patch)) for patch in shown])
    features = np.empty((COPIES, len(shown), FEATURES), np.float32)
    moves, pixel_mm = _random_moves(len(shown), seed), spec.spacing_mm[1]
    for start in range(0, len(shown), PLANES_AT_ONCE):
        part = slice(start, start + PLANES_AT_ONCE)
        grey = torch.from_numpy(spec.normalise(patches.hu[planes[part]].astype(np.float32))).to(where)
        moved = Moves(*(values[part].to(where) for values in (moves.turn, moves.flip, moves.shift_mm)))
        with torch.inference_mode():
            features[0, part] = trunk(grey, pixel_mm).cpu().numpy()
            features[1, part] = trunk(grey, pixel_mm, moved).cpu().numpy()
    return PatchFeatures(features, patches.nodule[shown], patches.kind[shown], trunk)


def fit_second_reader(
    extracted: PatchFeatures, nodules: Sequence[Nodule], folds: Sequence[int], seed: int = 0
) -> SecondReader:
    """Fit a second reader on the nodules of some folds.

    Args:
        extracted: by `extract_features`.
        nodules: all rows of the table.
        folds: to fit on.
        seed: of the choice of centres.
    """
    learned = np.isin([nodules[index].fold for index in extracted.nodule], folds)
    rows = [nodules[index] for index in extracted.nodule[learned]]
    target = np.tile(_reader_values(rows), (COPIES, 1))
    weight = np.tile(_weights(rows, extracted.kind[learned]) / COPIES, COPIES)
    features = torch.from_numpy(extracted.features[:, learned].reshape(-1, FEATURES))
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(features), min(CENTRES, len(features)), replace=False, p=weight / weight.sum())
    reader = SecondReader(len(chosen))
    reader.features.load_state_dict(extracted.trunk.cpu().state_dict())
    reader.mean.copy_(features.mean(dim=0))
    reader.deviation.copy_(features.std(dim=0) + 1e-6)
    standardised = reader.standardised(features)
    # Stored in half precision.
    reader.centres.copy_(standardised[chosen].half().float())
    similar = kernel(standardised, reader.centres).double().numpy()
    among = kernel(reader.centres, reader.centres).double().numpy()
    for place in range(len(SECOND_OUTPUTS)):
        known = np.isfinite(target[:, place])
        if known.any():
            coefficients, offset = _ridge(similar[known], among, target[known, place], weight[known])
            reader.coefficients[:, place] = torch.from_numpy(coefficients)
            reader.offset[place], reader.is_told[place] = offset, 1.0
    return reader


def _ridge(similar: np.ndarray, among: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (M,) and offset of weighted kernel ridge regression.

    Args:
        similar: (N, M) kernel of the nodules with the centres.
        among: (M, M) of the centres with each other.
        target, weight: (N,).
    """
    offset = float(np.average(target, weights=weight))
    normal = similar.T @ (similar * weight[:, None]) + RIDGE * among
    # Centres that are nearly alike make it nearly singular.
    normal[np.diag_indices_from(normal)] += 1e-6 * np.trace(normal) / len(normal)
    return np.linalg.solve(normal, similar.T @ ((target - offset) * weight)), offset


def _reader_values(rows: Sequence[Nodule]) -> np.ndarray:
    """(N, O) the readers' values of SECOND_OUTPUTS; NaN where nobody gave one."""
    signs = [[row.mean_rating(name) for name in GRADED_SIGNS] for row in rows]
    sizes = [[row.malignancy, np.log(row.diameter_mm)] for row in rows]
    return np.concatenate([np.array(sizes), np.array(signs)], axis=1).astype(np.float64)


def _weights(rows: Sequence[Nodule], kind: np.ndarray) -> np.ndarray:
    """(N,) square root of the number of readers, times the weight of the kind of patch."""
    trust = np.sqrt([max(1, row.n_readers) for row in rows])
    of_kind = np.array([KIND_WEIGHTS[PATCH_KINDS[index]] for index in kind])
    return cast(np.ndarray, trust * of_kind)


def _middle_plane(patches: TrainingPatches, patch: int) -> int:
    planes = patches.planes(patch)
    return int(planes.start + np.abs(patches.height_mm[planes]).argmin())


def _random_moves(count: int, seed: int) -> Moves:
    rng = np.random.default_rng(seed)
    turn, flip = rng.uniform(0, 2 * np.pi, count), rng.choice([-1.0, 1.0], count)
    shift_mm = rng.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, (count, 2))
    return Moves(*(torch.from_numpy(values.astype(np.float32)) for values in (turn, flip, shift_mm)))
