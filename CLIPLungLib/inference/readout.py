"""What the network says of a patch, as plain numbers before calibration. Training, evaluation and inference all read it here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from CLIPLungLib.calibration.double_reading import (
    joint_diameter_mm,
    joint_estimate_mm,
    joint_level,
    joint_score,
    no_second_readings,
)
from CLIPLungLib.calibration.out_of_distribution import presence_at_click
from CLIPLungLib.image.patch import Patch
from CLIPLungLib.inference.outline_measurement import Measurement, measure_outline
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES, ATTRIBUTE_OF_NAME, level_columns

if TYPE_CHECKING:
    import torch

    from CLIPLungLib.inference.checkpoint import Checkpoint
    from CLIPLungLib.model.image_encoder import FeatureMaps
    from CLIPLungLib.model.network import NetworkOutput
    from CLIPLungLib.model.second_reader import SecondReader


@dataclass(frozen=True, eq=False)
class Reading:
    """The raw answer for one nodule.

    Attributes:
        patch: what the network saw.
        malignancy_score: uncalibrated; rises with the readers' malignancy rating. Of the network and the second reader, where there is one.
        level_cosines: (M,) similarity to the text of every attribute level.
        level_probabilities: (M,) of every attribute level; those of one attribute sum to 1.
        estimated_diameter_mm: direct estimate, without the outline; of both.
        feature: (2 C,) pooled image feature.
        measurement: from the outline at the click; None where there is none.
        presence: of an outline at the click, 0..1; NaN for a network that draws none.
        distance: of the feature from those of known nodules; NaN without a feature space.
        second: (O,) what the second reader says, see SECOND_OUTPUTS; NaN without one.
    """

    patch: Patch
    malignancy_score: float
    level_cosines: np.ndarray
    level_probabilities: np.ndarray
    estimated_diameter_mm: float
    feature: np.ndarray
    measurement: Measurement | None
    presence: float
    distance: float
    second: np.ndarray = field(default_factory=lambda: no_second_readings(1)[0])

    def level(self, attribute: str) -> float:
        """Expected code of an attribute, from the texts and, where there is one, the second reader."""
        of_texts = self.level_probabilities[level_columns(attribute)] @ ATTRIBUTE_OF_NAME[attribute].codes
        return float(joint_level(attribute, of_texts, self.second))

    @property
    def measured_diameter_mm(self) -> float:
        """Uncalibrated, see `joint_diameter_mm`; NaN where nothing was outlined."""
        outline_mm = self.measurement.diameter_mm if self.measurement else np.nan
        return float(joint_diameter_mm(np.array(outline_mm), np.array(self.estimated_diameter_mm), self.second))


def network_inputs(
    patches: Sequence[Patch], checkpoint: Checkpoint, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey values (B, Z, H, W) and existing planes (B, Z) on the device."""
    import torch

    planes = np.stack([checkpoint.patch.normalise(patch.hu) for patch in patches])
    exists = np.stack([patch.exists for patch in patches])
    return torch.from_numpy(planes).to(device), torch.from_numpy(exists).to(device)


def outlines(maps: FeatureMaps, patches: Sequence[Patch], checkpoint: Checkpoint) -> list[np.ndarray | None]:
    """(Z, H, W) outline probability per patch, 0 in planes that do not exist; None where the network draws no outline."""
    from CLIPLungLib.model.image_encoder import outline_probability

    if not checkpoint.draws_outline or maps.outline_logits is None:
        return [None] * len(patches)
    return list(outline_probability(maps, len(patches), checkpoint.patch.shape[0]).detach().cpu().numpy())


def measure(inside: np.ndarray | None, patch: Patch, checkpoint: Checkpoint) -> Measurement | None:
    """The object at the middle of a patch (Z, H, W), in existing planes only; None where there is none."""
    return None if inside is None else measure_outline(inside, checkpoint.patch.spacing_mm, patch.exists)


def level_probabilities(cosines: np.ndarray, text_scale: float) -> np.ndarray:
    """(M,) probability of every attribute level: a softmax over the levels of each attribute."""
    found = np.empty(len(cosines))
    for name in ATTRIBUTE_NAMES:
        columns = level_columns(name)
        exponentials = np.exp(text_scale * (cosines[columns] - cosines[columns].max()))
        found[columns] = exponentials / exponentials.sum()
    return found


def second_readings(
    planes: torch.Tensor, exists: torch.Tensor, checkpoint: Checkpoint, reader: SecondReader | None
) -> np.ndarray:
    """(B, O) what the second reader says of `network_inputs`; NaN without one."""
    import torch

    with torch.inference_mode():
        found = None if reader is None else reader(planes, exists, checkpoint.patch.spacing_mm[1])
    return second_numbers(found, len(planes))


def second_numbers(estimates: torch.Tensor | None, count: int) -> np.ndarray:
    """(B, O) float64 of the second reader's estimates; NaN where there is none."""
    return no_second_readings(count) if estimates is None else estimates.cpu().numpy().astype(np.float64)


def readings(
    output: NetworkOutput, patches: Sequence[Patch], checkpoint: Checkpoint, second: np.ndarray
) -> list[Reading]:
    """The network's output for these patches, and what the second reader says (B, O), as plain numbers."""
    score, diameter, features, image = (
        values.detach().float().cpu().numpy()
        for values in (output.malignancy_score, output.log_diameter.exp(), output.pooled, output.image_features)
    )
    score, diameter = joint_score(score, second), joint_estimate_mm(diameter, second)
    cosines = (image @ checkpoint.level_text.numpy().T).mean(axis=1).astype(np.float64)  # (B, M)
    space, spacing_mm = checkpoint.feature_space, checkpoint.patch.spacing_mm
    distances = space.distance(features) if space is not None else np.full(len(patches), np.nan)
    return [
        Reading(
            patch=patch,
            malignancy_score=float(score[b]),
            level_cosines=cosines[b],
            level_probabilities=level_probabilities(cosines[b], checkpoint.text_scale),
            estimated_diameter_mm=float(diameter[b]),
            feature=features[b],
            measurement=measure(inside, patch, checkpoint),
            presence=presence_at_click(inside, spacing_mm) if inside is not None else float("nan"),
            distance=float(distances[b]),
            second=second[b],
        )
        for b, (patch, inside) in enumerate(zip(patches, outlines(output.maps, patches, checkpoint), strict=True))
    ]
