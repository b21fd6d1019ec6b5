"""The one door for everyone who wants an answer: a CT and a point in, a NoduleResult out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from CLIPLungLib.attributes import ATTRIBUTES
from CLIPLungLib.checkpoint import Checkpoint, load_checkpoint
from CLIPLungLib.ct import CTVolume
from CLIPLungLib.device import choose_device
from CLIPLungLib.palette import HEAT_THRESHOLD
from CLIPLungLib.patch import Patch, extract_patch
from CLIPLungLib.result import AttributeResult, NoduleResult
from CLIPLungLib.version import __version__

if TYPE_CHECKING:
    import torch

PATCHES_PER_BATCH = 8


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
        """The answers for patches already cut out of their volumes."""
        results = []
        for start in range(0, len(patches), PATCHES_PER_BATCH):
            part = slice(start, start + PATCHES_PER_BATCH)
            results += self._classify_batch(patches[part], volumes[part])
        return results

    def _classify_batch(self, patches: Sequence[Patch], volumes: Sequence[CTVolume]) -> list[NoduleResult]:
        import torch

        from CLIPLungLib.gradcam import answer_with_grad_cam

        planes = torch.from_numpy(np.stack([self.checkpoint.patch.normalise(patch.hu) for patch in patches])).to(
            self.device
        )
        exists = torch.from_numpy(np.stack([patch.exists for patch in patches])).to(self.device)
        output, heat = answer_with_grad_cam(self._network, planes, exists)
        suspicion = output.suspicion.detach().cpu().numpy()
        image = output.image_features.detach().cpu().numpy()  # (B, T, D)
        diameter_mm = output.log_diameter.detach().exp().cpu().numpy()
        return [
            self._result(patch, ct, float(suspicion[b]), image[b], float(diameter_mm[b]), heat[b].cpu().numpy())
            for b, (patch, ct) in enumerate(zip(patches, volumes, strict=True))
        ]

    def _result(
        self, patch: Patch, ct: CTVolume, suspicion: float, image: np.ndarray, diameter_mm: float, heat: np.ndarray
    ) -> NoduleResult:
        calibration = self.checkpoint.calibration
        classes = calibration.class_probabilities(np.array([suspicion]))[0]
        return NoduleResult(
            point_ras=tuple(float(value) for value in patch.center_ras),
            malignancy_probability=float(calibration.malignancy_probability(np.array([suspicion]))[0]),
            class_probabilities=tuple(float(p) for p in classes),
            diameter_mm=diameter_mm,
            attributes=read_attributes(image, self.checkpoint),
            heatmap=heat.astype(np.float32),
            heatmap_to_ras=patch.ijk_to_ras,
            warnings=(*patch.warnings, *_heat_warnings(heat)),
            model={"name": "CLIP-Lung", "version": __version__, "sha256": self.checkpoint.sha256},
            image={"name": ct.name, **ct.source},
        )


def _heat_warnings(heat: np.ndarray) -> tuple[str, ...]:
    if heat.max() >= HEAT_THRESHOLD:
        return ()
    return ("The heat map is empty: what speaks against suspicion outweighs all that speaks for it.",)


def read_attributes(image: np.ndarray, checkpoint: Checkpoint) -> tuple[AttributeResult, ...]:
    """The attributes of a nodule from the cosines of its T features (T, D) with the text bank, averaged over T."""
    cosines = (image @ checkpoint.level_text.numpy().T).mean(axis=0).astype(np.float64)  # (M,)
    results, first = [], 0
    for attribute in ATTRIBUTES:
        own = cosines[first : first + len(attribute.levels)]
        first += len(attribute.levels)
        shares = softmax(checkpoint.text_scale * own)
        level = float(shares @ attribute.codes)
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
