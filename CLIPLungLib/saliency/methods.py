"""Saliency methods under one interface: a `MapInput` in, relevance (Z, Y, X) in 0..1 out.

A map explains one side: evidence for suspicion, or for harmlessness. Methods that cannot tell the sides apart
(the gate, the outline) give the same map for both.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.explain_targets import HARMLESSNESS, SUSPICION
from CLIPLungLib.inference.grad_cam import heat_of_relevance
from CLIPLungLib.inference.joint_heat import answer_with_joint_heat
from CLIPLungLib.model.efficientnet import GIVEN
from CLIPLungLib.model.image_encoder import (
    ChannelEncoder,
    EfficientNetEncoder,
    FeatureMaps,
    GatedEncoder,
    SliceEncoder,
    outline_probability,
)
from CLIPLungLib.saliency.map_input import SUSPICIOUS, MapInput, Method

INTEGRATION_STEPS = 16
# Voxels covered at once: rows and columns, and planes.
COVERED_PIXELS, COVERED_PLANES = 8, 3


def shipped(map_input: MapInput) -> np.ndarray:
    """The map that users see: of the network and, if there is one, of the second reader."""
    found = answer_with_joint_heat(
        (map_input.network, map_input.second_reader),
        map_input.planes,
        map_input.exists,
        map_input.spec.spacing_mm[1],
        map_input.average_cell,
        (SUSPICION if map_input.side == SUSPICIOUS else HARMLESSNESS, map_input.target),
        map_input.draws_outline,
    )
    return _numpy(found.heat)


def grad_cam(map_input: MapInput) -> np.ndarray:
    """Grad-CAM at the last maps (Selvaraju et al., ICCV 2017), against the average nodule."""
    maps, gradient = _last_maps(map_input)
    alpha = gradient.mean(dim=(0, 2, 3))[None, :, None, None]
    return _heat(map_input, _above_average(map_input, maps, alpha), maps)


def hires_cam(map_input: MapInput) -> np.ndarray:
    """HiResCAM at the last maps (arXiv 2011.08891): gradient times activation cell by cell, against the average nodule."""
    maps, gradient = _last_maps(map_input)
    return _heat(map_input, _above_average(map_input, maps, gradient), maps)


def grad_cam_plus_plus(map_input: MapInput) -> np.ndarray:
    """Grad-CAM++ at the last maps (Chattopadhay et al., WACV 2018)."""
    maps, gradient = _last_maps(map_input)
    total = maps.maps.sum(dim=(0, 2, 3), keepdim=True)
    share = gradient**2 / (2 * gradient**2 + total * gradient**3).abs().clamp(min=torch.finfo(gradient.dtype).tiny)
    alpha = (share * functional.relu(gradient)).sum(dim=(0, 2, 3))
    return _heat(map_input, (alpha[None, :, None, None] * maps.maps).sum(dim=1), maps)


def grad_cam_fine(map_input: MapInput) -> np.ndarray:
    """Grad-CAM at the maps of a quarter of the plane."""
    maps, fine, gradient = _fine_maps(map_input)
    alpha = gradient.mean(dim=(0, 2, 3))[None, :, None, None]
    return _heat(map_input, (alpha * fine).sum(dim=1), maps)


def hires_cam_fine(map_input: MapInput) -> np.ndarray:
    """HiResCAM at the maps of a quarter of the plane."""
    maps, fine, gradient = _fine_maps(map_input)
    return _heat(map_input, (gradient * fine).sum(dim=1), maps)


def integrated_gradients(map_input: MapInput) -> np.ndarray:
    """Integrated Gradients (Sundararajan et al., ICML 2017) on the grey values, from a patch of lung alone."""
    # A package of the extra `train`; not for inference.
    from captum.attr import IntegratedGradients

    def answer(planes: Tensor) -> Tensor:
        return map_input.target(map_input.network(planes, map_input.exists.expand(len(planes), -1)))

    found = IntegratedGradients(answer).attribute(  # type: ignore[no-untyped-call]
        map_input.planes, map_input.lung(), n_steps=INTEGRATION_STEPS, internal_batch_size=1
    )
    maps = _planes_as_maps(map_input)
    return _heat(map_input, found[map_input.exists].float(), maps)


def occlusion(map_input: MapInput) -> np.ndarray:
    """Drop of the prediction when a block is replaced by lung; blocks of 8 x 8 pixels and three planes side by side (Zeiler, ECCV 2014)."""
    encoder = map_input.network.encoder
    with torch.no_grad():
        whole = encoder(map_input.planes, map_input.exists)
        groups = torch.arange(len(whole.maps), device=whole.maps.device) // COVERED_PLANES
        before = map_input.target(map_input.network.read(whole, 1))
        cells = -(-map_input.planes.shape[2] // COVERED_PIXELS)
        loss = whole.maps.new_zeros(len(whole.maps), cells, cells)
        for y in range(cells):
            for x in range(cells):
                covered = map_input.planes.clone()
                rows, columns = (slice(n * COVERED_PIXELS, (n + 1) * COVERED_PIXELS) for n in (y, x))
                covered[:, :, rows, columns] = map_input.lung()
                # Planes do not see each other before they are pooled, so all of them are covered at once.
                loss[:, y, x] = _loss_by_group(map_input, whole, encoder(covered, map_input.exists), groups, before)
    return _heat(map_input, loss, whole)


def gate(map_input: MapInput) -> np.ndarray:
    """The gate alone: attention to nodule cells, independent of the malignancy score."""
    maps = _encoded(map_input)
    return _heat(map_input, maps.weight, maps)


def outline(map_input: MapInput) -> np.ndarray:
    """Control: the network's outline alone, which shows the nodule but not what the prediction depends on."""
    if not map_input.draws_outline:
        raise InputError(
            "This network draws no outline. Leave out the method 'outline' and those that end in '_in_outline'."
        )
    maps = _encoded(map_input)
    return _numpy(outline_probability(maps, *map_input.planes.shape[:2]))


def grad_cam_in_outline(map_input: MapInput) -> np.ndarray:
    """Grad-CAM times the outline's probability: the relevance within the network's outline."""
    return np.asarray(grad_cam(map_input) * outline(map_input))


def hires_cam_in_outline(map_input: MapInput) -> np.ndarray:
    """HiResCAM times the outline's probability."""
    return np.asarray(hires_cam(map_input) * outline(map_input))


SHIPPED = "shipped"
METHODS: dict[str, Method] = {
    SHIPPED: shipped,
    "grad_cam": grad_cam,
    "grad_cam_fine": grad_cam_fine,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "hires_cam": hires_cam,
    "hires_cam_fine": hires_cam_fine,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
    "gate": gate,
    "outline": outline,
    "grad_cam_in_outline": grad_cam_in_outline,
    "hires_cam_in_outline": hires_cam_in_outline,
}


def chosen_methods(names: list[str]) -> dict[str, Method]:
    """The methods with these names, in the order of METHODS; "all" for every method.

    Raises:
        InputError: there is no such method.
    """
    unknown = [name for name in names if name not in METHODS and name != "all"]
    if unknown:
        raise InputError(f"There is no saliency method '{unknown[0]}'. Choose from {', '.join(METHODS)}, or 'all'.")
    return {name: method for name, method in METHODS.items() if name in names or "all" in names}


def _numpy(heat: Tensor) -> np.ndarray:
    found: np.ndarray = heat[0].detach().float().cpu().numpy()
    return found


def _heat(map_input: MapInput, relevance: Tensor, maps: FeatureMaps) -> np.ndarray:
    """(Z, Y, X) heat map of the relevance (N, h, w) of every map."""
    return _numpy(heat_of_relevance(relevance.detach(), maps, map_input.exists, map_input.planes.shape))


def _encoded(map_input: MapInput) -> FeatureMaps:
    with torch.no_grad():
        maps: FeatureMaps = map_input.network.encoder(map_input.planes, map_input.exists)
    return maps


def _last_maps(map_input: MapInput) -> tuple[FeatureMaps, Tensor]:
    """The last maps, and the gradient of the target there."""
    maps = _encoded(map_input)
    with torch.enable_grad():
        leaf = replace(maps, maps=maps.maps.detach().requires_grad_(True))
        target = map_input.target(map_input.network.read(leaf, 1))
        (gradient,) = torch.autograd.grad(target.sum(), leaf.maps)
    return maps, gradient


def _above_average(map_input: MapInput, maps: FeatureMaps, weights: Tensor) -> Tensor:
    """(N, h, w) sum over channels of the weights (broadcast to N, C, h, w) times what exceeds the average nodule under the gate."""
    held = maps.maps
    if map_input.average_cell is not None:
        average = map_input.average_cell.to(held)[None, :, None, None]
        held = held - maps.weight.unsqueeze(1) * average
    return (weights * held).sum(dim=1)


def _fine_maps(map_input: MapInput) -> tuple[FeatureMaps, Tensor, Tensor]:
    """The last maps, those of 1/4 of the plane's size, and the gradient of the target at the latter."""
    kept: list[Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_(True))
        return kept[0]

    handle = _fine_stage(map_input.network.encoder).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            output = map_input.network(map_input.planes, map_input.exists)
            (gradient,) = torch.autograd.grad(map_input.target(output).sum(), kept[0])
    finally:
        handle.remove()
    return output.maps, kept[0].detach(), gradient


def _fine_stage(encoder: GatedEncoder | ChannelEncoder) -> torch.nn.Module:
    """The part of an encoder that gives maps of a quarter of the plane it sees."""
    if isinstance(encoder, EfficientNetEncoder):
        return encoder.trunk.stages[GIVEN[1]]
    if isinstance(encoder, SliceEncoder):
        return encoder.stages[1]
    raise InputError("This network has no maps of a quarter of the plane. Leave out the methods that end in '_fine'.")


def _planes_as_maps(map_input: MapInput) -> FeatureMaps:
    """The existing planes themselves as maps of one channel."""
    patch_of_map, plane_of_map = map_input.exists.nonzero(as_tuple=True)
    planes = map_input.planes[map_input.exists]
    return FeatureMaps(planes.unsqueeze(1), torch.ones_like(planes), patch_of_map, plane_of_map, None, None)


def _loss_by_group(
    map_input: MapInput, whole: FeatureMaps, covered: FeatureMaps, groups: Tensor, before: Tensor
) -> Tensor:
    """(N,) loss of the target when the planes of a map's group are covered."""
    losses = []
    for group in range(int(groups.max()) + 1):
        inside = groups == group
        mixed = replace(
            whole,
            maps=torch.where(inside[:, None, None, None], covered.maps, whole.maps),
            weight=torch.where(inside[:, None, None], covered.weight, whole.weight),
        )
        losses.append(before - map_input.target(map_input.network.read(mixed, 1)))
    return torch.cat(losses)[groups]
