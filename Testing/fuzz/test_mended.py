"""What the fuzz has found, each as a test of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.synthetic_dicom import ramp_hu, write_series
from safetensors.torch import load_file, save_file

from CLIPLungLib.errors import CheckpointError, InputError
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.inference.cohort_table import read_cohort
from CLIPLungLib.inference.run_folder import RUN_NAME, take_over
from CLIPLungLib.model_card.from_files import figures_of, read_figures
from CLIPLungLib.training.run_state import load_state
from fuzz import valid_files

DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize("tags", [{"RescaleSlope": "1e38"}, {"RescaleIntercept": "-1e30"}, {"RescaleSlope": "2e6"}])
def test_a_rescale_that_gives_no_hounsfield_units_is_refused(tmp_path, tags):
    write_series(tmp_path, ramp_hu(), **tags)
    with pytest.raises(InputError, match="not in Hounsfield units"):
        read_ct(tmp_path)


def test_a_series_uid_longer_than_any_file_name_names_no_image(tmp_path):
    table = tmp_path / "cohort.csv"
    table.write_text(f"seriesuid,coordX,coordY,coordZ\n1.2.{'9' * 100},1,2,3\n", encoding="utf-8")
    (row,) = read_cohort(table)
    assert "There is no image of the series" in row.fault
    table.write_text(f"seriesuid,coordX,coordY,coordZ\n1.2.{'9' * 400},1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be a file name"):
        read_cohort(table)


def test_a_record_of_a_run_nested_without_end_is_refused(tmp_path):
    (tmp_path / RUN_NAME).write_text(DEEP, encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        take_over(tmp_path, valid_files.cohort_rows(), "abc", False)


def test_figures_nested_without_end_or_of_another_version_are_refused(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(DEEP, encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        read_figures(file)
    file.write_text("{}", encoding="utf-8")
    with (
        pytest.raises(InputError, match="does not hold the figures of this version \\('settings' is missing\\)"),
        figures_of(file),
    ):
        read_figures(file)["settings"]


def changed_state(folder: Path, change) -> Path:
    file = folder / "state.safetensors"
    file.write_bytes(valid_files.training_state()["state.safetensors"])
    tensors, facts = load_file(file), json.dumps({"epochs_done": 3})
    tensors, facts = change(tensors, facts)
    save_file(tensors, file, facts)
    return file


def without_step(tensors, facts):
    return {name: value for name, value in tensors.items() if name != "optimizer/0/step"}, {"facts": facts}


def other_shape(tensors, facts):
    return tensors | {"optimizer/0/exp_avg": tensors["optimizer/0/exp_avg"].flatten()}, {"facts": facts}


def unknown_parameter(tensors, facts):
    return tensors | {"optimizer/9/step": tensors["optimizer/0/step"].clone()}, {"facts": facts}


def nested(tensors, facts):
    return tensors, {"facts": DEEP}


def no_table(tensors, facts):
    return tensors, {"facts": "3"}


def as_it_was(tensors, facts):
    return tensors, {"facts": facts}


@pytest.mark.parametrize("change", [without_step, other_shape, unknown_parameter, nested, no_table])
def test_the_state_of_another_optimizer_is_refused_before_anything_is_taken_over(tmp_path, change):
    module, optimizer = valid_files.small_training()
    before = module.weight.clone()
    with pytest.raises(CheckpointError, match="is no state of a run"):
        load_state(changed_state(tmp_path, change), {"network": module}, optimizer)
    assert (module.weight == before).all()


def test_the_state_of_the_same_optimizer_is_taken_over(tmp_path):
    module, optimizer = valid_files.small_training()
    assert load_state(changed_state(tmp_path, as_it_was), {"network": module}, optimizer) == {"epochs_done": 3}
