"""The arrows between the rooms run down, and the script that says so finds one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.repository import ROOT
from project import import_arrows


def test_no_arrow_of_the_project_runs_back(capsys):
    assert import_arrows.main([str(ROOT)]) == 0, capsys.readouterr().out


def test_picture_shows_known_arrows():
    found = import_arrows.arrows(ROOT)
    pairs = {(arrow.source, arrow.target) for arrow in found}
    assert {("inference", "image"), ("training", "lidc"), ("CLIPLung", "scene"), ("__main__", "cli")} <= pairs
    lines = import_arrows.picture(ROOT, found).splitlines()
    assert lines[0].startswith("CLIPLungLib ")
    assert next(line for line in lines if line.startswith("inference ")).count("image ") == 1


@pytest.fixture
def project(tmp_path) -> Path:
    """A small project in good order."""
    for name, text in {
        "CLIPLungLib/__init__.py": "from CLIPLungLib.version import __version__\n",
        "CLIPLungLib/version.py": "__version__ = '1'\n",
        "CLIPLungLib/errors.py": "",
        "CLIPLungLib/image/__init__.py": "",
        "CLIPLungLib/image/patch.py": "import numpy\nfrom CLIPLungLib.errors import InputError\n",
        "CLIPLungLib/inference/__init__.py": "",
        "CLIPLungLib/inference/result.py": "from CLIPLungLib.image.patch import Patch\n",
        "CLIPLungLib/scene/node.py": "import slicer\nfrom CLIPLungLib.inference.result import NoduleResult\n",
        "CLIPLung/CLIPLung.py": "import qt\nfrom CLIPLungGUI.logic import Logic\n",
        "CLIPLung/CLIPLungGUI/logic.py": "from CLIPLungLib.scene import node\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def add(project: Path, name: str, text: str) -> None:
    """Append to a file of the made-up project."""
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    file.write_text(f"{before}{text}\n", encoding="utf-8")


def test_project_in_good_order_passes(project, capsys):
    assert import_arrows.main([str(project)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "from CLIPLungLib.inference.result import NoduleResult",
        "import CLIPLungLib.inference.result as r",
        "from CLIPLungLib import errors, inference",
        "from CLIPLungLib.inference import result",
        "from ..inference.result import NoduleResult",
        "from .. import inference",
        "def f():\n    from CLIPLungLib.inference import result",
        "if TYPE_CHECKING:\n    from CLIPLungLib.inference.result import NoduleResult",
        "importlib.import_module('CLIPLungLib.inference.result')",
        "from CLIPLungGUI.logic import Logic",
        "import CLIPLung",
    ],
)
def test_back_arrow_is_found_with_its_place(project, capsys, line):
    add(project, "CLIPLungLib/image/patch.py", line)
    assert import_arrows.main([str(project)]) == 1
    place = f"CLIPLungLib/image/patch.py:{2 + len(line.splitlines())}: 'image' imports "
    assert place in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("CLIPLungLib/cellar/wine.py", "", "'cellar' is no room of ORDER"),
        (
            "CLIPLungLib/errors.py",
            "from CLIPLungLib import cellar_door\nimport CLIPLungLib.cellar",
            "'cellar' is no room",
        ),
        ("CLIPLungLib/image/patch.py", "import slicer", "'image' imports slicer; only CLIPLung, demo, scene may."),
        ("CLIPLungLib/scene/node.py", "from qt import QTimer", "'scene' imports qt; only CLIPLung may."),
        ("CLIPLungLib/image/patch.py", "from CLIPLungLib.inference import result", "rooms: image <-> inference"),
    ],
)
def test_other_faults_are_found(project, capsys, name, text, message):
    add(project, name, text)
    assert import_arrows.main([str(project)]) == 1
    assert message in capsys.readouterr().out


def test_files_of_one_room_that_import_each_other_are_found(project, capsys):
    add(project, "CLIPLungLib/image/read.py", "from CLIPLungLib.image.header import tag")
    add(project, "CLIPLungLib/image/header.py", "def f():\n    from CLIPLungLib.image.patch import Patch")
    assert import_arrows.main([str(project)]) == 0
    add(project, "CLIPLungLib/image/patch.py", "from CLIPLungLib.image import read")
    assert import_arrows.main([str(project)]) == 1
    files = " <-> ".join(f"CLIPLungLib/image/{name}.py" for name in ("header", "patch", "read"))
    assert f"circle between files: {files}" in capsys.readouterr().out


def test_nine_loose_files_pass_and_ten_do_not(project, capsys):
    for name in ("device", "vocabulary", "atomic_write", "cli", "__main__"):
        add(project, f"CLIPLungLib/{name}.py", "")
    assert len(import_arrows.loose_files(project)) == 8
    # An unknown name is a fault too: what counts here is the other message.
    add(project, "CLIPLungLib/ninth.py", "")
    import_arrows.main([str(project)])
    assert "lie loose" not in capsys.readouterr().out
    add(project, "CLIPLungLib/tenth.py", "")
    assert import_arrows.main([str(project)]) == 1
    assert "10 files lie loose in CLIPLungLib, at most 9 may" in capsys.readouterr().out


def test_folder_without_the_library_is_refused(tmp_path, capsys):
    assert import_arrows.main([str(tmp_path)]) == 2
    assert "holds no folder CLIPLungLib" in capsys.readouterr().err
