"""Training on small made-up nodules: objective, batches, resuming, calibration and figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from CLIPLungLib.attributes import ATTRIBUTES
from CLIPLungLib.calibration import Calibration, fit_calibration
from CLIPLungLib.errors import InputError
from CLIPLungLib.lidc.prepare import VIEW_KINDS, PreparedViews
from CLIPLungLib.lidc.table import LidcNodule
from CLIPLungLib.model.network import NetworkConfig
from CLIPLungLib.model.objective import LossWeights
from CLIPLungLib.patch import PatchSpec

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.training.batches import TrainingSet, evaluation_batches
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.loop import Trainer
from CLIPLungLib.training.metrics import auc, brier, expected_calibration_error, patient_bootstrap, spearman
from CLIPLungLib.training.predict import predict_views, views_of

PATCH = PatchSpec(shape=(5, 32, 32), spacing_mm=(2.0, 1.0, 1.0))
CONFIG = TrainConfig(
    train_folds=(0, 1),
    epochs=4,
    batch_size=4,
    learning_rate=1e-3,
    conditioned_texts=1,
    patch=PATCH,
    network=NetworkConfig(planes=5, pixels=32, text_dim=8),
    losses=LossWeights(rating=1.0, diameter=1.0, gate=1.0),
)


class LetterEncoder:
    """Makes a tiny frozen text encoder with the real interface, so that training tests need no language model."""

    def __new__(cls):
        from CLIPLungLib.model.text_encoder import PromptTokens, TextEncoder

        class Letters(TextEncoder):
            name, width, dim = "letters", 6, 8

            def __init__(self):
                super().__init__()
                generator = torch.Generator().manual_seed(5)
                self.table = torch.nn.Parameter(torch.randn(128, 6, generator=generator))
                self.out = torch.nn.Parameter(torch.randn(6, 8, generator=generator))
                self.freeze()

            def tokenize(self, texts):
                longest = max(len(text) for text in texts)
                ids = torch.tensor([[ord(c) for c in text.ljust(longest)] for text in texts])
                return PromptTokens(ids, torch.tensor([[i < len(text) for i in range(longest)] for text in texts]))

            def embed(self, ids):
                return self.table[ids]

            def encode(self, embeddings, mask):
                mean = (torch.tanh(embeddings) * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
                return torch.nn.functional.normalize(mean @ self.out, dim=-1)

        return Letters()


def nodule(index: int) -> LidcNodule:
    large = index % 2 == 1
    return LidcNodule(
        nodule_id=f"n{index}",
        patient_id=f"p{index // 2}",
        fold=(index // 2) % 5,
        n_readers=4,
        diameter_mm=14.0 if large else 6.0,
        malignancy=4.5 if large else 1.5,
        ratings={a.name: (min(5, len(a.levels)),) * 4 if large else (1,) * 4 for a in ATTRIBUTES},
        point_ras=None,
        images={},
        slice_index=index,
        slice_pixel_mm=1.0,
    )


NODULES = [nodule(index) for index in range(40)]


@pytest.fixture(scope="module")
def views() -> PreparedViews:
    """Bright discs on lung: a slice of every nodule, and cubes with empty planes of the first ten."""
    y, x = np.mgrid[:48, :48] - 23.5
    hu, outline, height, kinds, owners, counts = [], [], [], [], [], []
    for index, item in enumerate(NODULES):
        disc = np.hypot(y, x) <= item.diameter_mm / 2
        for kind, heights in [("slice", [0.0])] + ([("cube", [-4.0, -2.0, 0.0, 2.0, 4.0])] if index < 10 else []):
            for z in heights:
                inside = disc & (abs(z) < 1)
                hu.append(np.where(inside, 40, -850))
                outline.append(inside * 255)
            height += heights
            kinds.append(VIEW_KINDS.index(kind))
            owners.append(index)
            counts.append(len(heights))
    return PreparedViews(
        hu=np.array(hu, np.int16),
        outline=np.array(outline, np.uint8),
        height_mm=np.array(height, np.float32),
        first_plane=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        plane_count=np.array(counts),
        nodule=np.array(owners),
        kind=np.array(kinds),
    )


def train(views, folder, config=CONFIG, stop_after=None) -> Trainer:
    trainer = Trainer(config, views, NODULES, folder, "cpu", LetterEncoder())

    def progress(done, total):
        if done == stop_after:
            raise KeyboardInterrupt

    trainer.run(progress)
    return trainer


def test_prepared_views_survive_the_disk(views, tmp_path):
    views.save(tmp_path / "views.npz")
    again = PreparedViews.load(tmp_path / "views.npz")
    assert all(np.array_equal(getattr(views, name), getattr(again, name)) for name in vars(views))


def test_batches_hold_only_training_patients_and_follow_from_seed_and_epoch(views):
    data = TrainingSet(views, NODULES, CONFIG)
    assert {NODULES[index].fold for index in data.views_of_nodule} == {0, 1}
    first, again, other = (next(iter(data.epoch(epoch))) for epoch in (3, 3, 4))
    assert torch.equal(first.planes, again.planes)
    assert not torch.equal(first.planes, other.planes)


def test_empty_planes_are_marked_empty_and_come_from_scans_with_context(views):
    data = TrainingSet(views, NODULES, CONFIG)
    assert len(data.empty_planes) > 0
    assert views.outline[data.empty_planes].max() == 0
    assert set(np.abs(views.height_mm[data.empty_planes])) == {4.0}


def test_gate_target_lies_where_the_disc_is(views):
    chosen = views_of(views, NODULES, [2], [VIEW_KINDS.index("slice")])
    view, batch = next(evaluation_batches(views, NODULES, chosen, PATCH))
    large = next(i for i, v in enumerate(view) if NODULES[views.nodule[v]].diameter_mm == 14)
    assert batch.exists[large].tolist() == [False, False, True, False, False]
    gate = batch.targets.gate[large, 2]
    assert gate[1:3, 1:3].min() > 0.5
    assert gate[0].max() == 0
    assert batch.planes[large, 2, 16, 16] == pytest.approx(1040 / 1400)


def test_training_learns_and_resuming_after_a_kill_changes_nothing(views, tmp_path):
    whole = train(views, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(views, tmp_path / "killed", stop_after=2)
    resumed = train(views, tmp_path / "killed")
    for key, value in whole.average.state_dict().items():
        torch.testing.assert_close(value, resumed.average.state_dict()[key], msg=key)
    lines = (tmp_path / "killed" / "log.csv").read_text().splitlines()
    assert len(lines) == 1 + CONFIG.epochs
    losses = [float(line.split(",")[lines[0].split(",").index("total")]) for line in lines[1:]]
    assert losses[-1] < losses[0]


def test_state_of_another_network_is_refused(views, tmp_path):
    train(views, tmp_path, replace(CONFIG, epochs=1))
    other = replace(CONFIG, network=replace(CONFIG.network, encoder="channel"), losses=replace(CONFIG.losses, gate=0.0))
    with pytest.raises(Exception, match="another network"):
        Trainer(other, views, NODULES, tmp_path, "cpu", LetterEncoder())


def test_text_features_of_another_size_are_refused(views, tmp_path):
    other = replace(CONFIG, network=replace(CONFIG.network, text_dim=12))
    with pytest.raises(InputError, match=r"features of 8 numbers.*Set network\.text_dim to 8"):
        Trainer(other, views, NODULES, tmp_path, "cpu", LetterEncoder())


def test_the_papers_text_encoder_trains_too(views, tmp_path):
    pytest.importorskip("open_clip", reason="needs the extra 'train'")
    from CLIPLungLib.model.text_encoder import OpenCLIPTextEncoder

    config = replace(CONFIG, epochs=1, batch_size=16, network=replace(CONFIG.network, text_dim=512))
    trainer = Trainer(config, views, NODULES, tmp_path, "cpu", OpenCLIPTextEncoder(pretrained=None))
    trainer.run()
    assert trainer.objective.eval().text_bank().levels.shape == (40, 512)


def test_the_published_variant_trains_too(views, tmp_path):
    published = replace(
        CONFIG,
        epochs=1,
        network=replace(CONFIG.network, encoder="channel"),
        losses=LossWeights(),
        conditioned_texts=-1,
        empty_planes=0,
    )
    trainer = train(views, tmp_path, published)
    bank = trainer.objective.eval().text_bank()
    assert bank.levels.shape == (40, 8)


def test_predictions_do_not_depend_on_order(views, tmp_path):
    network = train(views, tmp_path, replace(CONFIG, epochs=1)).average.module
    chosen = views_of(views, NODULES, [0, 2], [0, 1, 2, 3])
    forward, backward = (
        predict_views(network, views, NODULES, part, PATCH, torch.device("cpu")) for part in (chosen, chosen[::-1])
    )
    a, b = np.argsort(forward.view), np.argsort(backward.view)
    np.testing.assert_array_equal(forward.view[a], backward.view[b])
    np.testing.assert_allclose(forward.suspicion[a], backward.suspicion[b], atol=1e-5)


def test_configuration_file_of_the_bundled_model_is_readable_and_round_trips():
    config = TrainConfig.read(DEFAULT_CONFIG)
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="unexpected keyword argument 'speed'"):
        TrainConfig.from_dict({"speed": 1})


def test_calibration_recovers_the_curve_that_made_the_data():
    rng = np.random.default_rng(0)
    true = Calibration(2.0, (-1.0, 0.5, 1.5))
    suspicion = rng.normal(0, 1.5, 20_000)
    above = rng.random(len(suspicion))[:, None] < true.exceeds(suspicion)
    rating = np.array([2.0, 2.75, 3.25, 4.0])[above.sum(axis=1)]
    found = fit_calibration(suspicion, rating)
    assert found.slope == pytest.approx(true.slope, rel=0.05)
    np.testing.assert_allclose(found.offsets, true.offsets, atol=0.1)


def test_calibrated_classes_sum_to_one_and_never_contradict_the_headline():
    calibration = Calibration(1.7, (-0.5, 0.0, 0.9))
    suspicion = np.linspace(-5, 5, 101)
    classes = calibration.class_probabilities(suspicion)
    headline = calibration.malignancy_probability(suspicion)
    np.testing.assert_allclose(classes.sum(axis=1), 1)
    assert (classes >= 0).all()
    assert (np.diff(headline) > 0).all()
    assert (classes[:, 2] <= headline).all()


def test_metrics_match_hand_computed_values():
    positive = np.array([False, True, False, True])
    assert auc(positive, np.array([0.1, 0.4, 0.35, 0.8])) == 1.0
    assert auc(positive, np.array([0.5, 0.4, 0.35, 0.8])) == 0.75
    assert np.isnan(auc(np.array([True, True]), np.array([0.1, 0.2])))
    assert brier(positive, np.array([0.0, 1.0, 0.5, 0.5])) == 0.125
    # Two bins: {0.1 (no), 0.1 (yes)}: |1 - 0.2| and {0.9 (no), 0.9 (yes)}: |1 - 1.8|.
    assert expected_calibration_error(positive, np.array([0.1, 0.1, 0.9, 0.9])) == pytest.approx((0.8 + 0.8) / 4)
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])) == pytest.approx(1)


def test_bootstrap_draws_patients_not_nodules():
    patients = np.repeat(["a", "b"], [1, 99])
    values = np.repeat([0.0, 1.0], [1, 99])
    drawn = []
    patient_bootstrap(patients, lambda i: drawn.append(values[i].mean()) or 0.0, repeats=50)
    # Whole patients: only none, one or both of them.
    assert {round(mean, 6) for mean in drawn} == {0.0, 0.99, 1.0}
