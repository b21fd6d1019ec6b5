"""README and pages: short, without dead ends, and in the program's own words and commands."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
from helpers.repository import ROOT, documentation, program_texts

from CLIPLungLib.cli import main
from CLIPLungLib.version import __version__

USER_GUIDE = ROOT / "Resources" / "Documentation" / "user_guide.md"
README_WORDS_AT_MOST = 1200
pages = pytest.mark.parametrize("page", documentation(), ids=lambda page: page.name)
# The changelog tells old names on purpose.
pages_of_today = pytest.mark.parametrize(
    "page", [page for page in documentation() if page.name != "CHANGELOG.md"], ids=lambda page: page.name
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The link targets that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def code(page: Path) -> str:
    """Fenced blocks and code in the text, a line each."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", text_of(page))])


def commands(page: Path) -> list[list[str]]:
    """Complete commands of a page: those that name an option, split into words."""
    lines = [line.partition(" #")[0].strip() for line in code(page).splitlines()]
    found = [re.search(r"(?:^|-m )(cliplung|CLIPLungLib) (.+ --.+)", line) for line in lines]
    return [shlex.split(match.group(2)) for match in found if match]


def test_readme_is_short_and_holds_the_marks_of_its_table_once():
    readme = text_of(ROOT / "README.md")
    assert len(readme.split()) <= README_WORDS_AT_MOST
    before, _, rest = readme.partition("<!-- figures: begin -->")
    assert rest.count("<!-- figures: end -->") == 1
    assert before.count("<!-- figures: ") == 0


def test_readme_leads_to_every_page():
    targets = {(ROOT / link).resolve() for link in re.findall(r"\]\(([^)#:]+)\)", text_of(ROOT / "README.md"))}
    assert set(documentation()) - {ROOT / "README.md"} <= targets


@pages
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pages
def test_pages_are_ascii(page):
    assert text_of(page).isascii()


@pages_of_today
def test_files_that_are_named_exist(page):
    named = set(re.findall(r"\b(?:CLIPLung|CLIPLungLib|Testing|Resources)/[\w./]*\w", code(page)))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def help_of(command: list[str], capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0, command
    return capsys.readouterr().out


@pages_of_today
def test_commands_are_those_of_the_program_and_complete(page, capsys):
    for words in commands(page):
        command = words[: 2 if words[0] == "lidc" else 1]
        usage = help_of(command, capsys).partition("\n\n")[0]
        given = {word for word in words if word.startswith("--")}
        offered = set(re.findall(r"--[a-z-]+", usage))
        needed = re.sub(r"\[[^]]*\]", "", usage)
        one_of = [set(re.findall(r"--[a-z-]+", group)) for group in re.findall(r"\(([^()]*\|[^()]*)\)", needed)]
        required = set(re.findall(r"--[a-z-]+", needed)).difference(*one_of)
        assert given <= offered, words
        assert required <= given, words
        assert all(len(group & given) == 1 for group in one_of), words


def test_commands_are_found_at_all():
    named = {" ".join(words[: 2 if words[0] == "lidc" else 1]) for page in documentation() for words in commands(page)}
    assert {"classify", "batch", "lidc prepare", "train", "evaluate"} <= named


@pages
def test_python_examples_import_what_exists(page):
    for block in re.findall(r"^```python\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL):
        if "import slicer" in block:
            pytest.importorskip("slicer", reason="needs slicer-core")
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), node.module


def test_messages_in_the_troubleshooting_are_those_of_the_program():
    section = text_of(USER_GUIDE).partition("## Troubleshooting\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    quoted = [text.removesuffix(" ...") for row in rows for text in re.findall(r'"([^"]+)"', row)]
    assert len(quoted) >= 8
    said = program_texts()
    assert [text for text in quoted if text not in said] == []


def test_changelog_begins_with_this_version_or_with_what_is_not_released_yet():
    headings = re.findall(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == __version__
    assert "Unreleased" not in headings[1:]
