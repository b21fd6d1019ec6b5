"""Saliency methods under one interface: a question in, relevance (Z, Y, X) in 0..1 out.

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
from CLIPLungLib.evaluation.saliency_question import SUSPICIOUS, Method, Question
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

INTEGRATION_STEPS = 16
# Voxels covered at once: rows and columns, and planes.
COVERED_PIXELS, COVERED_PLANES = 8, 3


def shipped(question: Question) -> np.ndarray:
    """The map that a user gets: of the network and, where there is one, of the second reader."""
    found = answer_with_joint_heat(
        (question.network, question.second_reader),
        question.planes,
        question.exists,
        question.spec.spacing_mm[1],
        question.average_cell,
        (SUSPICION if question.side == SUSPICIOUS else HARMLESSNESS, question.target),
        question.draws_outline,
    )
    return _numpy(found.heat)


def grad_cam(question: Question) -> np.ndarray:
    """Grad-CAM at the last maps (Selvaraju et al., ICCV 2017), against the average nodule."""
    maps, gradient = _last_maps(question)
    alpha = gradient.mean(dim=(0, 2, 3))[None, :, None, None]
    return _heat(question, _above_average(question, maps, alpha), maps)


def hires_cam(question: Question) -> np.ndarray:
    """HiResCAM at the last maps (arXiv 2011.08891): gradient times activation cell by cell, against the average nodule."""
    maps, gradient = _last_maps(question)
    return _heat(question, _above_average(question, maps, gradient), maps)


def grad_cam_plus_plus(question: Question) -> np.ndarray:
    """Grad-CAM++ at the last maps (Chattopadhay et al., WACV 2018)."""
    maps, gradient = _last_maps(question)
    total = maps.maps.sum(dim=(0, 2, 3), keepdim=True)
    share = gradient**2 / (2 * gradient**2 + total * gradient**3).abs().clamp(min=torch.finfo(gradient.dtype).tiny)
    alpha = (share * functional.relu(gradient)).sum(dim=(0, 2, 3))
    return _heat(question, (alpha[None, :, None, None] * maps.maps).sum(dim=1), maps)


def grad_cam_fine(question: Question) -> np.ndarray:
    """Grad-CAM at the maps of a quarter of the plane."""
    maps, fine, gradient = _fine_maps(question)
    alpha = gradient.mean(dim=(0, 2, 3))[None, :, None, None]
    return _heat(question, (alpha * fine).sum(dim=1), maps)


def hires_cam_fine(question: Question) -> np.ndarray:
    """HiResCAM at the maps of a quarter of the plane."""
    maps, fine, gradient = _fine_maps(question)
    return _heat(question, (gradient * fine).sum(dim=1), maps)


def integrated_gradients(question: Question) -> np.ndarray:
    """Integrated Gradients (Sundararajan et al., ICML 2017) on the grey values, from a patch of nothing but lung."""
    # A package of the extra `train`; not for inference.
    from captum.attr import IntegratedGradients

    def answer(planes: Tensor) -> Tensor:
        return question.target(question.network(planes, question.exists.expand(len(planes), -1)))

    found = IntegratedGradients(answer).attribute(  # type: ignore[no-untyped-call]
        question.planes, question.lung(), n_steps=INTEGRATION_STEPS, internal_batch_size=1
    )
    maps = _planes_as_maps(question)
    return _heat(question, found[question.exists].float(), maps)


def occlusion(question: Question) -> np.ndarray:
    """Drop of the prediction when a block is replaced by lung; blocks of 8 x 8 pixels and three planes side by side (Zeiler, ECCV 2014)."""
    encoder = question.network.encoder
    with torch.no_grad():
        whole = encoder(question.planes, question.exists)
        groups = torch.arange(len(whole.maps), device=whole.maps.device) // COVERED_PLANES
        before = question.target(question.network.read(whole, 1))
        cells = -(-question.planes.shape[2] // COVERED_PIXELS)
        loss = whole.maps.new_zeros(len(whole.maps), cells, cells)
        for y in range(cells):
            for x in range(cells):
                covered = question.planes.clone()
                rows, columns = (slice(n * COVERED_PIXELS, (n + 1) * COVERED_PIXELS) for n in (y, x))
                covered[:, :, rows, columns] = question.lung()
                # Planes do not see each other before they are pooled, so all of them are covered at once.
                loss[:, y, x] = _loss_by_group(question, whole, encoder(covered, question.exists), groups, before)
    return _heat(question, loss, whole)


def gate(question: Question) -> np.ndarray:
    """The gate alone: attention to nodule cells, independent of the malignancy score."""
    maps = _encoded(question)
    return _heat(question, maps.weight, maps)


def outline(question: Question) -> np.ndarray:
    """Control: the network's outline alone, which shows the nodule but not what the prediction depends on."""
    if not question.draws_outline:
        raise InputError(
            "This network draws no outline. Leave out the method 'outline' and those that end in '_in_outline'."
        )
    maps = _encoded(question)
    return _numpy(outline_probability(maps, *question.planes.shape[:2]))


def grad_cam_in_outline(question: Question) -> np.ndarray:
    """Grad-CAM times the outline's probability: the relevance within the network's outline."""
    return np.asarray(grad_cam(question) * outline(question))


def hires_cam_in_outline(question: Question) -> np.ndarray:
    """HiResCAM times the outline's probability."""
    return np.asarray(hires_cam(question) * outline(question))


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
    """The methods of these names, in the order of METHODS; "all" is every one.

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


def _heat(question: Question, relevance: Tensor, maps: FeatureMaps) -> np.ndarray:
    """(Z, Y, X) of relevance (N, h, w) for the side asked for, one per map."""
    return _numpy(heat_of_relevance(relevance.detach(), maps, question.exists, question.planes.shape))


def _encoded(question: Question) -> FeatureMaps:
    with torch.no_grad():
        maps: FeatureMaps = question.network.encoder(question.planes, question.exists)
    return maps


def _last_maps(question: Question) -> tuple[FeatureMaps, Tensor]:
    """The maps the answer is read from, and the answer's gradient there."""
    maps = _encoded(question)
    with torch.enable_grad():
        leaf = replace(maps, maps=maps.maps.detach().requires_grad_(True))
        target = question.target(question.network.read(leaf, 1))
        (gradient,) = torch.autograd.grad(target.sum(), leaf.maps)
    return maps, gradient


def _above_average(question: Question, maps: FeatureMaps, weights: Tensor) -> Tensor:
    """(N, h, w) sum over channels of the weights (broadcast to N, C, h, w) times what exceeds the average nodule under the gate."""
    held = maps.maps
    if question.average_cell is not None:
        average = question.average_cell.to(held)[None, :, None, None]
        held = held - maps.weight.unsqueeze(1) * average
    return (weights * held).sum(dim=1)


def _fine_maps(question: Question) -> tuple[FeatureMaps, Tensor, Tensor]:
    """The last maps, those of a quarter of the plane, and the answer's gradient at the latter."""
    kept: list[Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_(True))
        return kept[0]

    handle = _fine_stage(question.network.encoder).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            output = question.network(question.planes, question.exists)
            (gradient,) = torch.autograd.grad(question.target(output).sum(), kept[0])
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


def _planes_as_maps(question: Question) -> FeatureMaps:
    """The existing planes themselves as maps of one channel."""
    patch_of_map, plane_of_map = question.exists.nonzero(as_tuple=True)
    planes = question.planes[question.exists]
    return FeatureMaps(planes.unsqueeze(1), torch.ones_like(planes), patch_of_map, plane_of_map, None, None)


def _loss_by_group(
    question: Question, whole: FeatureMaps, covered: FeatureMaps, groups: Tensor, before: Tensor
) -> Tensor:
    """(N,) what the answer loses when the planes of a map's own group are the covered ones."""
    losses = []
    for group in range(int(groups.max()) + 1):
        inside = groups == group
        mixed = replace(
            whole,
            maps=torch.where(inside[:, None, None, None], covered.maps, whole.maps),
            weight=torch.where(inside[:, None, None], covered.weight, whole.weight),
        )
        losses.append(before - question.target(question.network.read(mixed, 1)))
    return torch.cat(losses)[groups]
