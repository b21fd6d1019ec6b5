"""Cascading weight randomisation, from the output to the input (Adebayo et al., NeurIPS 2018).

A map that does not change depends on the image alone, not on the trained weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy

import torch

from CLIPLungLib.model.network import CLIPLungNetwork
from CLIPLungLib.model.second_reader import FrozenFeatures, SecondReader

HEADS, GATE_AND_OUTLINE, SECOND_READER = "heads", "gate and outline", "second reader"
# A stage of a trunk, another part of a trunk, or a part of the encoder.
LAYER = re.compile(r"encoder\.((?:trunk\.)?stages\.\d+|trunk\.\w+|\w+)")


def layers(network: CLIPLungNetwork) -> dict[str, list[str]]:
    """Layer -> names of its tensors, from the output to the input."""
    found: dict[str, list[str]] = {HEADS: [], GATE_AND_OUTLINE: []}
    for name in reversed(list(network.state_dict())):
        found.setdefault(_layer(name), []).append(name)
    return found


def layer_names(network: CLIPLungNetwork, second_reader: SecondReader | None) -> list[str]:
    """The steps of `cascade`."""
    return [*layers(network), *([] if second_reader is None else [SECOND_READER])]


def cascade(
    network: CLIPLungNetwork, second_reader: SecondReader | None, seed: int
) -> Iterator[tuple[str, CLIPLungNetwork, SecondReader | None]]:
    """Layer by layer, a network whose weights are random down to that layer; the same object every time, changed.

    In the last step the second reader is random, too: a trunk without training, and shuffled coefficients.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = CLIPLungNetwork(network.config).state_dict()
    changed = deepcopy(network)
    for layer, names in layers(network).items():
        changed.load_state_dict({name: fresh[name] for name in names}, strict=False)
        yield layer, changed, second_reader
    if second_reader is not None:
        yield SECOND_READER, changed, _randomised(second_reader, seed)


def _randomised(reader: SecondReader, seed: int) -> SecondReader:
    changed = deepcopy(reader)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        changed.features.load_state_dict(FrozenFeatures().state_dict())
        changed.coefficients.copy_(reader.coefficients[torch.randperm(len(reader.coefficients))])
    return changed


def _layer(tensor: str) -> str:
    if not tensor.startswith("encoder."):
        return HEADS
    match = LAYER.match(tensor)
    layer = match[1] if match else tensor
    return GATE_AND_OUTLINE if layer in ("gate", "gate_position", "outline") else layer.replace("trunk.", "")
