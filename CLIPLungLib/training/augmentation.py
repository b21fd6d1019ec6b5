"""Augmentation that preserves the labels: rotations, flips, shifts, narrow fields of view, grey values, noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from CLIPLungLib.image.patch import PatchSpec

SCALE = (0.95, 1.05)
SHIFT_SD_MM, LARGEST_SHIFT_MM = 1.8, 5.5
# Scans cut out around a nodule show less than the patch asks for; the border then repeats, here as there.
NARROW_PROBABILITY, NARROW_MM = 0.4, (24.0, 44.0)
GAIN, OFFSET_HU, LARGEST_NOISE_HU = (0.97, 1.03), 20.0, 25.0
BLUR_PROBABILITY = 0.25


def random_grids(
    spec: PatchSpec, source_pixels: int, narrow: np.ndarray, generators: Sequence[np.random.Generator]
) -> Tensor:
    """(B, H, W, 2) sampling grids for `grid_sample`, each a random rigid motion of the patch's plane.

    Args:
        source_pixels: rows and columns of the planes to sample, of the same spacing as the patch.
        narrow: (B,) bool, False where the field of view must stay as it is.
        generators: one source of randomness per patch.
    """
    grids = [_random_grid(spec, bool(may_narrow), rng) for may_narrow, rng in zip(narrow, generators, strict=True)]
    return torch.from_numpy((np.stack(grids) / (source_pixels * spec.spacing_mm[1] / 2)).astype(np.float32))


def _random_grid(spec: PatchSpec, may_narrow: bool, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 2) mm from the middle of the source plane, x first."""
    y, x = np.meshgrid(*(_centred(n) * spec.spacing_mm[1] for n in spec.shape[1:]), indexing="ij")
    angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(*SCALE)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[:, 0] *= rng.choice([-1.0, 1.0])
    shift_mm = np.clip(rng.normal(0, SHIFT_SD_MM, 2), -LARGEST_SHIFT_MM, LARGEST_SHIFT_MM)
    source_mm = np.stack([x, y], -1) @ turn.T + shift_mm
    half_field_mm = rng.uniform(*NARROW_MM) / 2
    is_narrow = may_narrow and rng.random() < NARROW_PROBABILITY
    grid: np.ndarray = np.clip(source_mm, -half_field_mm, half_field_mm) if is_narrow else source_mm
    return grid


def apply_grids(planes: Tensor, grids: Tensor) -> Tensor:
    """Sample planes (N, H', W') at grids (N, H, W, 2); the border repeats."""
    sampled = functional.grid_sample(
        planes.unsqueeze(1), grids, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.squeeze(1)


def random_grey(hu: Tensor, patch_of_plane: np.ndarray, generators: Sequence[np.random.Generator]) -> Tensor:
    """Change gain, offset, sharpness and noise of planes (N, H, W) in HU, alike for all planes of a patch."""
    drawn = np.array([_random_grey_values(rng) for rng in generators], dtype=np.float32)[patch_of_plane]
    gain, offset, blur, noise_hu = (torch.from_numpy(column.copy())[:, None, None] for column in drawn.T)
    hu = (hu + 1000) * gain - 1000 + offset
    hu = torch.lerp(hu, functional.avg_pool2d(hu.unsqueeze(1), 3, 1, 1, count_include_pad=False).squeeze(1), blur)
    counts = np.bincount(patch_of_plane, minlength=len(generators))
    noise = [
        rng.standard_normal((n, *hu.shape[1:]), dtype=np.float32) for n, rng in zip(counts, generators, strict=True)
    ]
    return hu + torch.from_numpy(np.concatenate(noise)) * noise_hu


def _random_grey_values(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Gain, offset in HU, share of the blurred image, noise in HU."""
    blur = rng.uniform(0.2, 0.8) if rng.random() < BLUR_PROBABILITY else 0.0
    return rng.uniform(*GAIN), rng.uniform(-OFFSET_HU, OFFSET_HU), blur, rng.uniform(0, LARGEST_NOISE_HU)


def _centred(count: int) -> np.ndarray:
    return np.arange(count) - (count - 1) / 2
