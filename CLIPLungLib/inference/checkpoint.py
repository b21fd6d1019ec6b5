"""A trained CLIP-Lung in one safetensors file: weights, text bank, patch size, calibration and provenance. Nothing is pickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CLIPLungLib.atomic_write import atomic_write
from CLIPLungLib.calibration.measurement import MeasurementCalibration
from CLIPLungLib.calibration.ordinal import Calibration
from CLIPLungLib.calibration.out_of_distribution import OutOfDistributionDetector
from CLIPLungLib.calibration.sphericity import SphericityCalibration
from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES

if TYPE_CHECKING:
    from torch import Tensor

    from CLIPLungLib.model.network import CLIPLungNetwork

FORMAT, FORMAT_VERSION, HEADER = "CLIPLung checkpoint", 2, "cliplung"
DEFAULT_CHECKPOINT = Path(__file__).parents[1] / "weights" / "cliplung.safetensors"
# Far above any sensible model, far below what would fill a computer's memory.
LARGEST_FILE_BYTES = 1 << 30
LARGEST_PATCH_VOXELS = 1 << 24


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything inference needs.

    Attributes:
        network: in evaluation mode, on the CPU.
        class_text: (K, D) unit vectors, in the order of attributes.CLASSES.
        level_text: (M, D) unit vectors, levels of all attributes one after the other.
        text_scale: 1 / tau of the comparison with texts.
        patch: what the network sees.
        calibration: from the malignancy score to probabilities.
        class_set_threshold: of conformal.class_set.
        diameter_calibration, volume_calibration: from the outline's size to the readers'.
        sphericity: from texts and outline to the readers'; None for a network that draws no outline.
        familiarity: what the nodules of the training look like; None for a network that draws no outline.
        provenance: training data, folds, text encoder, figures, citation ... (plain text and numbers).
        sha256: of the file; empty before it is saved.
    """

    network: CLIPLungNetwork
    class_text: Tensor
    level_text: Tensor
    text_scale: float
    patch: PatchSpec
    calibration: Calibration
    class_set_threshold: float
    diameter_calibration: MeasurementCalibration
    volume_calibration: MeasurementCalibration
    sphericity: SphericityCalibration | None
    familiarity: OutOfDistributionDetector | None
    provenance: dict[str, Any]
    sha256: str = ""

    @property
    def average_cell(self) -> Tensor | None:
        """(C,) what a cell of the average nodule of the training holds, for Grad-CAM; None where no nodules are known."""
        import torch

        if self.familiarity is None:
            return None
        # The pooled feature begins with the means over the cells; the maxima follow.
        return torch.from_numpy(self.familiarity.space.mean[: self.network.encoder.channels])


def save_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Write the file at once: a reader never sees half of it."""
    import torch
    from safetensors.torch import save_file

    tensors = {f"network.{key}": value.contiguous() for key, value in checkpoint.network.state_dict().items()}
    tensors |= {"text.classes": checkpoint.class_text.contiguous(), "text.levels": checkpoint.level_text.contiguous()}
    if checkpoint.familiarity:
        arrays = checkpoint.familiarity.arrays()
        tensors |= {f"familiarity.{name}": torch.from_numpy(values).contiguous() for name, values in arrays.items()}
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "network": asdict(checkpoint.network.config),
        "patch": asdict(checkpoint.patch),
        "text_scale": checkpoint.text_scale,
        "calibration": checkpoint.calibration.to_dict(),
        "class_set_threshold": checkpoint.class_set_threshold,
        "diameter_calibration": checkpoint.diameter_calibration.to_dict(),
        "volume_calibration": checkpoint.volume_calibration.to_dict(),
        "sphericity": checkpoint.sphericity.to_dict() if checkpoint.sphericity else None,
        "familiarity": checkpoint.familiarity.to_dict() if checkpoint.familiarity else None,
        "vocabulary": _vocabulary(),
        "provenance": checkpoint.provenance,
    }
    with atomic_write(file) as temporary:
        save_file(tensors, temporary, {HEADER: json.dumps(header)})


def load_checkpoint(file: Path | None = None) -> Checkpoint:
    """Read a checkpoint; the bundled one without a file.

    Raises:
        CheckpointError: the file is missing, damaged, hostile, of another version, or not CLIPLung's.
    """
    path = Path(file) if file is not None else DEFAULT_CHECKPOINT
    header, tensors = _read(path)
    _check_header(path, header)
    try:
        network = _build_network(header, tensors)
        return Checkpoint(
            network=network,
            class_text=tensors["text.classes"],
            level_text=tensors["text.levels"],
            text_scale=float(header["text_scale"]),
            patch=PatchSpec(**{name: tuple(value) for name, value in header["patch"].items()}),
            calibration=Calibration(header["calibration"]["slope"], tuple(header["calibration"]["offsets"])),
            class_set_threshold=float(header["class_set_threshold"]),
            diameter_calibration=MeasurementCalibration(**header["diameter_calibration"]),
            volume_calibration=MeasurementCalibration(**header["volume_calibration"]),
            sphericity=SphericityCalibration(**header["sphericity"]) if header["sphericity"] else None,
            familiarity=_build_familiarity(header, tensors),
            provenance=header["provenance"],
            sha256=_sha256(path),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"Weights file {path}: its parts do not fit together ({_first_line(error)}).{_REMEDY}"
        ) from error


_REMEDY = " Use the weights installed with CLIPLung or ones written by 'cliplung train'."


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"Weights file {path} does not exist.{_REMEDY}")
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise CheckpointError(f"Weights file {path} is larger than 1 GiB and no CLIPLung checkpoint.{_REMEDY}")
    try:
        with safe_open(path, framework="pt") as stored:
            header = json.loads((stored.metadata() or {}).get(HEADER, "null"))
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"Weights file {path} cannot be read: it is truncated or not a safetensors file ({_first_line(error)}).{_REMEDY}"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a safetensors file, but not a CLIPLung checkpoint.{_REMEDY}")
    return header, tensors


def _check_header(path: Path, header: dict[str, Any]) -> None:
    if header.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"Weights file {path} has format version {header.get('version')}; this CLIPLung reads version {FORMAT_VERSION}. "
            "Update CLIPLung or use its own weights."
        )
    if header.get("vocabulary") != _vocabulary():
        raise CheckpointError(
            f"Weights file {path} was trained with another vocabulary of classes or attributes.{_REMEDY}"
        )


def _build_network(header: dict[str, Any], tensors: dict[str, Tensor]) -> CLIPLungNetwork:
    import torch

    from CLIPLungLib.model.network import CLIPLungNetwork, NetworkConfig

    config = NetworkConfig.from_dict(header["network"])
    planes, rows, columns = header["patch"]["shape"]
    if (planes, rows, columns) != (
        config.planes,
        config.pixels,
        config.pixels,
    ) or planes * rows * columns > LARGEST_PATCH_VOXELS:
        raise ValueError(
            f"patch of {planes}x{rows}x{columns} voxels for a network of {config.planes}x{config.pixels}x{config.pixels}"
        )
    expected_text = {"text.classes": (len(CLASSES), config.text_dim), "text.levels": (_level_count(), config.text_dim)}
    for name, shape in expected_text.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, expected {shape}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are not numbers")
    network = CLIPLungNetwork(config)
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    return network.eval().requires_grad_(False)


def _build_familiarity(header: dict[str, Any], tensors: dict[str, Tensor]) -> OutOfDistributionDetector | None:
    if header["familiarity"] is None:
        return None
    prefix = "familiarity."
    arrays = {name.removeprefix(prefix): t.numpy() for name, t in tensors.items() if name.startswith(prefix)}
    return OutOfDistributionDetector.from_dict(header["familiarity"], arrays)


def _vocabulary() -> dict[str, Any]:
    return {"classes": list(CLASSES), "attributes": {a.name: list(a.levels) for a in ATTRIBUTES}}


def _level_count() -> int:
    return sum(len(attribute.levels) for attribute in ATTRIBUTES)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
