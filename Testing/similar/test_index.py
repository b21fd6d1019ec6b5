"""The index: what is compared, who is nearest, what a file keeps and which files are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("slicer")
from helpers.similar_index import COUNT, WEIGHTS, answer, made_up_index

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.reader_reference import SIGN_NAMES
from CLIPLungLib.inference.checkpoint import DEFAULT_CHECKPOINT
from CLIPLungLib.similar.cases import FAR, similar_cases, write_similar
from CLIPLungLib.similar.chart import Dot, similar_chart
from CLIPLungLib.similar.features import FEATURE_COUNT, SIZE, SUSPICION, features, features_of_result
from CLIPLungLib.similar.figures import COMPARED, MALIGNANCY, RATED, TITLES
from CLIPLungLib.similar.index_file import HEADER, read_index, similar_file, write_index
from CLIPLungLib.vocabulary import LEVEL_COUNT


def test_features_are_levels_log_odds_and_log_diameter():
    levels = np.full((3, LEVEL_COUNT), 0.25)
    found = features(levels, np.array([0.5, 0.9, 1.0]), np.array([1.0, np.e, 10.0]))
    assert found.shape == (3, FEATURE_COUNT)
    assert (found[:, :LEVEL_COUNT] == 0.25).all()
    np.testing.assert_allclose(found[:, SUSPICION], [0.0, np.log(9), np.log(9999)])
    np.testing.assert_allclose(found[:, SIZE], [0.0, 1.0, np.log(10)])


def test_features_of_an_answer_are_its_own():
    result = answer(0.9)
    found = features_of_result(result)
    expected = [p for sign in result.attributes for p in sign.level_probabilities]
    np.testing.assert_allclose(found, [*expected, np.log(9), np.log(result.diameter_mm)])


def test_names_of_ratings_are_those_of_the_evaluation():
    assert (MALIGNANCY, *SIGN_NAMES) == RATED
    assert set(TITLES) == set(COMPARED)


def test_nearest_come_first_and_distances_are_euclidean():
    index = made_up_index()
    center = features_of_result(answer())
    center[SUSPICION] += 3.4
    center[SIZE] += 0.3
    rows, distances = index.nearest(center, 4)
    assert rows.tolist() == [3, 4, 2, 5]
    np.testing.assert_allclose(distances, np.hypot([0.4, 0.6, 1.4, 1.6], 0.3), rtol=1e-4)


def test_cases_tell_what_readers_said_and_leave_unknown_out():
    found = similar_cases(answer(), made_up_index())
    assert [case.patient_id for case in found.cases] == [f"LIDC-IDRI-{k:04d}" for k in range(10)]
    assert found.cases[0].malignancy == 5.0
    assert found.cases[2].malignancy is None
    assert found.cases[3].diameter_mm is None
    assert found.mean("diameter_mm") == pytest.approx(np.mean([5, 6, 7, 9, 10, 11, 12, 13, 14]))
    known = [case.malignancy for case in found.cases if case.malignancy is not None]
    assert found.mean(MALIGNANCY) == pytest.approx(np.mean(known))
    assert len(known) == 9
    absent = next(a for a in answer().attributes if a.name == "calcification").level_probabilities[5]
    assert found.signs["calcification_absent"] == absent


def test_far_neighbours_are_said_to_be_far():
    assert not similar_cases(answer(), made_up_index(usual_distance=4.6)).is_far
    assert similar_cases(answer(), made_up_index(usual_distance=4.4)).is_far


def test_answers_of_other_weights_are_refused():
    with pytest.raises(InputError, match=r"weights abababababab, the answer of cdcdcdcdcdcd.*similar-index"):
        similar_cases(answer(sha256="cd" * 32), made_up_index())
    with pytest.raises(InputError, match="unknown weights"):
        similar_cases(replace(answer(), model={}), made_up_index())


def test_json_names_the_cases_and_their_source(tmp_path):
    found = similar_cases(answer(), made_up_index(usual_distance=1.0))
    write_similar(found, tmp_path / "similar.json")
    plain = json.loads((tmp_path / "similar.json").read_text(encoding="utf-8"))
    assert plain["cases"][1]["nodule_id"] == "LIDC-IDRI-0001_1_0"
    assert plain["mean"][MALIGNANCY] == pytest.approx(found.mean(MALIGNANCY))
    assert plain["spearman_with_readers"][MALIGNANCY]["neighbours"] == {"value": 0.5, "interval": [0.25, 0.75], "n": 30}
    assert (plain["source"], plain["warning"], plain["weights_sha256"]) == ("made up", FAR, WEIGHTS)


def test_plot_lies_within_its_axes():
    chart = similar_chart(similar_cases(answer(), made_up_index()))
    # 14 mm are the most: an axis of 15 mm in steps of 5. Of nodule 2 no rating is known, of nodule 3 no diameter.
    assert [mm for _, mm in chart.diameter_ticks] == [0, 5, 10, 15]
    assert chart.dots[0] == Dot(5 / 15, 1.0)
    assert len(chart.dots) == 8
    assert chart.this_x == pytest.approx(13.96 / 15)
    assert chart.rating_ticks[0] == (0.0, 1)
    assert chart.rating_ticks[-1] == (1.0, 5)


@pytest.mark.parametrize(("mm", "end"), [(5.0, 10), (29.9, 30), (30.0, 40), (999.0, 1000), (5000.0, 5200)])
def test_axis_of_diameters_holds_the_largest(mm, end):
    found = replace(similar_cases(answer(), made_up_index()), diameter_mm=mm, cases=())
    assert similar_chart(found).diameter_ticks[-1] == (1.0, end)


def test_file_keeps_everything(tmp_path):
    file, index = similar_file(tmp_path / "own.safetensors"), made_up_index()
    assert file.name == "own.similar.safetensors"
    write_index(file, index)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    found = read_index(file)
    for name, value in vars(index).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value)
            assert getattr(found, name).dtype == value.dtype
        else:
            assert getattr(found, name) == value


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no index of similar cases for these weights"):
        read_index(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"'similar' is missing.*similar-index"):
        read_index(DEFAULT_CHECKPOINT)
    torn = tmp_path / "torn.safetensors"
    write_index(torn, made_up_index())
    torn.write_bytes(torn.read_bytes()[:-7])
    with pytest.raises(InputError, match="holds no index"):
        read_index(torn)


def rewritten(file, **changes):
    """The file with other arrays or header entries."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    write_index(file, made_up_index())
    with safe_open(file, framework="numpy") as stored:
        header = json.loads(stored.metadata()[HEADER])
        arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    for name, value in changes.items():
        (arrays if name in arrays else header)[name] = value
    save_file(arrays, file, {HEADER: json.dumps(header)})
    return file


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "format"),
        ({"usual_distance": "far"}, "no number"),
        ({"nodule_ids": ["a"]}, "shape"),
        ({"patient_ids": ["a"]}, "patients"),
        ({"source": 3}, "no text"),
        ({"center": np.zeros(3, np.float32)}, "center"),
        ({"places": np.full((COUNT, 2), np.inf, np.float16)}, "not numbers"),
        ({"places": np.zeros((COUNT, 2), np.int32)}, "int32"),
        ({"readers": np.zeros(COUNT, np.float32)}, "float32"),
        ({"figures": {}}, "malignancy"),
        ({"choices": {"a": True}}, "no number"),
    ],
)
def test_damaged_files_are_refused_with_the_reason(tmp_path, change, reason):
    with pytest.raises(InputError, match=f"holds no index.*{reason}.*similar-index"):
        read_index(rewritten(tmp_path / "own.safetensors", **change))


def test_bundled_index_belongs_to_the_bundled_weights():
    import hashlib

    index = read_index(similar_file(DEFAULT_CHECKPOINT))
    assert index.weights_sha256 == hashlib.sha256(DEFAULT_CHECKPOINT.read_bytes()).hexdigest()
    assert similar_file(DEFAULT_CHECKPOINT).stat().st_size < 1_000_000
    assert all(name.startswith("LIDC-IDRI-") for name in (*index.patient_ids, *index.nodule_ids))
    assert "10.7937/K9/TCIA.2015.LO9QL9SX" in index.source
