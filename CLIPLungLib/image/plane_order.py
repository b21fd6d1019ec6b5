"""Whether the axial planes of a whole chest follow each other as they do in a patient.

A file states one step for all its planes. Where it was written from slices in another order (by name: 1, 10, 11, 2 ...), from two scans on
top of each other, or without some slices, every plane is whole and lies off its place. Neighbouring planes of a patient resemble each other.
"""

from __future__ import annotations

import numpy as np

# In whole series of LIDC-IDRI, also thickened to 10 mm, no step is more than 1.3 times the usual one around it; a breath taken between two
# parts of a scan makes one of 3. The end of a scan on the beginning of the next makes one of 4 to 10.
LARGEST_STEP, LARGE_STEP, LARGE_STEPS = 4.0, 2.5, 3
STEPS_AROUND = 5
# The next plane differs by 0.64 of what the one after it does; in chance order by as much.
CHANCE_RATIO = 0.9
# Noise has no order.
OVER_NOISE = 3.0
SAMPLED_PIXELS_PER_AXIS = 32
LEAST_PLANES = 12
SEEN_HU = (-1024.0, 400.0)
REMEDY = "Make the file again from the slices of one scan, sorted by their positions, or load the DICOM."


def order_problem(planes: np.ndarray) -> str:
    """Why planes (N, rows, columns) are not in the order in which they lie in a patient, and the remedy; empty where they can be.

    Blank planes are left out.
    """
    strides = [max(1, n // SAMPLED_PIXELS_PER_AXIS) for n in planes.shape[1:]]
    sample, beside = (_seen(planes[:, first :: strides[0], :: strides[1]]) for first in (0, 1))
    is_sound = sample.min(axis=(1, 2)) < sample.max(axis=(1, 2))
    numbers, sample, beside = np.flatnonzero(is_sound), sample[is_sound], beside[is_sound]
    if numbers.size < LEAST_PLANES:
        return ""
    steps = np.abs(np.diff(sample, axis=0)).mean(axis=(1, 2))
    if _is_by_chance(sample, beside, steps):
        return f"has axial planes in no order: neighbours are as unlike as any. {REMEDY}"
    breaks = _breaks(np.where(np.diff(numbers) > 1, 0.0, steps))
    if not breaks.size:
        return ""
    where = ", ".join(f"{k} and {k + 1}" for k in numbers[breaks][:3].tolist())
    return (
        f"has axial planes that do not follow each other: between {where} (counted from 0) the picture breaks off, as where slices are "
        f"missing or out of order, or two scans lie on top of each other. {REMEDY}"
    )


def _is_by_chance(sample: np.ndarray, beside: np.ndarray, steps: np.ndarray) -> bool:
    """Whether the next plane is as unlike as the one after it; `beside` are the neighbouring pixels, which tell the noise."""
    noise = float(np.abs(sample[:, : beside.shape[1]] - beside).mean())
    over_two = float(np.abs(sample[2:] - sample[:-2]).mean())
    return bool(np.median(steps) > OVER_NOISE * noise and steps.mean() > CHANCE_RATIO * over_two)


def _breaks(steps: np.ndarray) -> np.ndarray:
    """Where the step to the next plane is far larger than those around it. Steps of zero say nothing: a plane that was doubled."""
    if not steps.any():
        return np.empty(0, int)
    known = np.where(steps > 0, steps, np.median(steps[steps > 0]))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(known, STEPS_AROUND, mode="edge"), 2 * STEPS_AROUND + 1)
    ratios = steps / np.median(around, axis=1)
    breaks = np.flatnonzero(ratios > LARGE_STEP)
    return breaks if breaks.size >= LARGE_STEPS else np.flatnonzero(ratios > LARGEST_STEP)


def _seen(values: np.ndarray) -> np.ndarray:
    """HU as a window of lung and soft tissue shows them; what is no number is air."""
    low, high = SEEN_HU
    return np.asarray(np.clip(np.nan_to_num(values.astype(np.float32), nan=low), low, high))
