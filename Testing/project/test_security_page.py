"""The page on security: every claim names a test that exists, and what it says of the network is so."""

from __future__ import annotations

import ast
import re

import pytest
from helpers.repository import LIBRARY, MODULE, ROOT

from CLIPLungLib.image import regular_file, voxel_data
from CLIPLungLib.image.dicom import pixels, search
from CLIPLungLib.inference import checkpoint

PAGE = (ROOT / "Resources" / "Documentation" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(Testing/[\w/]+\.py)::(test_\w+)`", PAGE)
NETWORK = {
    "aiohttp",
    "dask",
    "distributed",
    "ftplib",
    "http",
    "httpx",
    "huggingface_hub",
    "requests",
    "smtplib",
    "socket",
    "ssl",
    "urllib",
    "urllib3",
    "webbrowser",
}
# The name of the computer, in the lock of a run; and cohorts on the workers of a scheduler.
CLUSTER = {"connection.py", "dispatch.py", "run.py", "worker.py"}
ALLOWED = {
    ("run_folder.py", "socket"),
    # Decodes the %20 of file: addresses in tables.
    ("table_path.py", "urllib"),
    ("connection.py", "dask"),
    # Only where `cliplung reproduce --download` asks for it.
    ("clip_weights.py", "huggingface_hub"),
    *((name, "distributed") for name in CLUSTER),
}


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_every_test_that_is_named_exists(file, test):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_tables_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "shown by" not in line]
    assert len(rows) == 16
    assert [row for row in rows if "::test_" not in row] == []
    assert len(NAMED) >= 20


def test_the_limits_are_those_of_the_program():
    assert f"{regular_file.LONGEST_AXIS:,} along an axis" in PAGE
    assert regular_file.MOST_VOXELS == 1024 * 1024 * 4096
    assert pixels.MOST_PIXELS_PER_SLICE == 4096 * 4096
    assert f"{search.MOST_FILES_OF_STUDY:,}" in PAGE
    assert (checkpoint.LARGEST_FILE_BYTES, checkpoint.MOST_TENSORS) == (1 << 30, 5000)
    assert (voxel_data.LARGE_BYTES, voxel_data.CT_RATIO_AT_MOST) == (256 << 20, 100)


def test_no_code_reaches_for_the_network():
    found = set()
    for file in [path for folder in (LIBRARY, MODULE) for path in sorted(folder.rglob("*.py"))]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {(file.name, name.split(".")[0]) for name in names if name.split(".")[0] in NETWORK}
    assert found == ALLOWED
    text = (LIBRARY / "inference" / "run_folder.py").read_text(encoding="utf-8")
    assert set(re.findall(r"socket\.(\w+)", text)) == {"gethostname"}
