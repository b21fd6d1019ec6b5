"""The second reader in a weights file: read back as it was, refused where it is damaged, and its part in an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from CLIPLungLib.calibration.double_reading import SCORE_PER_RATING
from CLIPLungLib.errors import CheckpointError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.checkpoint import HEADER, Checkpoint, load_checkpoint, save_checkpoint
from CLIPLungLib.inference.classifier import NoduleClassifier
from CLIPLungLib.inference.second_reader_tensors import CENTRES, PREFIX
from CLIPLungLib.model.second_outputs import MALIGNANCY, SECOND_OUTPUTS
from CLIPLungLib.model.second_reader import SecondReader

BALL = (10.0, -20.0, 30.0)


def second_reader(rating: float = 4.5) -> SecondReader:
    """Says this rating of every nodule, and nothing else."""
    torch.manual_seed(3)
    reader = SecondReader(centres=6)
    place = SECOND_OUTPUTS.index(MALIGNANCY)
    reader.offset[place], reader.is_told[place] = rating, 1.0
    reader.features.half().float()
    return reader


@pytest.fixture
def both(tiny_checkpoint_file, tmp_path) -> Path:
    file = tmp_path / "both.safetensors"
    save_checkpoint(file, replace(load_checkpoint(tiny_checkpoint_file), second_reader=second_reader()))
    return file


def test_it_is_read_back_and_has_a_version_of_its_own(both, tiny_checkpoint_file):
    loaded = load_checkpoint(both)
    assert loaded.second_reader is not None
    kept, wanted = loaded.second_reader.state_dict(), second_reader().state_dict()
    assert all(torch.equal(kept[name], wanted[name]) for name in wanted)
    with safe_open(both, "pt") as stored, safe_open(tiny_checkpoint_file, "pt") as alone:
        assert '"version": 5' in stored.metadata()[HEADER]
        assert '"version": 3' in alone.metadata()[HEADER]
        assert stored.get_tensor(CENTRES).dtype == torch.float16
    assert load_checkpoint(tiny_checkpoint_file).second_reader is None


def without(name: str):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def changed(name: str, change):
    return lambda tensors: tensors | {name: change(tensors[name])}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (without(f"{PREFIX}offset"), "missing or unknown"),
        (without(CENTRES), "must hold 1 to"),
        (lambda tensors: tensors | {f"{PREFIX}more": torch.zeros(1)}, "missing or unknown"),
        (changed(CENTRES, lambda t: t[:, :5].contiguous()), "expected"),
        (changed(CENTRES, lambda t: t.float()), "expected"),
        (changed(CENTRES, lambda t: t[:0]), "must hold 1 to"),
        (changed(f"{PREFIX}coefficients", lambda t: t + torch.nan), "of numbers"),
        (changed(f"{PREFIX}deviation", lambda t: t * 0), "above 0"),
        (changed(f"{PREFIX}features.trunk.stem.0.0.weight", lambda t: t[:1]), "expected"),
    ],
)
def test_damaged_ones_are_refused_with_the_reason(both, tmp_path, damage, reason):
    with safe_open(both, "pt") as stored:
        header, tensors = stored.metadata(), {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    file = tmp_path / "damaged.safetensors"
    save_file(damage(tensors), file, header)
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(file)


def scores(checkpoint: Checkpoint, ct: CTVolume) -> np.ndarray:
    result = NoduleClassifier(checkpoint, "cpu").classify(ct, BALL)
    return np.array([result.malignancy_probability, result.diameter_mm])


def test_it_has_its_say_in_the_probability_and_leaves_what_it_was_not_told(tiny_checkpoint_file, ball_ct):
    alone = load_checkpoint(tiny_checkpoint_file)
    mild, severe = (replace(alone, second_reader=second_reader(rating)) for rating in (1.0, 5.0))
    low, middle, high = (scores(one, ball_ct) for one in (mild, alone, severe))
    assert low[0] < middle[0] < high[0]
    assert low[1] == middle[1] == high[1]
    # Half of each score: the curve of the tiny checkpoint has the slope 2.
    logit = [np.log(p / (1 - p)) for p in (low[0], high[0])]
    assert logit[1] - logit[0] == pytest.approx(2 * SCORE_PER_RATING * 4 / 2, abs=1e-3)
