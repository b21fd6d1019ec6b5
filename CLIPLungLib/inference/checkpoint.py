"""A trained CLIP-Lung in one safetensors file: weights, text bank, patch size, calibrations and provenance. Nothing is pickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.calibration.calibrations import Calibrations
from CLIPLungLib.calibration.out_of_distribution import FeatureSpace
from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.inference.checkpoint_schema import HEADER_SCHEMA, LOCAL_HEADER_SCHEMA, Schema, check
from CLIPLungLib.inference.second_reader_tensors import PREFIX, build_second_reader, second_reader_tensors
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES, LEVEL_COUNT

if TYPE_CHECKING:
    from torch import Tensor

    from CLIPLungLib.model.network import CLIPLungNetwork
    from CLIPLungLib.model.second_reader import SecondReader

FORMAT, HEADER = "CLIPLung checkpoint", "cliplung"
# Weights calibrated on local cases have a version of their own: a CLIPLung that knows nothing of them must not show an outcome
# as the opinion of LIDC-IDRI's readers.
FORMAT_VERSION, LOCAL_FORMAT_VERSION = 3, 4
# So have weights with a second reader: without it their calibrations mean nothing.
SECOND_READER_VERSION, LOCAL_SECOND_READER_VERSION = 5, 6
SCHEMAS: dict[int, Schema] = {
    FORMAT_VERSION: HEADER_SCHEMA,
    LOCAL_FORMAT_VERSION: LOCAL_HEADER_SCHEMA,
    SECOND_READER_VERSION: HEADER_SCHEMA,
    LOCAL_SECOND_READER_VERSION: LOCAL_HEADER_SCHEMA,
}
DEFAULT_CHECKPOINT = Path(__file__).parents[1] / "weights" / "cliplung.safetensors"
# Far above any sensible model, far below what would fill a computer's memory.
LARGEST_FILE_BYTES = 1 << 30
LARGEST_PATCH_VOXELS = 1 << 24
MOST_TENSORS = 5000
LARGEST_WHITENING = 4096


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything inference needs.

    Attributes:
        network: in evaluation mode, on the CPU.
        class_text: (K, D) unit vectors, in the order of vocabulary.CLASSES.
        level_text: (M, D) unit vectors, levels of all attributes one after the other.
        text_scale: 1 / tau of the comparison with texts.
        patch: what the network sees.
        draws_outline: whether the network has learned to outline the nodule.
        feature_space: of the nodules it has learned from; None for a network that draws no outline.
        calibrations: None for a network of a cross-validation that is not finished.
        provenance: training data, folds, text encoder, figures, citation ... (plain text and numbers).
        second_reader: in evaluation mode, on the CPU; None where the network reads alone.
        sha256: of the file; empty before it is saved.
    """

    network: CLIPLungNetwork
    class_text: Tensor
    level_text: Tensor
    text_scale: float
    patch: PatchSpec
    draws_outline: bool
    feature_space: FeatureSpace | None
    calibrations: Calibrations | None
    provenance: dict[str, Any]
    second_reader: SecondReader | None = None
    sha256: str = ""

    @property
    def average_cell(self) -> Tensor | None:
        """(C,) what a cell of the average nodule of the training holds, for Grad-CAM; None where no nodules are known."""
        import torch

        if self.feature_space is None:
            return None
        # The pooled feature begins with the means over the cells; the maxima follow.
        return torch.from_numpy(self.feature_space.mean[: self.network.encoder.channels])


def save_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Write the file atomically: a reader never sees half of it.

    Raises:
        InputError: it cannot be written.
    """
    import torch
    from safetensors.torch import save

    tensors = {f"network.{key}": value.contiguous() for key, value in checkpoint.network.state_dict().items()}
    tensors |= {"text.classes": checkpoint.class_text.contiguous(), "text.levels": checkpoint.level_text.contiguous()}
    if checkpoint.feature_space is not None:
        for name in ("mean", "whitening"):
            tensors[f"feature_space.{name}"] = torch.from_numpy(getattr(checkpoint.feature_space, name)).contiguous()
    if checkpoint.second_reader is not None:
        tensors |= second_reader_tensors(checkpoint.second_reader)
    header = {
        "format": FORMAT,
        "version": _version(checkpoint),
        "vocabulary": _vocabulary(),
        "network": asdict(checkpoint.network.config),
        "patch": asdict(checkpoint.patch),
        "text_scale": checkpoint.text_scale,
        "draws_outline": checkpoint.draws_outline,
        "calibrations": checkpoint.calibrations.to_dict() if checkpoint.calibrations else None,
        "provenance": checkpoint.provenance,
    }
    with writing(file) as temporary:
        # Not `save_file`: it has temporary files of its own, which a kill would leave behind.
        temporary.write_bytes(save(tensors, {HEADER: json.dumps(header)}))


def _version(checkpoint: Checkpoint) -> int:
    """The oldest format that says all that the checkpoint holds."""
    is_local = checkpoint.calibrations is not None and checkpoint.calibrations.truth.is_local
    if checkpoint.second_reader is None:
        return LOCAL_FORMAT_VERSION if is_local else FORMAT_VERSION
    return LOCAL_SECOND_READER_VERSION if is_local else SECOND_READER_VERSION


def load_checkpoint(file: Path | None = None) -> Checkpoint:
    """Read a checkpoint; the bundled one without a file.

    Raises:
        CheckpointError: the file is missing, damaged, hostile, of another version, or not CLIPLung's.
    """
    path = Path(file) if file is not None else DEFAULT_CHECKPOINT
    try:
        header, tensors = _read(path)
        network, calibrations = _build_network(header, tensors), header["calibrations"]
        return Checkpoint(
            network=network,
            class_text=tensors["text.classes"],
            level_text=tensors["text.levels"],
            text_scale=float(header["text_scale"]),
            patch=_patch_spec(header),
            draws_outline=header["draws_outline"],
            feature_space=_build_feature_space(tensors, 2 * network.encoder.channels),
            calibrations=Calibrations.from_dict(calibrations) if calibrations is not None else None,
            provenance=header["provenance"],
            second_reader=build_second_reader(tensors),
            sha256=_sha256(path),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"Weights file {path}: its parts do not fit together ({_first_line(error)}).{_REMEDY}"
        ) from error


_REMEDY = " Use the weights installed with CLIPLung or ones written by 'cliplung train'."


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The checked header, and the tensors whose names and sizes it asks for."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"Weights file {path} does not exist.{_REMEDY}")
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise CheckpointError(f"Weights file {path} is larger than 1 GiB and no CLIPLung checkpoint.{_REMEDY}")
    try:
        with safe_open(path, framework="pt") as stored:
            header = json.loads((stored.metadata() or {}).get(HEADER, "null"))
            names = list(stored.keys())
            _check_header(path, header, len(names))
            tensors = {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(
            f"Weights file {path} cannot be read: it is truncated or not a safetensors file ({_first_line(error)}).{_REMEDY}"
        ) from error
    return header, tensors


def _check_header(path: Path, header: Any, tensors: int) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a safetensors file, but not a CLIPLung checkpoint.{_REMEDY}")
    version = header.get("version")
    if not isinstance(version, int) or version not in SCHEMAS:
        raise CheckpointError(
            f"Weights file {path} has format version {str(version)[:20]}; this CLIPLung reads versions "
            f"{min(SCHEMAS)} to {max(SCHEMAS)}. Update CLIPLung or use its own weights."
        )
    if header.get("vocabulary") != _vocabulary():
        raise CheckpointError(
            f"Weights file {path} was trained with another vocabulary of classes or attributes.{_REMEDY}"
        )
    if tensors > MOST_TENSORS:
        raise CheckpointError(f"Weights file {path} holds {tensors} tensors and no CLIPLung network.{_REMEDY}")
    if isinstance(header.get("network"), dict):
        # Weights of before there was a choice.
        header["network"].setdefault("ordinal_rating", False)
    check({name: header[name] for name in header if name not in ("format", "version", "vocabulary")}, SCHEMAS[version])


def _patch_spec(header: dict[str, Any]) -> PatchSpec:
    return PatchSpec(**{name: tuple(value) for name, value in header["patch"].items()})


def _build_network(header: dict[str, Any], tensors: dict[str, Tensor]) -> CLIPLungNetwork:
    from CLIPLungLib.model.network import CLIPLungNetwork, NetworkConfig

    config = NetworkConfig.from_dict(header["network"])
    planes, rows, columns = header["patch"]["shape"]
    seen = (config.planes, config.pixels, config.pixels)
    if (planes, rows, columns) != seen or planes * rows * columns > LARGEST_PATCH_VOXELS:
        raise ValueError(f"patch of {planes}x{rows}x{columns} voxels for a network of {'x'.join(map(str, seen))}")
    network = CLIPLungNetwork(config)
    wanted = {f"network.{name}": value for name, value in network.state_dict().items()}
    _check_tensors(tensors, wanted, config.text_dim)
    network.load_state_dict({name.removeprefix("network."): tensors[name] for name in wanted})
    return network.eval().requires_grad_(False)


def _check_tensors(tensors: dict[str, Tensor], wanted: dict[str, Tensor], text_dim: int) -> None:
    """Names, shapes, types and values of everything but the feature space and the second reader."""
    import torch

    shapes = {name: (tuple(value.shape), value.dtype) for name, value in wanted.items()}
    shapes |= {
        "text.classes": ((len(CLASSES), text_dim), torch.float32),
        "text.levels": ((LEVEL_COUNT, text_dim), torch.float32),
    }
    strange = {name for name in tensors if not name.startswith(("feature_space.", PREFIX))} ^ shapes.keys()
    if strange:
        raise ValueError(f"missing or unknown tensors: {', '.join(sorted(strange)[:3])}")
    for name, (shape, dtype) in shapes.items():
        found = tensors[name]
        if (tuple(found.shape), found.dtype) != (shape, dtype):
            raise ValueError(f"{name} is {found.dtype} {tuple(found.shape)}, expected {dtype} {shape}")
        if not torch.isfinite(found).all():
            raise ValueError(f"{name} holds values that are not numbers")


def _build_feature_space(tensors: dict[str, Tensor], width: int) -> FeatureSpace | None:
    parts = {name.removeprefix("feature_space."): t for name, t in tensors.items() if name.startswith("feature_space.")}
    if not parts:
        return None
    if parts.keys() != {"mean", "whitening"}:
        raise ValueError(f"the feature space has the tensors {sorted(parts)[:3]}")
    mean, whitening = (parts[name].numpy() for name in ("mean", "whitening"))
    if mean.shape != (width,) or whitening.ndim != 2 or whitening.shape[1] > LARGEST_WHITENING:
        raise ValueError(f"the feature space of {mean.shape} and {whitening.shape} does not fit a feature of {width}")
    if mean.dtype != "float32" or whitening.dtype != "float32":
        raise ValueError("the feature space must be float32")
    return FeatureSpace(mean, whitening)


def _vocabulary() -> dict[str, Any]:
    return {"classes": list(CLASSES), "attributes": {a.name: list(a.levels) for a in ATTRIBUTES}}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _first_line(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
