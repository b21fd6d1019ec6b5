"""The batch script in a Slicer without the packages it needs: one line and a code, never a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.repository import MODULE

SCRIPT = MODULE / "Scripts" / "CLIPLungBatch.py"
# slicer.util.exit ends the application with a code; outside of it, Python's own does. A None in sys.modules is a package that is not there.
RUNNER = """
import sys, runpy, types
slicer = sys.modules["slicer"] = types.ModuleType("slicer")
slicer.util = types.SimpleNamespace(exit=sys.exit)
for name in sys.argv[1].split():
    sys.modules[name] = None
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_without(packages: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", RUNNER, packages, str(SCRIPT), "--", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("packages", ["torch", "safetensors", "torch safetensors"])
def test_missing_packages_are_named_with_the_way_to_get_them(tmp_path, packages):
    cohort = tmp_path / "cohort.csv"
    cohort.write_text("id,image,r,a,s\na,ct.nrrd,0,0,0\n", encoding="utf-8")
    done = run_without(packages, cohort, "--output", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert ("PyTorch extension" in done.stderr) == ("torch" in packages.split())
    assert ("Extensions Manager" in done.stderr) == ("torch" in packages.split())
    assert ('slicer.util.pip_install("safetensors")' in done.stderr) == ("safetensors" in packages)
    assert not (tmp_path / "out").exists()


def test_help_needs_no_package():
    done = run_without("torch safetensors", "--help")
    assert done.returncode == 0, done.stderr
    assert "--output" in done.stdout
