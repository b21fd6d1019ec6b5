"""The one door for everyone who wants an answer: a CT and a point in, a NoduleResult out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from CLIPLungLib.calibration.conformal import class_set
from CLIPLungLib.calibration.out_of_distribution import presence_at_click
from CLIPLungLib.device import choose_device
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.inference.checkpoint import Checkpoint, load_checkpoint
from CLIPLungLib.inference.outline_measurement import Measurement, measure_outline
from CLIPLungLib.inference.result import HEAT_THRESHOLD, AttributeResult, NoduleMeasurement, NoduleResult
from CLIPLungLib.version import __version__
from CLIPLungLib.vocabulary import ATTRIBUTES

if TYPE_CHECKING:
    import torch

PATCHES_PER_BATCH = 8
# A nodule nearer than this to the middle of its patch is not looked at again.
SMALLEST_MOVE_MM = 0.5
NO_GPU_MEMORY = "The graphics card had too little free memory: computed on the processor, and so from now on."


class NoduleClassifier:
    """A loaded model. Load once, classify many; safe to keep for the life of a process.

    Example:
        classifier = NoduleClassifier.load()
        result = classifier.classify(read_ct("chest.nrrd"), (-56.3, -86.4, -115.9))
        print(result.malignancy_probability)
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self.checkpoint = checkpoint
        self.device: torch.device = choose_device(device)
        self._network = checkpoint.network.to(self.device)

    @classmethod
    def load(cls, path: str | Path | None = None, device: str = "auto") -> NoduleClassifier:
        """Load a checkpoint (the bundled one without a path) onto a device ("auto", "cpu", "cuda", "cuda:N").

        Raises:
            CheckpointError: the file cannot be used.
            InputError: the device is not there.
        """
        return cls(load_checkpoint(Path(path) if path is not None else None), device)

    def classify(self, ct: CTVolume, point_ras: Sequence[float]) -> NoduleResult:
        """The answer for one point (R, A, S in mm).

        Raises:
            InputError: the point or the image is refused, with the reason.
        """
        return self.classify_patches([extract_patch(ct, np.asarray(point_ras), self.checkpoint.patch)], [ct])[0]

    def classify_points(self, ct: CTVolume, points_ras: Sequence[Sequence[float]]) -> list[NoduleResult]:
        """The answers for several points of one CT, computed together. A refused point refuses them all."""
        patches = [extract_patch(ct, np.asarray(point), self.checkpoint.patch) for point in points_ras]
        return self.classify_patches(patches, [ct] * len(patches))

    def classify_patches(self, patches: Sequence[Patch], volumes: Sequence[CTVolume]) -> list[NoduleResult]:
        """The answers for patches already cut out of their volumes.

        Every nodule is looked at twice: at the click, to outline it, and again centred on the outline, so that the answer depends little
        on where within the nodule the click was.
        """
        results = []
        for start in range(0, len(patches), PATCHES_PER_BATCH):
            part = slice(start, start + PATCHES_PER_BATCH)
            results += self._classify_part(patches[part], volumes[part])
        return results

    def _classify_part(self, patches: Sequence[Patch], volumes: Sequence[CTVolume]) -> list[NoduleResult]:
        """One batch; on the CPU, from then on, where the GPU has too little memory."""
        import torch

        clicks = [patch.center_ras for patch in patches]
        try:
            return self._classify_batch(self._centred(patches, volumes), volumes, clicks)
        except torch.cuda.OutOfMemoryError:
            if self.device.type == "cpu":
                raise
        # Outside of the handler, whose traceback would keep the GPU's tensors alive.
        self.device = torch.device("cpu")
        self._network = self._network.to(self.device)
        torch.cuda.empty_cache()
        results = self._classify_batch(self._centred(patches, volumes), volumes, clicks)
        return [replace(result, warnings=(*result.warnings, NO_GPU_MEMORY)) for result in results]

    def malignancy_probabilities(self, patches: Sequence[Patch], volumes: Sequence[CTVolume]) -> np.ndarray:
        """(N,) headline probabilities alone, the same as those of `classify_patches`: for many nodules, without heat maps."""
        import torch

        malignancy_score = []
        for start in range(0, len(patches), PATCHES_PER_BATCH):
            part = slice(start, start + PATCHES_PER_BATCH)
            with torch.inference_mode():
                output = self._network(*self._inputs(self._centred(patches[part], volumes[part])))
            malignancy_score.append(output.malignancy_score.cpu().numpy().astype(np.float64))
        return self.checkpoint.calibration.malignancy_probability(np.concatenate(malignancy_score))

    def _centred(self, patches: Sequence[Patch], volumes: Sequence[CTVolume]) -> list[Patch]:
        """The same patches, moved on the centroid of the nodule that lies at their middle, where there is one."""
        import torch

        from CLIPLungLib.model.image_encoder import outline_probability

        planes, exists = self._inputs(patches)
        with torch.inference_mode():
            maps = self._network.encoder(planes, exists)
            if maps.outline_logits is None:
                return list(patches)
            inside = outline_probability(maps, len(patches), exists.shape[1]).cpu().numpy()
        return [
            self._moved(patch, ct, measure_outline(own, self.checkpoint.patch.spacing_mm, patch.exists))
            for patch, ct, own in zip(patches, volumes, inside, strict=True)
        ]

    def _moved(self, patch: Patch, ct: CTVolume, found: Measurement | None) -> Patch:
        if found is None or np.linalg.norm(found.center_offset_mm) < SMALLEST_MOVE_MM:
            return patch
        try:
            return extract_patch(ct, _offset_ras(patch, found.center_offset_mm), self.checkpoint.patch)
        except InputError:
            # The centroid of a hollow or cut nodule can lie in air or outside; the click was accepted and stands.
            return patch

    def _inputs(self, patches: Sequence[Patch]) -> tuple[torch.Tensor, torch.Tensor]:
        """Grey values (B, Z, H, W) and existing planes (B, Z) on the device."""
        import torch

        planes = np.stack([self.checkpoint.patch.normalise(patch.hu) for patch in patches])
        exists = np.stack([patch.exists for patch in patches])
        return torch.from_numpy(planes).to(self.device), torch.from_numpy(exists).to(self.device)

    def _classify_batch(
        self, patches: Sequence[Patch], volumes: Sequence[CTVolume], clicks_ras: Sequence[np.ndarray]
    ) -> list[NoduleResult]:
        from CLIPLungLib.inference.grad_cam import answer_with_grad_cam
        from CLIPLungLib.model.image_encoder import outline_probability

        planes, exists = self._inputs(patches)
        output, heat = answer_with_grad_cam(self._network, planes, exists, self.checkpoint.average_cell)
        inside = None
        if output.maps.outline_logits is not None:
            inside = outline_probability(output.maps, len(patches), exists.shape[1]).detach().cpu().numpy()
        answers = Answers(
            malignancy_score=output.malignancy_score.detach().cpu().numpy().astype(np.float64),
            image_features=output.image_features.detach().cpu().numpy(),
            diameter_mm=output.log_diameter.detach().exp().cpu().numpy().astype(np.float64),
            feature=output.pooled.detach().cpu().numpy().astype(np.float64),
            inside=inside,
            heat=heat.cpu().numpy(),
        )
        return [
            self._result(patch, ct, click, answers, b)
            for b, (patch, ct, click) in enumerate(zip(patches, volumes, clicks_ras, strict=True))
        ]

    def _result(self, patch: Patch, ct: CTVolume, click_ras: np.ndarray, answers: Answers, index: int) -> NoduleResult:
        checkpoint, heat = self.checkpoint, answers.heat[index]
        malignancy_score = answers.malignancy_score[index : index + 1]
        classes = checkpoint.calibration.class_probabilities(malignancy_score)[0]
        found, unsure = self._found(patch, answers, index)
        measurement = self._calibrated(patch, found) if found else None
        return NoduleResult(
            point_ras=tuple(float(value) for value in click_ras),
            malignancy_probability=float(checkpoint.calibration.malignancy_probability(malignancy_score)[0]),
            class_probabilities=tuple(float(p) for p in classes),
            diameter_mm=measurement.diameter_mm if measurement else float(answers.diameter_mm[index]),
            attributes=read_attributes(answers.image_features[index], checkpoint, found),
            heatmap=heat.astype(np.float32),
            heatmap_to_ras=patch.ijk_to_ras,
            warnings=(*patch.warnings, *unsure, *_heat_warnings(heat)),
            model={"name": "CLIP-Lung", "version": __version__, "sha256": checkpoint.sha256},
            image={"name": ct.name, **ct.source},
            measurement=measurement,
            class_set=class_set(classes, checkpoint.class_set_threshold),
            outline=found.mask if found else None,
        )

    def _found(self, patch: Patch, answers: Answers, index: int) -> tuple[Measurement | None, tuple[str, ...]]:
        """What lies at the click, and what makes the case doubtful."""
        if answers.inside is None:
            return None, ()
        checkpoint, inside = self.checkpoint, answers.inside[index]
        at_click = presence_at_click(inside, checkpoint.patch.spacing_mm)
        warnings = checkpoint.familiarity.warnings(answers.feature[index], at_click) if checkpoint.familiarity else ()
        found = measure_outline(inside, checkpoint.patch.spacing_mm, patch.exists)
        if found is not None and found.is_cut:
            warnings += ("The nodule reaches the end of what was looked at: it may be larger than measured.",)
        return found, warnings

    def _calibrated(self, patch: Patch, found: Measurement) -> NoduleMeasurement:
        """The outline's size as readers would measure it."""
        diameter, volume = self.checkpoint.diameter_calibration, self.checkpoint.volume_calibration
        shape = found.mean_diameter_mm / found.diameter_mm
        return NoduleMeasurement(
            diameter_mm=diameter.value(found.diameter_mm),
            diameter_interval_mm=diameter.interval(found.diameter_mm),
            mean_diameter_mm=diameter.value(found.diameter_mm) * shape,
            volume_mm3=volume.value(found.volume_mm3),
            volume_interval_mm3=volume.interval(found.volume_mm3),
            center_ras=tuple(float(v) for v in _offset_ras(patch, found.center_offset_mm)),
        )


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network says of B patches, as arrays.

    Attributes:
        malignancy_score: (B,) uncalibrated.
        image_features: (B, T, D).
        diameter_mm: (B,) the network's direct estimate.
        feature: (B, 2 C) pooled.
        inside: (B, Z, H, W) probability of the outline; None for networks that draw none.
        heat: (B, Z, H, W).
    """

    malignancy_score: np.ndarray
    image_features: np.ndarray
    diameter_mm: np.ndarray
    feature: np.ndarray
    inside: np.ndarray | None
    heat: np.ndarray


def _offset_ras(patch: Patch, offset_mm: np.ndarray) -> np.ndarray:
    """RAS mm of a place given by its distance from the patch's middle along planes, rows, columns."""
    axes = patch.ijk_to_ras[:3, :3] / np.linalg.norm(patch.ijk_to_ras[:3, :3], axis=0)
    return patch.center_ras + axes @ offset_mm[::-1]


def _heat_warnings(heat: np.ndarray) -> tuple[str, ...]:
    if heat.max() >= HEAT_THRESHOLD:
        return ()
    return ("The heat map is empty: nothing here looks more suspicious than in the average nodule.",)


def read_attributes(
    image: np.ndarray, checkpoint: Checkpoint, found: Measurement | None = None
) -> tuple[AttributeResult, ...]:
    """The attributes of a nodule from the cosines of its T features (T, D) with the text bank, averaged over T.

    Where the nodule was outlined, its measured shape has a say in its sphericity.
    """
    cosines = (image @ checkpoint.level_text.numpy().T).mean(axis=0).astype(np.float64)  # (M,)
    results, first = [], 0
    for attribute in ATTRIBUTES:
        own = cosines[first : first + len(attribute.levels)]
        first += len(attribute.levels)
        shares = softmax(checkpoint.text_scale * own)
        level = float(shares @ attribute.codes)
        if attribute.name == "sphericity" and found is not None and checkpoint.sphericity is not None:
            sizes = found.diameter_mm, found.short_diameter_mm, found.volume_mm3
            level = float(checkpoint.sphericity.level(level, *sizes))
        results.append(
            AttributeResult(
                name=attribute.name,
                similarity=float(own[attribute.sign_level - 1]),
                level=level,
                level_probabilities=tuple(float(share) for share in shares),
                # Between two degrees lies a degree; between two kinds lies nothing.
                text=attribute.levels[(round(level) if attribute.ordinal else int(np.argmax(shares)) + 1) - 1],
            )
        )
    return tuple(results)
