"""What is read from a scene is checked: it may come from anybody. On a real heat map node."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.slicer_scene import SPEC, fake_result, slicer

from CLIPLungLib.calibration.truth import LIDC_READERS, OUTCOME, Truth
from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.result import NoduleMeasurement
from CLIPLungLib.scene import result_record, result_store
from CLIPLungLib.scene.mask_text import mask_from_plain, mask_to_plain

MEASUREMENT = NoduleMeasurement(14.0, (12.0, 16.5), 13.0, 1200.0, (900.0, 1600.0), (1.0, 2.0, 3.0))


def outline(seed: int = 0) -> np.ndarray:
    """A ball with a ragged edge on the heat map's grid."""
    k, j, i = np.indices(SPEC.shape)
    distance = np.sqrt((k - 12) ** 2 * 7 + (j - 30) ** 2 + (i - 33) ** 2)
    return distance + np.random.default_rng(seed).normal(0, 1, SPEC.shape) < 9


def full_result():
    return replace(fake_result(), outline=outline(), measurement=MEASUREMENT)


@pytest.fixture
def node(ct_node, points):
    return result_store.store_result(ct_node, points, "1", full_result())


def record_of(node) -> dict:
    return json.loads(node.GetAttribute(result_record.RESULT))


def test_everything_comes_back(node):
    result = result_record.read_record(node).result
    assert result.to_dict() == full_result().to_dict()
    assert result.outline.dtype == bool
    np.testing.assert_array_equal(result.outline, outline())
    assert result.measurement == MEASUREMENT


def test_whose_truth_it_is_comes_back(ct_node, points):
    given = replace(
        fake_result(), class_probabilities=(0.2, 0.0, 0.8), truth=Truth(OUTCOME, 412, 300, 120, "a.csv", "2026-11-26")
    )
    node = result_store.store_result(ct_node, points, "1", given)
    assert result_record.read_record(node).result.truth == given.truth
    table = result_store.result_table.find_table(points)
    assert table.GetTable().GetValueByName(0, "truth").ToString() == "malignant by outcome of 412 local cases"
    assert "malignant by outcome" in result_store.show_stored(points, "1").chart_node.GetTitle()


def test_a_record_from_before_there_was_a_choice_is_of_lidcs_readers(node):
    record = record_of(node)
    del record["result"]["truth"]
    node.SetAttribute(result_record.RESULT, json.dumps(record))
    assert result_record.read_record(node).result.truth == LIDC_READERS


@pytest.mark.parametrize(
    "truth",
    [{}, [], "outcome", {"whose": "outcome", "cases": 0}, {"whose": "pathology"}, {"cases": 1e9}, {"cases": True}],
)
def test_a_truth_that_is_none_is_refused(node, truth):
    record = record_of(node)
    plain = ({**record["result"]["truth"], **truth} if isinstance(truth, dict) else truth) if truth else truth
    record["result"]["truth"] = plain
    node.SetAttribute(result_record.RESULT, json.dumps(record))
    with pytest.raises(InputError, match="damaged"):
        result_record.read_record(node)


def test_the_outline_is_stored_in_little_space(node):
    assert len(json.dumps(record_of(node)["outline"])) < outline().size / 20


def test_a_record_without_outline_still_reads(node):
    record = record_of(node)
    del record["outline"]
    node.SetAttribute(result_record.RESULT, json.dumps(record))
    assert result_record.read_record(node).result.outline is None
    assert result_record.read_record(node).result.measurement == MEASUREMENT


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (8, 8, 8)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_masks_of_any_shape_come_back(shape, share):
    mask = np.random.default_rng(1).random(shape) < share
    plain = json.loads(json.dumps(mask_to_plain(mask)))
    np.testing.assert_array_equal(mask_from_plain(plain, shape), mask)


def test_an_outline_on_another_grid_is_not_stored(ct_node, points):
    with pytest.raises(InputError, match=r"outline.*Analyse"):
        result_store.store_result(ct_node, points, "1", replace(fake_result(), outline=np.zeros((2, 3, 4), bool)))


def test_a_result_that_could_not_be_read_again_is_not_stored(ct_node, points):
    with pytest.raises(InputError, match="probability"):
        result_store.store_result(ct_node, points, "1", replace(fake_result(), malignancy_probability=1.2))
    with pytest.raises(InputError, match="not kept"):
        result_store.store_result(ct_node, points, "1", replace(fake_result(), diameter_mm=float("nan")))


def bomb() -> dict:
    """256 MB of zeros in some text, said to be of the right shape."""
    import base64
    import zlib

    compressor = zlib.compressobj(9)
    data = b"".join(compressor.compress(bytes(2**20)) for _ in range(256)) + compressor.flush()
    return {"shape": list(SPEC.shape), "bits": base64.b64encode(data).decode()}


DAMAGES = {
    "probability above 1": ("result.malignancy_probability", 1.5),
    "probability below 0": ("result.malignancy_probability", -0.1),
    "probability as text": ("result.malignancy_probability", "0.5"),
    "probability as truth": ("result.malignancy_probability", True),
    "probability missing": ("result.malignancy_probability", None),
    "infinite diameter": ("result.diameter_mm", float("inf")),
    "negative diameter": ("result.diameter_mm", -3.0),
    "huge diameter": ("result.diameter_mm", 10**400),
    "NaN in the point": ("result.point_ras_mm", [0.0, float("nan"), 0.0]),
    "point with two numbers": ("result.point_ras_mm", [0.0, 0.0]),
    "point of text": ("result.point_ras_mm", "123"),
    "classes that sum to 2": ("result.class_probabilities", {"benign": 1.0, "unsure": 0.5, "malignant": 0.5}),
    "a class missing": ("result.class_probabilities", {"benign": 0.5, "malignant": 0.5}),
    "a class too many": ("result.class_probabilities", {"benign": 0.5, "unsure": 0.2, "malignant": 0.2, "odd": 0.1}),
    "signs missing": ("result.attributes", {}),
    "signs as list": ("result.attributes", [1, 2]),
    "level out of its scale": ("result.attributes.margin.level", 9.0),
    "similarity above 1": ("result.attributes.margin.similarity", 1.5),
    "too few level probabilities": ("result.attributes.margin.level_probabilities", [1.0]),
    "text of a sign is a number": ("result.attributes.margin.text", 5),
    "unknown class in the set": ("result.class_set", ["evil"]),
    "class twice in the set": ("result.class_set", ["benign", "benign"]),
    "warnings as text": ("result.warnings", "careful"),
    "warning is a number": ("result.warnings", [3]),
    "model is a list": ("result.model", ["a"]),
    "model holds a number": ("result.model", {"version": 1}),
    "image holds a list": ("result.image", {"name": []}),
    "interval runs backwards": ("result.measurement.diameter_interval_mm", [16.0, 12.0]),
    "interval of one": ("result.measurement.diameter_interval_mm", [16.0]),
    "volume is NaN": ("result.measurement.volume_mm3", float("nan")),
    "centroid is text": ("result.measurement.center_ras", ["a", "b", "c"]),
    "measurement is a list": ("result.measurement", [1]),
    "place of the CT has a hole": ("ct_ijk_to_ras", [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0]]),
    "place of the CT is infinite": ("ct_ijk_to_ras", [[float("inf"), 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    "place of the CT is text": ("ct_ijk_to_ras", [["1", 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    "result is a number": ("result", 7),
    "outline of another shape": ("outline.shape", [1, 2, 3]),
    "outline of a huge shape": ("outline.shape", [10**6, 10**6, 10**6]),
    "outline is no base64": ("outline.bits", "!!!"),
    "outline is not compressed": ("outline.bits", "AAAA"),
    "outline is empty": ("outline.bits", ""),
    "outline is a number": ("outline", 5),
    "outline unpacks to 256 MB": ("outline", "bomb"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_with_reason_and_remedy(node, name):
    path, value = DAMAGES[name]
    record = record_of(node)
    *parents, last = path.split(".")
    holder = record
    for parent in parents:
        holder = holder[parent]
    holder[last] = bomb() if value == "bomb" else value
    node.SetAttribute(result_record.RESULT, json.dumps(record))
    with pytest.raises(InputError, match=r"damaged[\s\S]*Analyse the nodule again"):
        result_record.read_record(node)


@pytest.mark.parametrize("text", ["[" * 100_000, "7", "null", '"text"', '{"format_version": 2}', "{}"])
def test_what_is_no_record_is_refused(node, text):
    node.SetAttribute(result_record.RESULT, text)
    with pytest.raises(InputError, match="Analyse the nodule again"):
        result_record.read_record(node)


def test_a_record_without_end_is_refused(node):
    record = record_of(node)
    record["result"]["warnings"] = ["x" * result_record.MOST_CHARACTERS]
    node.SetAttribute(result_record.RESULT, json.dumps(record))
    with pytest.raises(InputError, match="characters"):
        result_record.read_record(node)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1.5])
def test_a_heat_map_that_is_no_relevance_is_refused(node, value):
    slicer.util.arrayFromVolume(node)[3, 4, 5] = value
    with pytest.raises(InputError, match=r"heat map.*Analyse the nodule again"):
        result_record.read_record(node)


def test_a_text_is_parsed_once_and_a_changed_one_again(node, ct_node, monkeypatch):
    result_record.read_record(node)
    loads, parsed = json.loads, []
    monkeypatch.setattr(result_record.json, "loads", lambda *a, **k: parsed.append(1) or loads(*a, **k))
    for _ in range(5):
        first = result_record.read_record(node).result
    assert parsed == []
    changed = replace(full_result(), malignancy_probability=0.3)
    result_record.write_record(node, ct_node, changed)
    assert result_record.read_record(node).result.malignancy_probability == 0.3
    assert len(parsed) == 1
    # What one caller writes into its facts reaches no other.
    first.image["name"] = "other"
    assert result_record.read_record(node).result.image["name"] == "CT"
