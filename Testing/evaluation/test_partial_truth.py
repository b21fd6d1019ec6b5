"""Evaluation of data that lack some of the truth: no diameters, no signs, one reader, outcomes, crops alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.finished_run import NODULES, made_up_run

from CLIPLungLib.dataset.nodule_table import OUTCOME, OUTCOME_RATINGS
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.comparison import BESIDE_ONE_READER, GAINS, OWN_DIAMETER, READERS_DIAMETER, evaluate
from CLIPLungLib.evaluation.figures import AUC_ABOVE_3
from CLIPLungLib.evaluation.fold_models import folds_of_run
from CLIPLungLib.evaluation.one_reader import MODEL
from CLIPLungLib.evaluation.run_choice import read_runs, run_folders
from CLIPLungLib.evaluation.settings import CONTEXT, SLICES, VOLUMES, judged_answers, main_setting
from CLIPLungLib.evaluation.tables import all_tables, left_out_text, readme_table, results_text
from CLIPLungLib.vocabulary import ATTRIBUTE_NAMES

NO_SIGNS = dict.fromkeys(ATTRIBUTE_NAMES, ())


def with_outcome(nodule):
    return replace(
        nodule,
        n_readers=0,
        malignancy=OUTCOME_RATINGS[int(nodule.malignancy > 3)],
        truth=OUTCOME,
        diameter_mm=np.nan,
        volume_mm3=np.nan,
        ratings=NO_SIGNS,
        malignancy_ratings=(),
    )


OUTCOMES = [with_outcome(nodule) for nodule in NODULES]


def results_of(nodules, kinds=("crop", "background"), repeats=10):
    found = evaluate([made_up_run(nodules, kinds)], nodules, repeats)
    # JSON knows no NaN.
    return json.loads(json.dumps(found, allow_nan=False))


def test_outcomes_of_crops_without_diameters_and_signs_are_judged_by_what_there_is():
    found = results_of(OUTCOMES)
    assert (found["main_setting"], found["fewest_readers"]) == (CONTEXT, 1)
    context = found["settings"][CONTEXT]
    assert list(context["figures"]) == [OWN_DIAMETER, "shipped"]
    assert context["outcomes"] == context["nodules"] == context["figures"]["shipped"][AUC_ABOVE_3]["n"]
    assert context["figures"]["shipped"][AUC_ABOVE_3]["value"] > 0.8
    assert GAINS not in context
    assert context[BESIDE_ONE_READER][MODEL] == {}
    assert not any(
        key.startswith("spearman_m") and key != "spearman_malignancy" for key in context["figures"]["shipped"]
    )
    assert set(found["measurement"]) == {"outlined"}
    text = results_text(found)
    assert f"The reference of {context['nodules']} of {context['nodules']} nodules is their outcome" in text
    assert text.endswith(
        "Left out, for the data have no readers' diameter, so no size-only baseline and no error of the size; no ratings of signs; "
        "no nodule with three readers, so no comparison with one reader."
    )
    assert not re.search(r"\bnan\b", text)
    assert len(readme_table(found).splitlines()) == 2 + 2


def test_with_all_the_truth_nothing_is_left_out():
    found = results_of(NODULES, ("volume", "background"))
    assert left_out_text(found) == ""
    assert len(all_tables(found)) == 7


def test_nodules_without_a_label_do_not_count():
    unknown = [
        replace(nodule, malignancy=np.nan, n_readers=0) if index % 4 == 0 else nodule
        for index, nodule in enumerate(NODULES)
    ]
    run = made_up_run(unknown, ("volume",))
    chosen = judged_answers(VOLUMES, run.answers, unknown)
    assert chosen.sum() == np.sum(~run.answers.refused & (run.answers.nodule % 4 != 0))
    assert results_of(unknown, ("volume",))["settings"][VOLUMES]["nodules"] == chosen.sum()


def test_a_floor_is_about_the_nodules_with_a_diameter_and_so_is_the_difference_to_it():
    some = [replace(nodule, diameter_mm=np.nan) if index % 2 else nodule for index, nodule in enumerate(NODULES)]
    volumes = results_of(some, ("volume",))["settings"][VOLUMES]
    figures, gains = volumes["figures"], volumes[GAINS]["shipped"]
    sized = [nodule for nodule in some if np.isfinite(nodule.diameter_mm)]
    assert figures["shipped"]["brier"]["n"] == volumes["nodules"] > figures[READERS_DIAMETER]["brier"]["n"]
    assert gains["brier"]["n"] == figures[READERS_DIAMETER]["brier"]["n"] <= len(sized)
    alone = results_of_sized(some)
    assert gains["brier"]["value"] == pytest.approx(alone - figures[READERS_DIAMETER]["brier"]["value"])


def results_of_sized(nodules) -> float:
    """The model's Brier score over the nodules with a diameter."""
    run = made_up_run(nodules, ("volume",))
    chosen = np.flatnonzero(judged_answers(VOLUMES, run.answers, nodules))
    errors = []
    for place in chosen:
        nodule = nodules[run.answers.nodule[place]]
        if np.isfinite(nodule.diameter_mm):
            score = run.answers.malignancy_score[place : place + 1]
            probability = run.calibrations[nodule.fold].probability.malignancy_probability(score)[0]
            errors.append((probability - (nodule.malignancy > 3)) ** 2)
    return float(np.mean(errors))


def test_one_sign_that_nobody_rated_has_no_figure():
    without = [replace(nodule, ratings=nodule.ratings | {"margin": (), "calcification": ()}) for nodule in NODULES]
    found = results_of(without, ("volume",))
    own = found["settings"][VOLUMES]["figures"]["shipped"]
    assert "spearman_texture" in own
    assert not {"spearman_margin", "spearman_calcification_absent", "auc_calcification_absent"} & own.keys()
    assert "margin" not in results_text(found)


def test_a_nodule_in_context_is_seen_once_and_rather_in_its_crop():
    run = made_up_run(NODULES, ("cube", "crop"))
    chosen = judged_answers(CONTEXT, run.answers, NODULES)
    assert len(np.unique(run.answers.nodule[chosen])) == chosen.sum()
    usable = ~run.answers.refused
    crops, cubes = (run.answers.is_kind(kind) & usable for kind in ("crop", "cube"))
    assert chosen[crops].all()
    # A cube stands in where the click in the crop was refused.
    assert (
        set(run.answers.nodule[chosen & cubes])
        == set(run.answers.nodule[cubes]) - set(run.answers.nodule[crops])
        != set()
    )


def test_the_main_setting_is_the_first_there_is():
    assert main_setting(made_up_run(NODULES, ("slice", "crop")).answers, NODULES) == CONTEXT
    assert main_setting(made_up_run(NODULES, ("slice",)).answers, NODULES) == SLICES
    with pytest.raises(InputError, match="nothing to judge by"):
        main_setting(made_up_run(NODULES, ("background",)).answers, NODULES)


def folder_with(root: Path, *names: str) -> Path:
    for name in names:
        (root / name / "fold0").mkdir(parents=True)
    return root


def test_the_main_run_is_the_shipped_one_or_the_only_one(tmp_path):
    both = folder_with(tmp_path / "both", "plain", "shipped")
    assert [path.name for path in run_folders(both)] == ["plain", "shipped"]
    assert [path.name for path in run_folders(folder_with(tmp_path / "one", "mine"))] == ["mine"]
    assert run_folders(tmp_path / "one" / "mine") == [tmp_path / "one" / "mine"]
    with pytest.raises(InputError, match=r"holds 2 runs \(a, b\) and none is named 'shipped'"):
        run_folders(folder_with(tmp_path / "several", "a", "b"))
    with pytest.raises(InputError, match="holds no cross-validation"):
        read_runs(tmp_path / "nowhere")


def test_a_folder_of_runs_is_not_one_of_them(tmp_path):
    with pytest.raises(InputError, match=r"holds no cross-validation .* Give one of its runs: a, b\.$"):
        folds_of_run(folder_with(tmp_path, "a", "b"))
    with pytest.raises(InputError, match=r"Run 'cliplung crossvalidate' first\.$"):
        folds_of_run(tmp_path / "nowhere")


def test_runs_of_other_images_are_not_compared():
    one, other = made_up_run(NODULES, ("volume",)), made_up_run(NODULES, ("slice",))
    with pytest.raises(InputError, match="answers for other images"):
        evaluate([replace(other, name="other"), one], NODULES, repeats=2)
