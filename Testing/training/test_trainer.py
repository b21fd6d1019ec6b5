"""Training on small made-up nodules: objective, batches, resuming, calibration and figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from CLIPLungLib.calibration.ordinal import Calibration, fit_calibration
from CLIPLungLib.errors import InputError
from CLIPLungLib.lidc.training_patches import PATCH_KINDS, TrainingPatches
from CLIPLungLib.training.objective import LossWeights

pytest.importorskip("sklearn", reason="needs the extra 'train'")

from helpers.tiny_training import CONFIG, NODULES, PATCH, LetterEncoder, tiny_patches

from CLIPLungLib.evaluation.metrics import auc, brier, expected_calibration_error, patient_bootstrap, spearman
from CLIPLungLib.training import DEFAULT_CONFIG
from CLIPLungLib.training.batches import BACKGROUND, TrainingSet, evaluation_batches
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.log import read_rows
from CLIPLungLib.training.predict import views_of
from CLIPLungLib.training.trainer import Trainer


@pytest.fixture(scope="module")
def views() -> TrainingPatches:
    return tiny_patches()


def train(views, folder, config=CONFIG) -> Trainer:
    trainer = Trainer(config, views, NODULES, folder, "cpu", LetterEncoder())
    trainer.run()
    return trainer


def test_prepared_views_survive_the_disk(views, tmp_path):
    views.save(tmp_path / "views.npz")
    again = TrainingPatches.load(tmp_path / "views.npz")
    assert all(np.array_equal(getattr(views, name), getattr(again, name)) for name in vars(views))


def test_batches_hold_only_training_patients_and_follow_from_seed_and_epoch(views):
    data = TrainingSet(views, NODULES, CONFIG)
    assert {NODULES[index].fold for index in data.patches_of_nodule} == {0, 1}
    first, again, other = (next(iter(data.epoch(epoch))) for epoch in (3, 3, 4))
    assert torch.equal(first.planes, again.planes)
    assert not torch.equal(first.planes, other.planes)


def test_empty_planes_are_marked_empty_and_come_from_scans_with_context(views):
    data = TrainingSet(views, NODULES, CONFIG)
    assert len(data.empty_planes) > 0
    assert views.outline[data.empty_planes].max() == 0
    assert set(np.abs(views.height_mm[data.empty_planes])) == {4.0}


def test_outline_lies_where_the_disc_is(views):
    chosen = views_of(views, NODULES, [2], [PATCH_KINDS.index("slice")])
    view, batch = next(evaluation_batches(views, NODULES, chosen, PATCH))
    large = next(i for i, v in enumerate(view) if NODULES[views.nodule[v]].diameter_mm == 14)
    assert batch.exists[large].tolist() == [False, False, True, False, False]
    outline = batch.targets.outline[large, 2]
    # A disc of 14 mm around the middle, 1 mm a pixel.
    assert outline.sum() == pytest.approx(np.pi * 49, rel=0.05)
    assert outline[12:20, 12:20].min() == 1
    assert outline[:8].max() == 0
    assert batch.targets.is_outlined.max() == 0  # of slices only a ball is known
    assert batch.planes[large, 2, 16, 16] == pytest.approx(1040 / 1400)


def test_training_learns(views, tmp_path):
    train(views, tmp_path)
    rows = read_rows(tmp_path / "log.csv")
    assert len(rows) == CONFIG.epochs
    assert float(rows[-1]["total"]) < float(rows[0]["total"])


def batch_with_background(views):
    """The first batch of the first epoch, and which of its patches are background (the last)."""
    batch = next(iter(TrainingSet(views, NODULES, CONFIG).epoch(0)))
    return batch, torch.tensor([False] * CONFIG.batch_size + [True])


def test_background_has_no_opinion_but_teaches_the_outline(views, tmp_path):
    batch, background = batch_with_background(views)
    assert batch.targets.sample_weight[background].tolist() == [0.0]
    assert batch.targets.sample_weight[~background].min() > 0
    assert batch.targets.outline[background].max() == 0
    assert batch.targets.is_outlined[background].tolist() == [1.0]
    trainer = Trainer(CONFIG, views, NODULES, tmp_path, "cpu", LetterEncoder())
    output = trainer.network(batch.planes, batch.exists)
    terms = trainer.objective(output, batch.targets)
    answers = (output.class_logits, output.rating, output.log_diameter, output.image_features)
    for gradient in torch.autograd.grad(terms["total"], answers, retain_graph=True):
        assert gradient[background].abs().sum() == 0
        assert gradient[~background].abs().sum() > 0
    logits = output.maps.outline_logits
    of_background = background[output.maps.patch_of_map]
    assert torch.autograd.grad(terms["total"], logits)[0][of_background].abs().sum() > 0


def test_background_views_are_never_shown_as_nodules(views):
    data = TrainingSet(views, NODULES, CONFIG)
    assert len(data.background_patches_found) > 0
    assert (views.kind[np.concatenate([*data.patches_of_nodule.values()])] != BACKGROUND).all()


@pytest.mark.parametrize("seed", range(5))
def test_validation_patients_are_neither_trained_on_nor_of_the_fold_left_out(views, seed):
    config = replace(CONFIG, train_folds=(0, 1, 2, 3), seed=seed)
    data = TrainingSet(views, NODULES, config)

    def patients(nodules):
        return {NODULES[index].patient_id for index in nodules}

    used = np.concatenate([*data.patches_of_nodule.values(), data.background_patches_found])
    learned, apart = patients(views.nodule[used]), patients(data.validation_nodules)
    assert len(apart) == 4  # a quarter of 16 patients
    assert not learned & apart
    assert learned | apart == patients(index for index, item in enumerate(NODULES) if item.fold != 4)
    assert not patients(views.nodule[np.searchsorted(views.first_plane, data.empty_planes, "right") - 1]) & apart


@pytest.mark.parametrize(
    ("scores", "best"), [((0.2, 0.9, 0.4, 0.5), 1), ((np.nan, 0.1, np.nan, 0.1), 3), ([np.nan] * 4, 3)]
)
def test_the_best_epoch_is_that_of_the_highest_validation_score_with_its_texts(
    views, tmp_path, monkeypatch, scores, best
):
    monkeypatch.setattr("CLIPLungLib.training.trainer.CHOICE_SHARE", 1.0)
    given, seen = iter(scores), []

    class Scored(Trainer):
        def _validation_score(self):
            seen.append(
                [{k: v.clone() for k, v in m.state_dict().items()} for m in (self.average.module, self.objective.bank)]
            )
            return next(given)

    trainer = Scored(CONFIG, views, NODULES, tmp_path, "cpu", LetterEncoder())
    found = trainer.run(), trainer.objective.bank
    for module, states in zip(found, zip(*seen, strict=True), strict=True):
        same = [all(torch.equal(v, state[k]) for k, v in module.state_dict().items()) for state in states]
        assert same == [epoch == best for epoch in range(4)]


def test_the_validation_score_is_logged_for_the_last_epochs(views, tmp_path):
    train(views, tmp_path)
    scored = ["validation_spearman" in row for row in read_rows(tmp_path / "log.csv")]
    assert scored == [False, False, True, True]


def test_the_time_left_is_told_after_every_epoch(views, tmp_path, caplog):
    caplog.set_level("INFO", "CLIPLungLib")
    calls = []
    Trainer(replace(CONFIG, epochs=2), views, NODULES, tmp_path, "cpu", LetterEncoder()).run(lambda *c: calls.append(c))
    assert calls == [(1, 2), (2, 2)]
    assert "epoch 1 of 2, about " in caplog.text
    assert "epoch 2 of 2, about 0 s left: " in caplog.text


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
        text_interval=1,
        empty_planes=0,
        background_patches=0,
    )
    trainer = train(views, tmp_path, published)
    bank = trainer.objective.eval().text_bank()
    assert bank.levels.shape == (40, 8)


def test_predictions_do_not_depend_on_order(views, tmp_path):
    trainer = train(views, tmp_path, replace(CONFIG, epochs=1))
    network = trainer.average.module
    chosen = views_of(views, NODULES, [0, 2], [0, 1, 2, 3])
    forward, backward = (trainer.answer(network, part) for part in (chosen, chosen[::-1]))
    a, b = np.argsort(forward.view), np.argsort(backward.view)
    np.testing.assert_array_equal(forward.view[a], backward.view[b])
    np.testing.assert_allclose(forward.malignancy_score[a], backward.malignancy_score[b], atol=1e-5)


def test_configuration_file_of_the_bundled_model_is_readable_and_round_trips():
    config = TrainConfig.read(DEFAULT_CONFIG)
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="unexpected keyword argument 'speed'"):
        TrainConfig.from_dict({"speed": 1})


def test_calibration_recovers_the_curve_that_made_the_data():
    rng = np.random.default_rng(0)
    true = Calibration(2.0, (-1.0, 0.5, 1.5))
    malignancy_score = rng.normal(0, 1.5, 20_000)
    above = rng.random(len(malignancy_score))[:, None] < true.exceeds(malignancy_score)
    rating = np.array([2.0, 2.75, 3.25, 4.0])[above.sum(axis=1)]
    found = fit_calibration(malignancy_score, rating)
    assert found.slope == pytest.approx(true.slope, rel=0.05)
    np.testing.assert_allclose(found.offsets, true.offsets, atol=0.1)


def test_calibrated_classes_sum_to_one_and_never_contradict_the_headline():
    calibration = Calibration(1.7, (-0.5, 0.0, 0.9))
    malignancy_score = np.linspace(-5, 5, 101)
    classes = calibration.class_probabilities(malignancy_score)
    headline = calibration.malignancy_probability(malignancy_score)
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
