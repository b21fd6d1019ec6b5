"""The repository as a package: what is listed is what is there, and start-up stays light."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import pytest
from helpers.repository import LIBRARY, ROOT, cmake_list, cmake_value, s4ext_values


def test_every_library_file_is_installed():
    assert cmake_list(LIBRARY, "LIBRARY_SCRIPTS") == {
        file.relative_to(LIBRARY).as_posix() for file in LIBRARY.rglob("*.py")
    }
    data = [file for pattern in ("*.safetensors", "*.json") for file in LIBRARY.rglob(pattern)]
    assert cmake_list(LIBRARY, "LIBRARY_RESOURCES") == {file.relative_to(LIBRARY).as_posix() for file in data}


def test_extension_description_equals_the_cmake_values():
    values = s4ext_values()
    for key in ("homepage", "category", "contributors", "description", "iconurl", "screenshoturls", "depends"):
        assert values[key] == cmake_value(f"EXTENSION_{key.upper()}"), key


def test_pictures_the_description_names_exist():
    for url in f"{cmake_value('EXTENSION_ICONURL')} {cmake_value('EXTENSION_SCREENSHOTURLS')}".split():
        assert (ROOT / url.split("/main/")[1]).is_file(), url


@pytest.mark.parametrize(
    "module",
    [
        "CLIPLungLib",
        "CLIPLungLib.cli",
        "CLIPLungLib.inference.classifier",
        "CLIPLungLib.image.read",
        "CLIPLungLib.inference.result",
    ],
)
def test_import_needs_no_heavy_package(module):
    heavy = ("torch", "matplotlib", "SimpleITK", "pydicom", "slicer", "vtk", "sklearn", "transformers", "open_clip")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_an_answer_loads_no_compiler():
    """Slicer has drawn before; torch's compiler brings triton, which ends a process where some versions of Mesa draw."""
    code = """
import sys
sys.path.insert(0, "Testing")
from helpers.made_up_ct import ball_points, made_up_ct
from CLIPLungLib.inference.classifier import NoduleClassifier
shape = (40, 100, 100)
NoduleClassifier.load(device="cpu").classify(made_up_ct(shape), ball_points(shape)[0])
print([name for name in ("torch._dynamo", "triton") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_sources_are_ascii_and_never_unpickle():
    forbidden = re.compile(r"pickle\.load|torch\.load\(|weights_only=False|allow_pickle=True|shell=True")
    # ImageNet weights come in torch's own form: read by its restricted reader, and only the one file whose hash is known.
    by_known_hash = 'torch.load(BytesIO(content), map_location="cpu", weights_only=True)'
    for file in [path for room in ("CLIPLung", "CLIPLungLib", "Testing") for path in (ROOT / room).rglob("*.py")]:
        text = file.read_text(encoding="utf-8")
        assert text.isascii(), file
        # Tests write hostile files, and show that reading one is noticed.
        if ROOT / "Testing" not in file.parents:
            is_pretrained = file.name == "pretrained.py"
            assert text.count(by_known_hash) == is_pretrained, file
            assert not forbidden.search(text.replace(by_known_hash, "")), file


def test_readme_and_card_hold_the_tables_of_the_results_and_the_card_names_the_bundled_weights():
    pytest.importorskip("sklearn", reason="needs the extra 'train'")
    from CLIPLungLib.evaluation.tables import all_tables, readme_table
    from CLIPLungLib.inference.checkpoint import DEFAULT_CHECKPOINT
    from CLIPLungLib.model_card.robustness_table import robustness_table
    from CLIPLungLib.model_card.saliency_table import saliency_table

    folder = ROOT / "Resources" / "ModelCard"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert readme_table(results) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(table in card for table in all_tables(results).values())
    for name, table in (("robustness", robustness_table), ("saliency", saliency_table)):
        assert table(json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))) in card
    assert hashlib.sha256(DEFAULT_CHECKPOINT.read_bytes()).hexdigest() in card
    for picture in re.findall(r'src="([^"]+)"', card):
        assert (folder / picture).is_file(), picture


def test_card_of_the_project_shows_no_patient():
    folder = ROOT / "Resources" / "ModelCard"
    assert not (folder / "gallery").exists()
    assert "gallery/" not in (folder / "model_card.md").read_text(encoding="utf-8")
