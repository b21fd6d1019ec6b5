"""The extension: what CMake lists is what is there, and the installed tree works on its own. Slicer's macros are stand-ins."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.repository import MODULE, ROOT, cmake_list, cmake_value, s4ext_values

INSTALLED = Path("lib/Slicer-5.12/qt-scripted-modules")


def test_every_file_of_the_module_is_installed():
    assert cmake_list(MODULE, "MODULE_PYTHON_SCRIPTS") == {
        f.relative_to(MODULE).as_posix() for f in MODULE.rglob("*.py")
    }
    resources = {f.relative_to(MODULE).as_posix() for f in (MODULE / "Resources").rglob("*") if f.is_file()}
    assert cmake_list(MODULE, "MODULE_PYTHON_RESOURCES") == resources


def test_nothing_beside_the_module_would_be_taken_for_another_one():
    assert [file.name for file in MODULE.glob("*.py")] == ["CLIPLung.py"]


def test_catalog_entry_equals_the_cmake_values_and_its_schema():
    file = ROOT / "Resources" / "ExtensionsIndex" / "CLIPLung.json"
    entry = json.loads(file.read_bytes())
    assert b"\r" not in file.read_bytes()
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"project\((\w+)\)", text).group(1) == file.stem
    assert entry["category"] == cmake_value("EXTENSION_CATEGORY")
    assert entry["build_dependencies"] == cmake_value("EXTENSION_DEPENDS").split()
    assert entry["scm_url"] == cmake_value("EXTENSION_HOMEPAGE") == s4ext_values()["scmurl"]
    assert entry["scm_revision"] == s4ext_values()["scmrevision"]
    assert entry["build_subdirectory"] == s4ext_values()["build_subdirectory"]
    # What the schema asks for and allows.
    assert {"$schema", "category", "scm_url"} <= set(entry)
    allowed = {"$schema", "build_dependencies", "build_subdirectory", "category", "enabled"}
    assert set(entry) <= allowed | {"scm_revision", "scm_type", "scm_url", "tier"}


def test_icon_is_128_pixels_square():
    for icon in (ROOT / "Resources/Icons/CLIPLung.png", MODULE / "Resources/Icons/CLIPLung.png"):
        header = icon.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")) == (128, 128)


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Configured, built and installed below `build` and `install`."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    folder = tmp_path_factory.mktemp("extension")
    launcher = f"-DSlicer_STANDIN_LAUNCHER={sys.executable}"
    for command in (
        ("cmake", "-S", ROOT, "-B", folder / "build", f"-DSlicer_DIR={ROOT / 'Testing/standins/cmake'}", launcher),
        ("cmake", "--build", folder / "build"),
        ("cmake", "--install", folder / "build", "--prefix", folder / "install"),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    return folder


def test_build_and_install_tree_hold_module_library_and_weights(built):
    for tree in (built / "build" / INSTALLED, built / "install" / INSTALLED):
        for file in (
            "CLIPLung.py",
            "CLIPLungGUI/background_worker.py",
            "Resources/UI/CLIPLung.ui",
            "Scripts/CLIPLungBatch.py",
            "CLIPLungLib/weights/cliplung.safetensors",
            "CLIPLungLib/scene/result_store.py",
        ):
            assert (tree / file).is_file(), file
        assert not (tree / "Testing").exists()


def test_installed_library_answers_without_the_source_tree(built):
    code = (
        "import sys, CLIPLungLib; from CLIPLungLib.inference.classifier import NoduleClassifier; "
        "c = NoduleClassifier.load(device='cpu'); print(CLIPLungLib.__file__, c.checkpoint.sha256)"
    )
    tree = built / "install" / INSTALLED
    # Isolated (-I), or the folder of an editable installation would come first.
    done = run(sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tree)!r}); {code}", cwd=built)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tree))


@pytest.mark.parametrize("tree", ["source", "install"])
def test_module_file_loads_from_either_tree_and_finds_its_library(built, tree, tmp_path):
    pytest.importorskip("PySide6")
    folder = MODULE if tree == "source" else built / "install" / INSTALLED
    library = ROOT if tree == "source" else folder
    # As Slicer does it: the module's folder alone is put on the path.
    code = f"""
import sys
sys.path[:0] = [{str(ROOT / "Testing")!r}]
from pathlib import Path
from standins.qt import application
application.MODULE_FOLDER = Path({str(folder)!r})
running = application.Application(Path({str(tmp_path)!r}) / "s.ini")
for name in [n for n in sys.modules if n.partition(".")[0] == "CLIPLungLib"]:
    del sys.modules[name]
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path({str(ROOT)!r})]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in str(f).lower()]
widget = running.open_module()
import CLIPLung, CLIPLungLib
print(CLIPLung.__file__, CLIPLungLib.__file__, widget.ui.statusLabel is not None)
running.close()
"""
    done = run(sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    module_file, library_file, _ = done.stdout.split()[-3:]
    assert Path(module_file) == folder / "CLIPLung.py"
    assert Path(library_file) == library / "CLIPLungLib" / "__init__.py"


def test_tests_are_registered_and_the_batch_test_passes(built):
    names = run("ctest", "-N", "--test-dir", built / "build").stdout
    for name in ("py_CLIPLung", "py_nomainwindow_qSlicerCLIPLungModuleGenericTest", "py_slicer_batch_test"):
        assert name in names, name
    done = run("ctest", "--test-dir", built / "build", "-R", "batch", "--output-on-failure")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("CLIPLungGUI/background_worker.py", "CLIPLungGUI/nowhere.py"), "does not exist"),
        (("  NAME ${", "  WITH_EVERYTHING\n  NAME ${"), "Unknown keywords"),
    ],
)
def test_stand_in_is_as_strict_as_the_real_macros(tmp_path, change, message):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    for name in ("CLIPLung", "CLIPLungLib", "Testing"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CMakeLists.txt", tmp_path)
    lists = tmp_path / "CLIPLung" / "CMakeLists.txt"
    text = lists.read_text(encoding="utf-8").replace(*change)
    lists.write_text(text, encoding="utf-8")
    done = run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DSlicer_DIR={ROOT / 'Testing/standins/cmake'}")
    assert done.returncode != 0
    assert message in done.stderr


def test_batch_script_gives_the_same_file_as_the_command_and_ends_with_its_code(tmp_path):
    from slicer_batch_test import write_ct

    from CLIPLungLib.cli import main

    write_ct(tmp_path / "ct.nrrd")
    cohort = tmp_path / "cohort.csv"
    cohort.write_text("id,image,r,a,s\na,ct.nrrd,0,0,0\nb,ct.nrrd,2,0,1\nc,none.nrrd,0,0,0\n", encoding="utf-8")
    assert main(["batch", str(cohort), "--output", str(tmp_path / "command"), "--device", "cpu"]) == 3
    # slicer.util.exit ends the application with a code; outside of it, Python's own does.
    runner = (
        "import sys, runpy, types; s = types.ModuleType('slicer'); s.util = types.SimpleNamespace(exit=sys.exit); "
        "sys.modules['slicer'] = s; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = MODULE / "Scripts" / "CLIPLungBatch.py"
    arguments = ["--", cohort, "--output", tmp_path / "script", "--device", "cpu"]
    done = run(sys.executable, "-c", runner, script, *arguments, timeout=300)
    assert done.returncode == 3, done.stderr
    assert (tmp_path / "script/results.csv").read_bytes() == (tmp_path / "command/results.csv").read_bytes()
    for wrong, code in ((["--", tmp_path / "no.csv", "--output", tmp_path / "x"], 2), (["--nonsense"], 2)):
        done = run(sys.executable, "-c", runner, script, *wrong, timeout=300)
        assert done.returncode == code, done.stderr
