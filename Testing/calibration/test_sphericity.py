"""Sphericity from texts and outline."""

from __future__ import annotations

import numpy as np
import pytest

from CLIPLungLib.calibration.sphericity import fit_sphericity
from CLIPLungLib.errors import InputError

RNG = np.random.default_rng(3)


def test_sphericity_is_learned_from_texts_and_outline():
    text, longest = RNG.uniform(1, 5, 80), RNG.uniform(5, 20, 80)
    short = longest * RNG.uniform(0.4, 1, 80)
    volume = 4 / 3 * np.pi * (longest * RNG.uniform(0.3, 0.5, 80)) ** 3
    ball = np.cbrt(6 * volume / np.pi)
    rating = 1 + 0.2 * text + 1.5 * short / longest + 0.5 * ball / longest
    calibration = fit_sphericity(text, longest, short, volume, rating)
    np.testing.assert_allclose(calibration.level(text, longest, short, volume), rating, atol=1e-6)
    with pytest.raises(InputError, match="10 outlined nodules"):
        fit_sphericity(text[:9], longest[:9], short[:9], volume[:9], rating[:9])
