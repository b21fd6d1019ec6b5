"""What the guidelines say, as rich text for the panel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from CLIPLungGUI.nodule_rows import WARNING_SIGN

if TYPE_CHECKING:
    from CLIPLungLib.guidelines.recommendation import Recommendation

TITLES = {"lung-rads": "Lung-RADS", "fleischner": "Fleischner", "bts": "BTS", "brock": "Brock"}


def answersText(answers: Mapping[str, Recommendation], reasons: Mapping[str, str]) -> str:
    """Every guideline in its order: its answer with rule and source, or what it misses."""
    from CLIPLungLib.guidelines.recommendation import NOTICE

    parts = [_answer(answers[name]) if name in answers else _refusal(name, reasons[name]) for name in TITLES]
    return "".join(f"<p>{part}</p>" for part in parts) + f"<p><i>{escape(NOTICE)}</i></p>"


def plainReason(reason: str) -> str:
    """A refusal without the options of the command line, which the panel has not."""
    return re.sub(r" \(--[^)]*\)|,? or give --[a-z-]+( [a-z]+)?", "", reason)


def _answer(answer: Recommendation) -> str:
    lines = [
        f"<b>{escape(answer.guideline)} {escape(answer.version)}: {escape(answer.key)}</b>",
        escape(answer.management),
        _("Rule: {rule}").format(rule=escape(answer.rule)),
        *(f"{WARNING_SIGN} {escape(warning)}" for warning in answer.warnings),
        f"<small>{escape(answer.source)}, doi:{escape(answer.doi)}</small>",
    ]
    return "<br>".join(lines)


def _refusal(name: str, reason: str) -> str:
    return f"<b>{TITLES[name]}</b>: {escape(plainReason(reason))}"
