"""The heat map of an answer that two readers give: the mean of the network's Grad-CAM and of where the second reader finds what it says.

Each is in units of its own strongest relevance, of either sign. The second reader sees the middle plane only, so its map is 0 in the
others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from CLIPLungLib.inference.explain_targets import HARMLESSNESS, SUSPICION
from CLIPLungLib.inference.grad_cam import answer_with_grad_cam
from CLIPLungLib.model.image_encoder import outline_probability
from CLIPLungLib.model.network import CLIPLungNetwork, NetworkOutput
from CLIPLungLib.model.second_outputs import MALIGNANCY, SECOND_OUTPUTS
from CLIPLungLib.model.second_reader import SecondReader, middle_plane, middle_planes
from CLIPLungLib.model.second_relevance import estimate_with_relevance

if TYPE_CHECKING:
    from CLIPLungLib.inference.explain_targets import Target


@dataclass(frozen=True, eq=False)
class JointAnswer:
    """What both readers say of B patches, and why.

    Attributes:
        output: of the network.
        second: (B, O) estimates of SECOND_OUTPUTS; None without a second reader.
        heat: (B, Z, H, W) in 0..1.
    """

    output: NetworkOutput
    second: Tensor | None
    heat: Tensor


def answer_with_joint_heat(
    readers: tuple[CLIPLungNetwork, SecondReader | None],
    planes: Tensor,
    exists: Tensor,
    pixel_mm: float,
    reference: Tensor | None = None,
    explained: tuple[str, Target | None] = (SUSPICION, None),
    within_outline: bool = False,
) -> JointAnswer:
    """The answer and its heat maps in one pass.

    Args:
        readers: the network, and the second reader where there is one.
        planes: (B, Z, H, W) grey values 0..1.
        exists: (B, Z) bool.
        pixel_mm: size of a pixel.
        reference: (C,) what a cell of the average nodule holds, for Grad-CAM.
        explained: one of EXPLAINABLE, and what is differentiated for it in the network (its malignancy score unless given).
        within_outline: multiply the maps by the probability of the network's own outline.
    """
    (network, reader), (name, target) = readers, explained
    output, heat = answer_with_grad_cam(network, planes, exists, reference, target)
    second = None
    if reader is not None:
        second, own_heat = _second_heat(reader, planes, exists, pixel_mm, name)
        heat = heat if own_heat is None else (heat + own_heat) / 2
    if within_outline:
        heat = heat * outline_probability(output.maps, *exists.shape)
    return JointAnswer(output, second, heat)


def _second_heat(
    reader: SecondReader, planes: Tensor, exists: Tensor, pixel_mm: float, name: str
) -> tuple[Tensor, Tensor | None]:
    """Estimates (B, O), and heat (B, Z, H, W) where the second reader has a say in what is explained."""
    output = MALIGNANCY if name in (SUSPICION, HARMLESSNESS) else name
    with torch.inference_mode():
        if output not in SECOND_OUTPUTS or not reader.is_told[SECOND_OUTPUTS.index(output)]:
            return reader(planes, exists, pixel_mm), None
        plane, place = middle_planes(planes, exists), middle_plane(exists)
        estimates, relevance = estimate_with_relevance(reader, plane, pixel_mm, SECOND_OUTPUTS.index(output))
        speaks_for = functional.relu(-relevance if name == HARMLESSNESS else relevance)
        strongest = relevance.abs().amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(relevance.dtype).tiny)
        heat = torch.zeros_like(planes)
        heat[torch.arange(len(planes), device=planes.device), place] = speaks_for / strongest
        return estimates, heat
