"""The one door for everyone who wants an answer: a CT and a point in, a NoduleResult out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from CLIPLungLib.device import choose_device, is_device_fault
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import Patch, extract_patch
from CLIPLungLib.inference.calibrated_result import nodule_result, offset_ras, require_calibrations
from CLIPLungLib.inference.checkpoint import Checkpoint, load_checkpoint
from CLIPLungLib.inference.explain_targets import HARMLESSNESS, SUSPICION, explain_targets, require_explainable
from CLIPLungLib.inference.outline_measurement import Measurement
from CLIPLungLib.inference.readout import (
    Reading,
    measure,
    network_inputs,
    outlines,
    readings,
    second_numbers,
    second_readings,
)
from CLIPLungLib.inference.result import NoduleResult

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)
PATCHES_PER_BATCH = 8
# A nodule nearer than this to the middle of its patch is not looked at again.
SMALLEST_MOVE_MM = 0.5
ON_PROCESSOR = "The graphics card could not be used ({reason}): computed on the processor, and so from now on."

Found = TypeVar("Found")


class NoduleClassifier:
    """A loaded model. Load once, classify many; safe to keep for the life of a process.

    A process that is forked after the model was used hangs in torch: start workers with the method `spawn`.

    Example:
        classifier = NoduleClassifier.load()
        result = classifier.classify(read_ct("chest.nrrd"), (-56.3, -86.4, -115.9))
        print(result.malignancy_probability)
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self.checkpoint = checkpoint
        self.device: torch.device = choose_device(device)
        self._fallback_warning = ""
        self._network, self._second_reader = checkpoint.network, checkpoint.second_reader
        self._on_device(lambda: self._move(self.device))

    @classmethod
    def load(cls, path: str | Path | None = None, device: str = "auto") -> NoduleClassifier:
        """Load a checkpoint (the bundled one without a path) onto a device ("auto", "cpu", "cuda", "cuda:N", "mps").

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

    def classify_patches(
        self, patches: Sequence[Patch], volumes: Sequence[CTVolume], heatmaps: bool = True
    ) -> list[NoduleResult]:
        """The answers for patches already cut out of their volumes; without `heatmaps` their heat maps are empty arrays.

        Every nodule is looked at twice: at the click, to outline it, and again centred on the outline, so that the answer depends little
        on where within the nodule the click was.
        """
        require_calibrations(self.checkpoint)
        results = []
        read = self._read_with_heat if heatmaps else self._read
        for reading, heat, click, ct in self._look(patches, volumes, read):
            results.append(nodule_result(reading, heat, ct, click.center_ras, self.checkpoint))
        # Said once, with the answers it concerns first.
        warning, self._fallback_warning = self._fallback_warning, ""
        return [replace(r, warnings=(*r.warnings, warning)) for r in results] if warning else results

    def read_patches(self, patches: Sequence[Patch], volumes: Sequence[CTVolume]) -> list[Reading]:
        """The raw answers of `classify_patches`: the same two looks, without heat maps and calibrations."""
        return [reading for reading, *_ in self._look(patches, volumes, self._read)]

    def read_patches_with_heat(
        self, patches: Sequence[Patch], volumes: Sequence[CTVolume]
    ) -> list[tuple[Reading, np.ndarray]]:
        """As `read_patches`, each with its heat map (Z, Y, X) on the grid of the reading's patch."""
        return [(reading, heat) for reading, heat, *_ in self._look(patches, volumes, self._read_with_heat)]

    def explain(self, ct: CTVolume, point_ras: Sequence[float], name: str) -> tuple[np.ndarray, np.ndarray]:
        """Where the network found what speaks for a name of `explain_targets.EXPLAINABLE`, in the nodule at a point (R, A, S in mm).

        Returns:
            (Z, Y, X) float32 heat map in 0..1, and its (4, 4) IJK-to-RAS, on the grid of the answer's own heat map.

        Raises:
            InputError: nothing of that name can be explained, or the point or the image is refused.
        """
        read = partial(self._read_with_heat, name=require_explainable(name))
        patch = extract_patch(ct, np.asarray(point_ras), self.checkpoint.patch)
        ((reading, heat, *_),) = self._look([patch], [ct], read)
        return heat.astype(np.float32), reading.patch.ijk_to_ras

    def _look(
        self,
        patches: Sequence[Patch],
        volumes: Sequence[CTVolume],
        read: Callable[[Sequence[Patch]], list[tuple[Reading, np.ndarray]]],
    ) -> list[tuple[Reading, np.ndarray, Patch, CTVolume]]:
        """Batch by batch: centre the patches, read them. Each with the patch of the click and its volume."""

        def answers(clicks: Sequence[Patch], cts: Sequence[CTVolume]) -> list[tuple[Reading, np.ndarray]]:
            return read(self._centred(clicks, cts))

        found = []
        for start in range(0, len(patches), PATCHES_PER_BATCH):
            batch = slice(start, start + PATCHES_PER_BATCH)
            clicks, cts = patches[batch], volumes[batch]
            read_batch = self._on_device(partial(answers, clicks, cts))
            found += [(*one, click, ct) for one, click, ct in zip(read_batch, clicks, cts, strict=True)]
        return found

    def _centred(self, patches: Sequence[Patch], volumes: Sequence[CTVolume]) -> list[Patch]:
        """The same patches, moved on the centroid of the nodule that lies at their middle, where there is one."""
        import torch

        if not self.checkpoint.draws_outline:
            return list(patches)
        with torch.inference_mode():
            maps = self._network.encoder(*network_inputs(patches, self.checkpoint, self.device))
        return [
            self._moved(patch, ct, measure(inside, patch, self.checkpoint))
            for patch, ct, inside in zip(patches, volumes, outlines(maps, patches, self.checkpoint), strict=True)
        ]

    def _moved(self, patch: Patch, ct: CTVolume, found: Measurement | None) -> Patch:
        if found is None or np.linalg.norm(found.center_offset_mm) < SMALLEST_MOVE_MM:
            return patch
        try:
            return extract_patch(ct, offset_ras(patch, found.center_offset_mm), self.checkpoint.patch)
        except InputError:
            # The centroid of a hollow or cut nodule can lie in air or outside; the click was accepted and stands.
            return patch

    def _read(self, patches: Sequence[Patch]) -> list[tuple[Reading, np.ndarray]]:
        import torch

        with torch.inference_mode():
            planes, exists = network_inputs(patches, self.checkpoint, self.device)
            output = self._network(planes, exists)
        second = second_readings(planes, exists, self.checkpoint, self._second_reader)
        return [(reading, np.empty(0)) for reading in readings(output, patches, self.checkpoint, second)]

    def _read_with_heat(self, patches: Sequence[Patch], name: str = SUSPICION) -> list[tuple[Reading, np.ndarray]]:
        from CLIPLungLib.inference.joint_heat import answer_with_joint_heat

        checkpoint = self.checkpoint
        planes, exists = network_inputs(patches, checkpoint, self.device)
        found = answer_with_joint_heat(
            (self._network, self._second_reader),
            planes,
            exists,
            checkpoint.patch.spacing_mm[1],
            checkpoint.average_cell,
            (name, explain_targets(checkpoint.level_text, checkpoint.text_scale)[name]),
            # Spicules and vessels of a sign lie beyond the outline.
            within_outline=checkpoint.draws_outline and name in (SUSPICION, HARMLESSNESS),
        )
        second = second_numbers(found.second, len(patches))
        return list(zip(readings(found.output, patches, checkpoint, second), found.heat.cpu().numpy(), strict=True))

    def _move(self, device: torch.device) -> None:
        network, second = self.checkpoint.network, self.checkpoint.second_reader
        is_there = all(tensor.device.type == device.type == "cpu" for tensor in network.parameters())
        self._network = network if is_there else network.to(device)
        self._second_reader = second if is_there or second is None else second.to(device)

    def _on_device(self, action: Callable[[], Found]) -> Found:
        """What the action gives; on the processor, from then on, where the graphics card fails."""
        import torch

        try:
            return action()
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_device_fault(error):
                raise
            reason = str(error).strip().splitlines()[0][:120]
        # Outside of the handler, whose traceback would keep the card's tensors alive.
        logger.warning("falling back to the processor: %s", reason)
        self.device, self._fallback_warning = torch.device("cpu"), ON_PROCESSOR.format(reason=reason)
        self._move(self.device)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return action()
