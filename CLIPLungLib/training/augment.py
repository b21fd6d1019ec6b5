"""Random changes of patches that leave the readers' opinion as it is: turns, shifts, narrow fields of view, noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from CLIPLungLib.patch import PatchSpec

SCALE = (0.95, 1.05)
SHIFT_SD_MM, LARGEST_SHIFT_MM = 1.5, 4.0
# Scans cut out around a nodule show less than the patch asks for; the border then repeats, here as there.
NARROW_PROBABILITY, NARROW_MM = 0.4, (24.0, 44.0)
GAIN, OFFSET_HU, LARGEST_NOISE_HU = (0.97, 1.03), 20.0, 25.0
BLUR_PROBABILITY = 0.25


def random_grids(
    count: int, spec: PatchSpec, source_pixels: int, narrow: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """(count, H, W, 2) sampling grids for `grid_sample`, each a random rigid motion of the patch's plane.

    Args:
        source_pixels: rows and columns of the planes to sample, of the same spacing as the patch.
        narrow: (count,) bool, False where the field of view must stay as it is.
        rng: source of randomness.
    """
    rows, columns = spec.shape[1:]
    pixel_mm = spec.spacing_mm[1]
    y, x = np.meshgrid(_centred(rows) * pixel_mm, _centred(columns) * pixel_mm, indexing="ij")
    angle = rng.uniform(0, 2 * np.pi, count)
    scale = rng.uniform(*SCALE, count)
    mirror = rng.choice([-1.0, 1.0], count)
    turn = scale[:, None, None] * np.stack(
        [np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], axis=1
    )  # (count, 2, 2)
    turn[:, :, 0] *= mirror[:, None]
    shift_mm = np.clip(rng.normal(0, SHIFT_SD_MM, (count, 2)), -LARGEST_SHIFT_MM, LARGEST_SHIFT_MM)
    source_mm = np.einsum("nij,hwj->nhwi", turn, np.stack([x, y], -1)) + shift_mm[:, None, None]
    half_field_mm = np.where(
        narrow & (rng.random(count) < NARROW_PROBABILITY), rng.uniform(*NARROW_MM, count) / 2, np.inf
    )
    source_mm = np.clip(source_mm, -half_field_mm[:, None, None, None], half_field_mm[:, None, None, None])
    return torch.from_numpy((source_mm / (source_pixels * pixel_mm / 2)).astype(np.float32))


def apply_grids(planes: Tensor, grids: Tensor) -> Tensor:
    """Sample planes (N, H', W') at grids (N, H, W, 2); the border repeats."""
    sampled = functional.grid_sample(
        planes.unsqueeze(1), grids, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.squeeze(1)


def random_grey(hu: Tensor, patch_of_plane: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Change gain, offset, sharpness and noise of planes (N, H, W) in HU, alike for all planes of a patch."""
    patches = int(patch_of_plane.max()) + 1

    def per_plane(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[patch_of_plane].astype(np.float32))[:, None, None]

    gain, offset = per_plane(rng.uniform(*GAIN, patches)), per_plane(rng.uniform(-OFFSET_HU, OFFSET_HU, patches))
    hu = (hu + 1000) * gain - 1000 + offset
    blur = per_plane((rng.random(patches) < BLUR_PROBABILITY) * rng.uniform(0.2, 0.8, patches))
    hu = torch.lerp(hu, functional.avg_pool2d(hu.unsqueeze(1), 3, 1, 1, count_include_pad=False).squeeze(1), blur)
    noise = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32))
    return hu + noise * per_plane(rng.uniform(0, LARGEST_NOISE_HU, patches))


def _centred(count: int) -> np.ndarray:
    return np.arange(count) - (count - 1) / 2
