"""The state of an unfinished run on disk: one safetensors file per run, replaced after every epoch. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import CheckpointError

# Of AdamW.
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}


def save_state(
    file: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, facts: dict[str, Any]
) -> None:
    """Write modules, optimizer moments and plain facts; a reader sees the old file or the new one, never half of one.

    Raises:
        InputError: it cannot be written.
    """
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in _own_state(module).items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in moments.items()}
    stored = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    with writing(file) as temporary:
        # Not `save_file`: it has temporary files of its own, which a kill would leave behind.
        temporary.write_bytes(save(stored, {"facts": json.dumps(facts)}))


def read_facts(file: Path) -> dict[str, Any]:
    """The plain facts of a saved state; its tensors stay on the disk.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            return _facts(stored.metadata())
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError, LookupError) as error:
        raise CheckpointError(f"{file} is no state of a run ({error}). Remove it to start anew.") from error


def _facts(metadata: dict[str, str] | None) -> dict[str, Any]:
    facts = json.loads((metadata or {})["facts"])
    if not isinstance(facts, dict):
        raise ValueError("its facts are no table")
    return facts


def load_state(file: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a saved state back in place and return its facts.

    Raises:
        CheckpointError: the file is damaged, or of a network with other sizes.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            facts = _facts(stored.metadata())
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a mapping
        moments = _moments(tensors, optimizer)
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError, LookupError) as error:
        raise CheckpointError(f"{file} is no state of a run ({error}). Remove it to start anew.") from error
    for name, module in modules.items():
        own = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
        if _shapes(own) != _shapes(_own_state(module)):
            raise CheckpointError(f"{file} belongs to a run with another network. Choose another output folder.")
        module.load_state_dict(own, strict=False)
    state = optimizer.state_dict()
    state["state"] = moments
    optimizer.load_state_dict(state)
    return facts


def _own_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state without the frozen text encoder, which is not the run's own."""
    return {key: value for key, value in module.state_dict().items() if not key.startswith("texts.")}


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}


def _moments(tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """Those of the optimizer's parameters.

    Raises:
        ValueError: moments of other parameters, of other names or shapes.
    """
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            moments.setdefault(int(index), {})[name] = value
            if value.shape not in (torch.Size(), shapes[int(index)]):
                raise ValueError(f"{key} has the shape {tuple(value.shape)}")
    if any(own.keys() != MOMENTS for own in moments.values()):
        raise ValueError("its moments are not those of the optimizer")
    return moments
