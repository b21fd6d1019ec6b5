"""Which changes of the code no test can notice, or none needs to: left out before the sample is drawn, each with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cosmic_ray.work_item import MutationSpec

SAME_BY_OPERATOR = {
    "Eq_Is": "small numbers and short texts that are equal are the same object",
    "NotEq_IsNot": "small numbers and short texts that are equal are the same object",
    "Is_Eq": "nothing but None equals None",
    "IsNot_NotEq": "nothing but None equals None",
}
Span = tuple[tuple[int, int], tuple[int, int]]


def reason_to_leave_out(mutant: MutationSpec) -> str:
    """Why a mutant is not counted; empty for one that is."""
    for ending, reason in SAME_BY_OPERATOR.items():
        if mutant.operator_name.endswith(f"_{ending}"):
            return reason
    for (start, end), reason in _spans(Path(mutant.module_path)):
        if start <= tuple(mutant.start_pos) < end:
            return reason
    return ""


@cache
def _spans(file: Path) -> tuple[tuple[Span, str], ...]:
    """Places of a file that are not changed, with reasons."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return tuple((_span(node), reason) for node, reason in _left_out(tree))


def _left_out(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation, "a type hint is never evaluated"
        if isinstance(node, ast.FunctionDef) and node.returns:
            yield node.returns, "a type hint is never evaluated"
        if isinstance(node, ast.FunctionDef) and node.name == "__repr__":
            yield node, "a text for the debugger"
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node, "imports for type hints alone"
        if isinstance(node, ast.If) and "win32" in ast.unparse(node.test):
            yield node, "runs on one operating system only"
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
            yield node, "the text of a log"
        if isinstance(node, ast.keyword) and node.arg == "strict":
            yield node, "a guard on lengths that are equal by construction"
        if isinstance(node, ast.JoinedStr):
            for cut in ast.walk(node):
                if isinstance(cut, ast.Slice):
                    yield cut, "where a text shown in a message is cut off"


def _span(node: ast.AST) -> Span:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
