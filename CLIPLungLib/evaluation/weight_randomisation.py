"""Networks that have lost what they learned, layer by layer from the answer to the image (Adebayo et al., NeurIPS 2018).

A map that stays as it was shows the image, not the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy

import torch

from CLIPLungLib.model.network import CLIPLungNetwork

HEADS, GATE_AND_OUTLINE = "heads", "gate and outline"
# A stage of a trunk, another part of a trunk, or a part of the encoder.
LAYER = re.compile(r"encoder\.((?:trunk\.)?stages\.\d+|trunk\.\w+|\w+)")


def layers(network: CLIPLungNetwork) -> dict[str, list[str]]:
    """Layer -> its tensors, from the answer to the image."""
    found: dict[str, list[str]] = {HEADS: [], GATE_AND_OUTLINE: []}
    for name in reversed(list(network.state_dict())):
        found.setdefault(_layer(name), []).append(name)
    return found


def cascade(network: CLIPLungNetwork, seed: int) -> Iterator[tuple[str, CLIPLungNetwork]]:
    """Layer after layer, with a network that has fresh weights up to and with it; the same network, changed, every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = CLIPLungNetwork(network.config).state_dict()
    changed = deepcopy(network)
    for layer, names in layers(network).items():
        changed.load_state_dict({name: fresh[name] for name in names}, strict=False)
        yield layer, changed


def _layer(tensor: str) -> str:
    if not tensor.startswith("encoder."):
        return HEADS
    match = LAYER.match(tensor)
    layer = match[1] if match else tensor
    return GATE_AND_OUTLINE if layer in ("gate", "gate_position", "outline") else layer.replace("trunk.", "")
