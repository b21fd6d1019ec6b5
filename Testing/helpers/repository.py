"""Where things lie in the repository, and what its CMake lists and catalogue entries say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY, MODULE = ROOT / "CLIPLungLib", ROOT / "CLIPLung"


def cmake_list(folder: Path, name: str) -> set[str]:
    """The entries of a list in a folder's CMakeLists.txt."""
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    return set(re.search(rf"set\({name}\n(.*?)\)", text, re.S).group(1).split())


def cmake_value(name: str) -> str:
    """A quoted value of the top CMakeLists.txt."""
    return re.search(rf'set\({name} "([^"]+)"\)', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")).group(1)


def s4ext_values() -> dict[str, str]:
    """The keys of the extension description."""
    lines = (ROOT / "CLIPLung.s4ext").read_text(encoding="utf-8").splitlines()
    return {
        key: value for key, _, value in (line.partition(" ") for line in lines if line and not line.startswith("#"))
    }


def documentation() -> list[Path]:
    """Every page that a person wrote."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "Resources" / "Documentation").glob("*.md"))]


def program_texts() -> str:
    """All string constants of library and module without docstrings and comments, one a line: what the program can say."""
    texts = []
    for file in [path for folder in (MODULE, LIBRARY) for path in sorted(folder.rglob("*.py"))]:
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        # A string that stands alone is a docstring or nothing.
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
        ]
    return "\n".join(texts)
