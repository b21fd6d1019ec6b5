"""The translation between two blocks, by exhaustive search.

Masked normalised cross-correlation at every shift, by Fourier transforms (Padfield, IEEE Trans Image Process 2012, 21:2706).
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from CLIPLungLib.followup.blocks import Block

# A shift at which either part is as good as flat (in grey levels 0..1) says nothing.
LEAST_SPREAD = 0.02


def best_shift(fixed: Block, moving: Block, overlap: float) -> np.ndarray | None:
    """(3,) RAS mm, whole steps: what has to be added to places in the fixed block to come to the same places in the moving one.

    Args:
        fixed, moving: blocks of one step.
        overlap: share of the smaller block that must lie on the other one.

    Returns:
        None where the blocks hold too little to be compared.
    """
    correlation = correlations(fixed, moving, overlap)
    best_kji = np.array(np.unravel_index(int(correlation.argmax()), correlation.shape))
    if correlation[tuple(best_kji)] <= 0.0:
        return None
    # The first place is that of the fixed block's last voxel on the moving block's first one.
    steps_ijk = (best_kji - (np.array(fixed.grey.shape) - 1))[::-1]
    return np.asarray(moving.first_ras - fixed.first_ras + steps_ijk * moving.step_mm)


def correlations(fixed: Block, moving: Block, overlap: float) -> np.ndarray:
    """(K, J, I) correlation (-1..1) at every shift; 0 where too little overlaps, or either part is flat."""
    full = [a + b - 1 for a, b in zip(fixed.grey.shape, moving.grey.shape, strict=True)]
    fast = [fft.next_fast_len(n, real=True) for n in full]

    def transformed(values: np.ndarray) -> np.ndarray:
        return np.asarray(fft.rfftn(values.astype(np.float32), fast))

    def together(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray(fft.irfftn(first * second, fast))[tuple(slice(n) for n in full)]

    # Correlation is convolution with a mirror image. Means are taken off first, lest single precision lose the small differences.
    mask_f, mask_m = fixed.is_scan[::-1, ::-1, ::-1], moving.is_scan
    grey_f = np.where(mask_f, fixed.grey[::-1, ::-1, ::-1] - fixed.grey[fixed.is_scan].mean(), 0.0)
    grey_m = np.where(mask_m, moving.grey - moving.grey[mask_m].mean(), 0.0)
    one_f, one_m, first, second = (transformed(values) for values in (mask_f, mask_m, grey_f, grey_m))
    count = np.maximum(np.rint(together(one_f, one_m)), 1.0)
    sum_f, sum_m = together(first, one_m), together(one_f, second)
    spread_f = together(transformed(grey_f**2), one_m) / count - (sum_f / count) ** 2
    spread_m = together(one_f, transformed(grey_m**2)) / count - (sum_m / count) ** 2
    shared = together(first, second) / count - sum_f * sum_m / count**2
    enough = count >= overlap * min(mask_f.sum(), mask_m.sum())
    usable = enough & (np.minimum(spread_f, spread_m) > LEAST_SPREAD**2)
    return np.where(usable, shared / np.sqrt(np.maximum(spread_f * spread_m, LEAST_SPREAD**4)), 0.0)
