"""Colours of the report. Blue, grey and orange stay apart for every kind of colour vision; the heat ramp also rises in lightness."""

from __future__ import annotations

import numpy as np

from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD

BACKGROUND = "#0c0f14"
CARD = "#141920"
TRACK = "#2b333e"
TEXT = "#eef1f5"
MUTED = "#a9b3c0"
FAINT = "#7f8a99"
BAR = "#a8b8cd"
CROSS_HAIR = "#8fe3ff"
WARNING = "#f4c95d"
# As OUTLINE_RGB.
OUTLINE = "#59f2bf"
CLASS_COLORS = {"benign": "#56b4e9", "unsure": "#b7bdc8", "malignant": "#f28e3f"}

# Relevance and its opacity over the scan: soft at the rim, never hiding what lies below.
HEAT_OPACITY_STOPS = ((HEAT_THRESHOLD, 0.0), (0.40, 0.42), (1.00, 0.78))
# Relevance and its red, green, blue (0..1): dark red, red, orange, yellow, warm white.
HEAT_STOPS = (
    (0.00, (0.22, 0.00, 0.02)),
    (0.25, (0.45, 0.00, 0.03)),
    (0.50, (0.80, 0.12, 0.02)),
    (0.75, (0.98, 0.55, 0.05)),
    (0.90, (1.00, 0.86, 0.30)),
    (1.00, (1.00, 0.96, 0.66)),
)


def heat_rgb(relevance: np.ndarray) -> np.ndarray:
    """Colour (..., 3) in 0..1 of a relevance (...) in 0..1."""
    positions = [position for position, _ in HEAT_STOPS]
    channels = np.array([color for _, color in HEAT_STOPS]).T
    return np.stack([np.interp(relevance, positions, channel) for channel in channels], axis=-1)


def heat_opacity(relevance: np.ndarray) -> np.ndarray:
    """Opacity (...) of a relevance (...) in 0..1: none up to HEAT_THRESHOLD, then growing."""
    positions, opacities = zip(*HEAT_OPACITY_STOPS, strict=True)
    return np.asarray(np.interp(relevance, positions, opacities))
