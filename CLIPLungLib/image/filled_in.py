"""Voxels of a block that were not measured: masked, clipped or filled in by a program, and left in the range of tissue.

Padding far below air is read as air elsewhere. A lung mask that leaves 0 HU, a resampling that fills with 0 or a window that ends above
lung looks like tissue; it betrays itself by one value that many voxels share, amid others that carry the noise of a scanner.
"""

from __future__ import annotations

import numpy as np

from CLIPLungLib.image.hounsfield import PADDING_FROM_HU, SAMPLED_VOXELS_PER_AXIS

# In 91 blocks of LIDC-IDRI, whole numbers on the scan's own grid among them, the commonest value has 3.3 % at most, and no more than
# 1.6 times that of the next.
FILLED_SHARE = 0.1
FILLED_OVER_NEXT = 4.0
EVERY_NTH = 2
# A made-up image without noise is flat nearly everywhere, and none of that is a fault. Of a masked scan, a tenth is left.
NOISY_SHARE = 0.05


def carries_noise(hu: np.ndarray) -> bool:
    """Whether neighbouring voxels of a volume (K, J, I) differ, as a scanner's do. Looks at a sparse sample."""
    steps = [max(1, n // SAMPLED_VOXELS_PER_AXIS) for n in hu.shape]
    rows = hu[:: steps[0], :: steps[1]]
    left, right = rows[..., : -1 : steps[2]], rows[..., 1 :: steps[2]]
    return bool(left.size and np.mean(left != right) >= NOISY_SHARE)


def filled_in(hu: np.ndarray, highest_hu: float) -> tuple[float, float] | None:
    """The value that fills much of a block (Z, Y, X) of a scan with noise, and its share of the voxels; None where nothing is filled in.

    Values up to clipped air, and from `highest_hu` on, are no sign: nothing is seen there anyway.
    """
    some = hu[:, ::EVERY_NTH, ::EVERY_NTH]
    values, counts = np.unique(some[(some > PADDING_FROM_HU) & (some < highest_hu)], return_counts=True)
    if not counts.size:
        return None
    first, second = np.sort(np.append(counts, 0))[[-1, -2]]
    if first < FILLED_SHARE * some.size or first <= FILLED_OVER_NEXT * second:
        return None
    return float(values[counts.argmax()]), float(first / some.size)
