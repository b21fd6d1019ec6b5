"""Training on small made-up nodules: batches, objective, the choice of the best epoch."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.tiny_training import CONFIG, NODULES, PATCH, LetterEncoder, tiny_patches, train_in

from CLIPLungLib.dataset.nodule_images import PATCH_KINDS
from CLIPLungLib.dataset.training_patches import TrainingPatches
from CLIPLungLib.errors import InputError
from CLIPLungLib.training.batches import evaluation_batches
from CLIPLungLib.training.log import read_rows
from CLIPLungLib.training.objective import LossWeights
from CLIPLungLib.training.trainer import Trainer
from CLIPLungLib.training.training_set import BACKGROUND, TrainingSet


@pytest.fixture(scope="module")
def patches() -> TrainingPatches:
    return tiny_patches()


def test_batches_hold_only_training_patients_and_follow_from_seed_and_epoch(patches):
    data = TrainingSet(patches, NODULES, CONFIG)
    assert {NODULES[index].fold for index in data.patches_of_nodule} == {0, 1}
    first, again, other = (next(iter(data.epoch(epoch))) for epoch in (3, 3, 4))
    assert torch.equal(first.planes, again.planes)
    assert not torch.equal(first.planes, other.planes)


def test_empty_planes_are_marked_empty_and_come_from_scans_with_context(patches):
    data = TrainingSet(patches, NODULES, CONFIG)
    assert len(data.empty_planes) > 0
    assert patches.outline[data.empty_planes].max() == 0
    assert set(np.abs(patches.height_mm[data.empty_planes])) == {4.0}


def test_outline_lies_where_the_disc_is(patches):
    of_fold = np.array([nodule.fold == 2 for nodule in NODULES])[patches.nodule]
    chosen = np.flatnonzero(of_fold & (patches.kind == PATCH_KINDS.index("slice")))
    found, batch = next(evaluation_batches(patches, NODULES, chosen, PATCH))
    large = next(i for i, patch in enumerate(found) if NODULES[patches.nodule[patch]].diameter_mm == 14)
    assert batch.exists[large].tolist() == [False, False, True, False, False]
    outline = batch.targets.outline[large, 2]
    # A disc of 14 mm around the middle, 1 mm a pixel.
    assert outline.sum() == pytest.approx(np.pi * 49, rel=0.05)
    assert outline[12:20, 12:20].min() == 1
    assert outline[:8].max() == 0
    assert batch.targets.is_outlined.max() == 0  # of slices only a ball is known
    assert batch.planes[large, 2, 16, 16] == pytest.approx(1040 / 1400)


def test_training_learns(tmp_path):
    train_in(tmp_path)
    rows = read_rows(tmp_path / "log.csv")
    assert len(rows) == CONFIG.epochs
    assert float(rows[-1]["total"]) < float(rows[0]["total"])


def test_evaluation_shows_every_chosen_patch_once_with_its_own_planes(patches):
    """Whatever the order asked for and the size of the batches, each patch comes with the same planes."""
    spec, chosen = CONFIG.patch, np.arange(len(patches.kind))
    shown = {}
    for order, size in ((chosen, 16), (chosen[::-1], 7)):
        for found, batch in evaluation_batches(patches, NODULES, order, spec, size):
            for patch, planes, exists in zip(found, batch.planes, batch.exists, strict=True):
                assert int(exists.sum()) == patches.plane_count[patch]
                if patch in shown:
                    assert torch.equal(shown[patch], planes)
                shown[int(patch)] = planes
    assert sorted(shown) == chosen.tolist()


def test_grey_values_are_those_of_inference(patches):
    """Training and inference must see the same numbers for the same HU."""
    for _, batch in evaluation_batches(patches, NODULES, np.arange(8), PATCH):
        seen = set(np.unique(batch.planes[batch.exists].numpy()).tolist())
        assert seen == set(np.unique(PATCH.normalise(np.array([-850.0, 40.0], np.float32))).tolist())


def batch_with_background(patches):
    """The first batch of the first epoch, and which of its patches are background (the last)."""
    batch = next(iter(TrainingSet(patches, NODULES, CONFIG).epoch(0)))
    return batch, torch.tensor([False] * CONFIG.batch_size + [True])


def test_background_has_no_opinion_but_teaches_the_outline(patches, tmp_path):
    batch, background = batch_with_background(patches)
    assert batch.targets.sample_weight[background].tolist() == [0.0]
    assert batch.targets.sample_weight[~background].min() > 0
    assert batch.targets.outline[background].max() == 0
    assert batch.targets.is_outlined[background].tolist() == [1.0]
    trainer = Trainer(CONFIG, patches, NODULES, tmp_path, "cpu", LetterEncoder())
    output = trainer.network(batch.planes, batch.exists)
    terms = trainer.objective(output, batch.targets)
    answers = (output.class_logits, output.rating, output.log_diameter, output.image_features)
    for gradient in torch.autograd.grad(terms["total"], answers, retain_graph=True):
        assert gradient[background].abs().sum() == 0
        assert gradient[~background].abs().sum() > 0
    logits = output.maps.outline_logits
    of_background = background[output.maps.patch_of_map]
    assert torch.autograd.grad(terms["total"], logits)[0][of_background].abs().sum() > 0


def test_background_patches_are_never_shown_as_nodules(patches):
    data = TrainingSet(patches, NODULES, CONFIG)
    assert len(data.background_patches) > 0
    assert (patches.kind[np.concatenate([*data.patches_of_nodule.values()])] != BACKGROUND).all()


@pytest.mark.parametrize("seed", range(5))
def test_validation_patients_are_neither_trained_on_nor_of_the_fold_left_out(patches, seed):
    config = replace(CONFIG, train_folds=(0, 1, 2, 3), seed=seed)
    data = TrainingSet(patches, NODULES, config)

    def patients(nodules):
        return {NODULES[index].patient_id for index in nodules}

    used = np.concatenate([*data.patches_of_nodule.values(), data.background_patches])
    learned, apart = patients(patches.nodule[used]), patients(data.validation_nodules)
    assert len(apart) == 4  # a quarter of 16 patients
    assert not learned & apart
    assert learned | apart == patients(index for index, item in enumerate(NODULES) if item.fold != 4)
    assert not patients(patches.nodule[np.searchsorted(patches.first_plane, data.empty_planes, "right") - 1]) & apart


@pytest.mark.parametrize(
    ("scores", "best"), [((0.2, 0.9, 0.4, 0.5), 1), ((np.nan, 0.1, np.nan, 0.1), 3), ([np.nan] * 4, 3)]
)
def test_the_best_epoch_is_that_of_the_highest_validation_score_with_its_texts(
    patches, tmp_path, monkeypatch, scores, best
):
    monkeypatch.setattr("CLIPLungLib.training.trainer.CHOICE_SHARE", 1.0)
    given, seen = iter(scores), []

    class Scored(Trainer):
        def _validation_score(self):
            seen.append(
                [{k: v.clone() for k, v in m.state_dict().items()} for m in (self.average.module, self.objective.bank)]
            )
            return next(given)

    trainer = Scored(CONFIG, patches, NODULES, tmp_path, "cpu", LetterEncoder())
    trainer.run()
    states = [network for network, _ in seen]
    same = [all(torch.equal(v, state[k]) for k, v in trainer.best_network.state_dict().items()) for state in states]
    assert same == [epoch == best for epoch in range(4)]
    # The texts and tau are those of the same epoch, though the objective has gone on.
    scales = [float(bank["log_scale"].exp()) for _, bank in seen]
    assert trainer.text_scale == pytest.approx(scales[best])
    assert len({round(scale, 4) for scale in scales}) == 4
    trainer.objective.bank.load_state_dict(seen[best][1])
    expected = trainer.objective.text_bank(trainer.objective.bank)
    assert torch.equal(trainer.text_bank().levels, expected.levels)
    assert torch.equal(trainer.text_bank().classes, expected.classes)


def test_the_validation_score_is_logged_for_the_last_epochs(tmp_path):
    train_in(tmp_path)
    scored = ["validation_spearman" in row for row in read_rows(tmp_path / "log.csv")]
    assert scored == [False, False, True, True]


@pytest.mark.parametrize(("head", "expected"), [(1.0, 1.0), (-1.0, -1.0), (0.0, np.nan)])
def test_the_validation_score_is_the_rank_correlation_with_the_readers(patches, tmp_path, head, expected):
    """A network whose rating is the number of bright pixels, which are those of the disc: large ones are malignant here."""
    config = replace(CONFIG, train_folds=(0, 1, 2, 3, 4), validation_share=0.3)
    trainer = Trainer(config, patches, NODULES, tmp_path, "cpu", LetterEncoder())

    class Brightness(torch.nn.Module):
        def forward(self, planes, _exists):
            bright = (planes > 0.5).sum(dim=(1, 2, 3)).float()
            return SimpleNamespace(malignancy_score=head * bright)

    trainer.average.module = Brightness()
    assert trainer._validation_score() == pytest.approx(expected, nan_ok=True)


def test_without_validation_patients_there_is_no_score_and_the_last_epoch_counts(patches, tmp_path):
    trainer = train_in(tmp_path, replace(CONFIG, validation_share=0.0, epochs=2))
    assert np.isnan(trainer._validation_score())
    assert all("validation_spearman" not in row for row in read_rows(tmp_path / "log.csv"))
    for name, value in trainer.average.module.state_dict().items():
        assert torch.equal(value, trainer.best_network.state_dict()[name]), name


def test_progress_and_figures_are_told_after_every_epoch(patches, tmp_path, caplog):
    caplog.set_level("INFO", "CLIPLungLib")
    calls = []
    Trainer(replace(CONFIG, epochs=2), patches, NODULES, tmp_path, "cpu", LetterEncoder()).run(
        lambda *c: calls.append(c)
    )
    assert calls == [(1, 2), (2, 2)]
    assert "epoch 1 of 2: seconds " in caplog.text
    assert "epoch 2 of 2: seconds " in caplog.text


def test_learned_patches_are_those_of_the_training_patients(patches, tmp_path):
    trainer = Trainer(CONFIG, patches, NODULES, tmp_path, "cpu", LetterEncoder())
    learned = trainer.learned_patches()
    assert len(np.unique(learned)) == len(learned)
    apart = {NODULES[index].patient_id for index in trainer.data.validation_nodules}
    expected = [
        patch
        for patch, owner in enumerate(patches.nodule)
        if NODULES[owner].fold in (0, 1)
        and NODULES[owner].patient_id not in apart
        and patches.kind[patch] != BACKGROUND
    ]
    assert sorted(learned.tolist()) == expected


def test_folds_without_nodules_are_refused(patches, tmp_path):
    with pytest.raises(InputError, match=r"no nodule to train on in the folds \[7\]"):
        Trainer(replace(CONFIG, train_folds=(7,)), patches, NODULES, tmp_path, "cpu", LetterEncoder())


def test_patches_of_another_table_or_size_are_refused(patches, tmp_path):
    with pytest.raises(InputError, match="the table holds 39"):
        Trainer(CONFIG, patches, NODULES[:39], tmp_path, "cpu", LetterEncoder())
    for shape in ((5, 24, 24), (3, 32, 32)):
        other = replace(CONFIG, patch=replace(PATCH, shape=shape))
        with pytest.raises(InputError, match="not prepared for patches of"):
            Trainer(other, patches, NODULES, tmp_path, "cpu", LetterEncoder())


def test_text_features_of_another_size_are_refused(patches, tmp_path):
    other = replace(CONFIG, network=replace(CONFIG.network, text_dim=12))
    with pytest.raises(InputError, match=r"features of 8 numbers.*Set network\.text_dim to 8"):
        Trainer(other, patches, NODULES, tmp_path, "cpu", LetterEncoder())


def test_the_papers_text_encoder_trains_too(patches, tmp_path):
    pytest.importorskip("open_clip", reason="needs the extra 'train'")
    from CLIPLungLib.model.text_encoder import OpenCLIPTextEncoder

    config = replace(CONFIG, epochs=1, batch_size=16, network=replace(CONFIG.network, text_dim=512))
    trainer = Trainer(config, patches, NODULES, tmp_path, "cpu", OpenCLIPTextEncoder(pretrained=None))
    trainer.run()
    assert trainer.text_bank().levels.shape == (40, 512)


def test_the_published_variant_trains_too(tmp_path):
    published = replace(
        CONFIG,
        epochs=1,
        network=replace(CONFIG.network, encoder="channel"),
        losses=LossWeights(
            **dict.fromkeys(vars(CONFIG.losses), 0.0)
            | {"class_": 1.0, "image_class": 1.0, "image_attribute": 1.0, "class_attribute": 0.5}
        ),
        conditioned_texts=-1,
        text_interval=1,
        empty_planes=0,
        background_patches=0,
    )
    assert train_in(tmp_path, published).text_bank().levels.shape == (40, 8)
