"""Whether an image's values can be Hounsfield units of a chest.

Decided on the distribution of a sparse sample, not on its extremes: lung and air lie near -1000..-700 HU, soft tissue near
-100..150 HU. CT stored without its rescale intercept lies 1024 higher, CT with the intercept applied twice 1024 lower.
Padding (constant values outside the scanner's circle: -1024, -2048, -3024, -32768 ...) says nothing and is left out.
"""

from __future__ import annotations

import numpy as np

SAMPLED_VOXELS_PER_AXIS = 48
# Nothing in a patient or around one is lower; padding is read as this when it is sampled.
PADDING_READ_AS_HU = -1024.0
# Metal reaches 30 000 in the extended scale.
HIGHEST_HU = 40_000.0
LOWEST_SCALED_HU = -10_000.0
# Lung and air there are negative numbers of 16 bits that were taken for unsigned ones, before or after their intercept.
WRAPPED_HU = (65_536.0 - 2300.0, 65_536.0)

# Value -> of one value above it no body holds such a share; metal is often clipped at 3071, the end of the usual scale.
HIGH_PADDING_SHARES = {3100.0: 0.01, 2000.0: 0.03}

# A picture has so many greys, and of black and white much more than of the others.
GREYS, SATURATED_SHARE, BLACK_SHARE, LEAST_GREYS = 256, 0.01, 0.05, 32

PADDING_FROM_HU = -900.0
PADDING_SHARE = 0.01
PADDING_OVER_NEIGHBOURS = 4.0
PADDING_VALUES_AT_MOST = 3

# Of 803 tight volumes, 62 crops, 75 cubes, 144 blocks, 2,122 single slices and 2 series of LIDC-IDRI, each has at least
# 6.7 % of its voxels between these; shifted by +1024, none has.
LUNG_HU = (-1150.0, -200.0)
LUNG_SHARE = 0.03
# Noise and streaks reach below this in 2 % of a sample at most; lung lies there once the intercept was applied twice.
TOO_LOW_HU = -1300.0
TOO_LOW_SHARE = 0.02
DENSER_THAN_AIR_HU = -800.0

SOFT_TISSUE_HU = (-150.0, 150.0)
SOFT_TISSUE_SHARE = 0.8
SOFT_TISSUE_RANGE_HU = 20.0
FAT_HU = -30.0


def sparse_sample(hu: np.ndarray) -> np.ndarray:
    """(N,) finite values of every n-th voxel of a (K, J, I) array."""
    steps = [max(1, n // SAMPLED_VOXELS_PER_AXIS) for n in hu.shape]
    sample = hu[:: steps[0], :: steps[1], :: steps[2]].reshape(-1)
    return sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample


def hounsfield_problem(sample: np.ndarray, is_whole: bool = False) -> str:
    """Why a sample (N,) cannot be HU of a chest, and the remedy; empty when it can, or when it is too thin to tell.

    A cut around a nodule may show no lung. What is as wide as a chest (`is_whole`) and shows none is no CT of one, or no CT, as an
    iodine map is.
    """
    if not sample.size:
        return "holds no finite values. Load the CT again or repair the file."
    constants = _constant_values(sample)
    tissue = sample[~np.isin(sample, constants)]
    if not tissue.size:
        # Nothing but constants: a made-up image. Judged by all of it.
        tissue, constants = sample, []
    return (
        _scale_problem(sample, tissue)
        or _greys_problem(sample)
        or _high_padding_problem(sample)
        or _intercept_problem(sample[sample != constants[0]] if constants else sample, tissue)
        or _spread_problem(tissue, bool(constants), is_whole)
    )


def _scale_problem(sample: np.ndarray, tissue: np.ndarray) -> str:
    low, high = sample.min(), sample.max()
    if high <= HIGHEST_HU and np.median(tissue) >= LOWEST_SCALED_HU:
        return ""
    remedy = (
        "Negative numbers were stored or declared as unsigned ones (PixelRepresentation): subtract 65536 from all above 32767."
        if _share(sample, *WRAPPED_HU) >= LUNG_SHARE
        else "Load the CT from DICOM."
    )
    return f"holds values from {low:g} to {high:g}; that cannot be Hounsfield units. {remedy}"


def _greys_problem(sample: np.ndarray) -> str:
    """A picture of 256 greys, whatever number stands for black: with black and white, or with black and nothing as dense as tissue."""
    low, high = float(sample.min()), float(sample.max())
    black, white = float(np.mean(sample == low)), float(np.mean(sample == high))
    is_window = high - low == GREYS - 1 and min(black, white) >= SATURATED_SHARE
    is_dark = (
        high - low < GREYS and high < LUNG_HU[1] and black >= BLACK_SHARE and np.unique(sample).size >= LEAST_GREYS
    )
    if not is_window and not is_dark:
        return ""
    return (
        f"holds no more than {GREYS} greys (from {low:g} to {high:g}), as a picture of a window does; they are no Hounsfield units. Load the "
        "CT from its original DICOM."
    )


def _high_padding_problem(sample: np.ndarray) -> str:
    padding = _high_padding(sample)
    if padding is None:
        return ""
    return (
        f"holds the one value {padding:g} in {np.mean(sample == padding):.0%} of its voxels, which no body does: it marks voxels that "
        "were not scanned. Set them to -1024, or load the CT from the original DICOM."
    )


def _intercept_problem(sample: np.ndarray, tissue: np.ndarray) -> str:
    if not _is_too_low(sample):
        return ""
    return (
        f"has lung or air far below -1000 HU (most of its values lie between {_range(tissue)}): its rescale intercept was "
        "applied twice. Load it from DICOM, or add 1024."
    )


def _spread_problem(tissue: np.ndarray, has_padding: bool, is_whole: bool) -> str:
    if _share(tissue, *LUNG_HU) >= LUNG_SHARE or (not is_whole and _is_soft_tissue(tissue, has_padding)):
        return ""
    return (
        f"does not look like a chest CT: apart from padding most of its values lie between {_range(tissue)}, while lung and air "
        "lie near -1000 HU. If it is MR, PET or a label map, choose the CT; if it is CT stored without its rescale "
        "intercept, load it from DICOM."
    )


def _constant_values(sample: np.ndarray) -> list[float]:
    """Low values that many voxels share and their neighbours on the scale do not, ascending: padding, or clipped air."""
    values, counts = np.unique(sample[sample <= PADDING_FROM_HU], return_counts=True)
    shares = counts / sample.size
    constants = [
        value
        for value, share in zip(values.tolist(), shares.tolist(), strict=True)
        if share >= PADDING_SHARE
        and share > PADDING_OVER_NEIGHBOURS * shares[(np.abs(values - value) <= 3) & (values != value)].max(initial=0)
    ]
    # More of them are no padding but coarse steps of the scale.
    return constants if len(constants) <= PADDING_VALUES_AT_MOST else []


def _high_padding(sample: np.ndarray) -> float | None:
    """A value far above tissue that many voxels share."""
    for above, share in HIGH_PADDING_SHARES.items():
        values, counts = np.unique(sample[sample > above], return_counts=True)
        if values.size and counts.max() >= share * sample.size:
            return float(values[counts.argmax()])
    return None


def _is_too_low(sample: np.ndarray) -> bool:
    sample = sample[sample != 0]  # What resampling fills in.
    too_low = _share(sample, -np.inf, TOO_LOW_HU)
    return too_low >= TOO_LOW_SHARE and too_low > _share(sample, DENSER_THAN_AIR_HU, np.inf)


def _is_soft_tissue(tissue: np.ndarray, has_padding: bool) -> bool:
    """A block without lung, which a tight cut may be. PET, labels and normalised values have no such spread below zero; a byte, which
    holds the greys of a window or HU that overflowed, can hold no other values."""
    if tissue.dtype.itemsize == 1 or _share(tissue, *SOFT_TISSUE_HU) < SOFT_TISSUE_SHARE:
        return False
    low, median, high = np.percentile(tissue, [2, 50, 98])
    if has_padding and low == high:
        return bool(abs(median) > SOFT_TISSUE_RANGE_HU)
    return bool(high - low > SOFT_TISSUE_RANGE_HU and (has_padding or low < FAT_HU))


def _share(sample: np.ndarray, low: float, high: float) -> float:
    return float(np.mean((sample >= low) & (sample < high))) if sample.size else 0.0


def _range(sample: np.ndarray) -> str:
    low, high = np.percentile(sample, [5, 95])
    return f"{low:.0f} and {high:.0f}"
