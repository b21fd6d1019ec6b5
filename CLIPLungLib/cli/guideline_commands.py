"""The command guidelines: published guidelines for a nodule that the reader describes."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CLIPLungLib.cli.options import EXIT_OK, EXIT_REFUSED, add_command, number, whole_number
from CLIPLungLib.errors import InputError
from CLIPLungLib.guidelines.brock import MODELS
from CLIPLungLib.guidelines.case import (
    BENIGN_FEATURES,
    CHOICES,
    FINDINGS,
    NODULE_TYPES,
    PRIOR_CATEGORIES,
    SURVEILLANCE_POINTS,
    SUSPICIOUS_FEATURES,
    Case,
    Prior,
    Size,
)
from CLIPLungLib.guidelines.proposal import Proposal, read_proposal
from CLIPLungLib.guidelines.recommendation import NOTICE, Recommendation
from CLIPLungLib.guidelines.registry import GUIDELINES, ask, ask_all, key_of_other_size

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands

ALL = "all"
YES_NO = {"yes": True, "no": False}
# Questions to answer with yes or no, by the name in a Case.
YES_NO_HELP = {
    "juxtapleural": "a smooth solid oval, lentiform or triangular nodule at pleura or fissure",
    "upper-lobe": "the nodule lies in an upper lobe",
    "spiculation": "the nodule is spiculated",
    "slow-growing": "growth over several CTs, too slow to count between two",
    "proven-benign": "proven benign by a work-up",
    "family-history": "family history of lung cancer",
    "emphysema": "emphysema on the CT",
    "immunosuppressed": "the patient is immunosuppressed",
    "known-cancer": "the patient has a known cancer",
    "high-risk": "high risk of lung cancer, by the reader's estimate (Fleischner)",
}


def add_guideline_commands(commands: Commands) -> None:
    """`guidelines`."""
    command = add_command(
        commands, "guidelines", _guidelines, "Lung-RADS, Fleischner, BTS and Brock for a nodule that you describe"
    )
    command.add_argument(
        "--guideline", choices=(*GUIDELINES, ALL), default=ALL, help="guideline to apply (default: all)"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--result", type=Path, metavar="FILE", help="sizes from a result.json of 'cliplung classify'")
    _add_size_options(command)
    _add_nodule_options(command)
    _add_patient_options(command)
    _add_prior_options(command)


def _add_size_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("size")
    group.add_argument("--size", type=number, metavar="MM", help="mean of long and short axis")
    group.add_argument("--long", type=number, metavar="MM", help="longest diameter")
    group.add_argument("--short", type=number, metavar="MM", help="longest perpendicular diameter")
    group.add_argument("--volume", type=number, metavar="MM3", help="volume by volumetry")
    group.add_argument(
        "--solid", type=number, metavar="MM", help="mean diameter of a part-solid nodule's solid component"
    )


def _add_nodule_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("nodule")
    _choice(group, "--type", NODULE_TYPES, "nodule type, as the reader sees it")
    _choice(group, "--context", CHOICES["context"], "how the nodule was found")
    _choice(group, "--seen", CHOICES["seen"], "on a first CT, new since the prior CT, or known from the prior CT")
    _choice(group, "--finding", FINDINGS, "finding other than a nodule, for Lung-RADS")
    _choice(group, "--benign", BENIGN_FEATURES, "benign feature, if any")
    _choice(group, "--surveillance", SURVEILLANCE_POINTS, "which CT of a BTS surveillance this is")
    group.add_argument("--nodules", type=whole_number, metavar="N", help="number of nodules on the CT")
    group.add_argument(
        "--four-x",
        nargs="+",
        default=(),
        type=_underscored,
        choices=SUSPICIOUS_FEATURES,
        metavar="FEATURE",
        help=f"suspicious features, for category 4X: {', '.join(map(_dashed, SUSPICIOUS_FEATURES))}",
    )
    for name in ("juxtapleural", "upper-lobe", "spiculation", "slow-growing", "proven-benign"):
        _yes_no(group, name)


def _add_patient_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("patient")
    group.add_argument("--age", type=number, metavar="YEARS", help="age")
    _choice(group, "--sex", CHOICES["sex"], "sex")
    _choice(group, "--smoking", CHOICES["smoking"], "smoking history")
    for name in ("family-history", "emphysema", "immunosuppressed", "known-cancer", "high-risk"):
        _yes_no(group, name)
    group.add_argument(
        "--brock-model",
        choices=tuple(MODELS),
        default="2b",
        help="1: parsimonious, 2: full; a: without, b: with spiculation (default: 2b)",
    )


def _add_prior_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("prior CT")
    group.add_argument("--prior-size", type=number, metavar="MM", help="mean of long and short axis")
    group.add_argument("--prior-long", type=number, metavar="MM")
    group.add_argument("--prior-short", type=number, metavar="MM")
    group.add_argument("--prior-volume", type=number, metavar="MM3")
    group.add_argument(
        "--prior-solid", type=number, metavar="MM", help="mean diameter of the solid component; 0 for none"
    )
    group.add_argument("--prior-days", type=whole_number, metavar="DAYS", help="days from the prior CT to this one")
    group.add_argument("--prior-category", choices=PRIOR_CATEGORIES, help="Lung-RADS category of the prior CT")


def _guidelines(options: argparse.Namespace) -> int:
    proposal = read_proposal(options.result) if options.result else None
    if proposal is not None and options.type is None:
        raise InputError(f"{options.result}: {proposal.words}. Confirm it or correct it with --type.")
    case = _case(options, proposal)
    if options.guideline == ALL:
        answers, reasons = ask_all(case, options.brock_model)
    else:
        answers, reasons = {options.guideline: ask(options.guideline, case, options.brock_model)}, {}
    if proposal is not None and case.size == proposal.size:
        answers = {
            name: replace(
                answer, warnings=(*_interval_warnings(name, answer, case, proposal, options), *answer.warnings)
            )
            for name, answer in answers.items()
        }
    if options.json:
        print(json.dumps(_plain(case, proposal, list(answers.values()), reasons), indent=2, allow_nan=False))
    else:
        print("\n".join(_text(proposal, list(answers.values()), reasons)))
    return EXIT_OK if answers else EXIT_REFUSED


def _case(options: argparse.Namespace, proposal: Proposal | None) -> Case:
    size = Size(options.size, options.long, options.short, options.volume)
    if proposal is not None and size == Size():
        size = proposal.size
    prior_size = Size(options.prior_size, options.prior_long, options.prior_short, options.prior_volume)
    prior = Prior(prior_size, options.prior_days, options.prior_solid, options.prior_category)
    return Case(
        size,
        nodule_type=options.type,
        solid_mm=options.solid,
        context=options.context,
        seen=options.seen,
        finding=options.finding or "nodule",
        benign_feature=options.benign,
        nodule_count=options.nodules,
        prior=prior if prior != Prior(Size()) else None,
        suspicious_features=tuple(options.four_x),
        surveillance=options.surveillance,
        age=options.age,
        sex=options.sex,
        smoking=options.smoking,
        **{name.replace("-", "_"): getattr(options, name.replace("-", "_")) for name in YES_NO_HELP},
    )


def _interval_warnings(
    name: str, answer: Recommendation, case: Case, proposal: Proposal, options: argparse.Namespace
) -> list[str]:
    """What the guideline would say at the ends of the interval that holds the readers' diameter."""
    found = []
    for end_mm in proposal.interval_mm:
        key = key_of_other_size(name, case, end_mm - proposal.longest_mm, options.brock_model)
        if key is not None and key != answer.key:
            found.append(f"Measured by the program: with a longest diameter of {end_mm:.1f} mm, the answer is '{key}'.")
    return found


def _plain(
    case: Case, proposal: Proposal | None, answers: list[Recommendation], reasons: dict[str, str]
) -> dict[str, Any]:
    return {
        "case": asdict(case),
        "proposal": asdict(proposal) if proposal is not None else None,
        "answers": [answer.to_dict() for answer in answers],
        "not_answered": reasons,
        "notice": NOTICE,
    }


def _text(proposal: Proposal | None, answers: list[Recommendation], reasons: dict[str, str]) -> list[str]:
    lines = []
    if proposal is not None:
        lines += [proposal.words, *(f"  warning: {text}" for text in proposal.warnings)]
    for answer in answers:
        lines += [
            f"{answer.guideline} {answer.version}: {answer.key}",
            f"  why: {answer.rule}",
            f"  then: {answer.management}",
            *(f"  warning: {text}" for text in answer.warnings),
            f"  source: {answer.source}, doi:{answer.doi}",
        ]
    lines += [f"not answered: {reason}" for reason in reasons.values()]
    return [*lines, NOTICE]


def _choice(group: argparse._ArgumentGroup, option: str, allowed: tuple[str, ...], help_text: str) -> None:
    """Names are written with dashes on the command line; underscores are taken, too."""
    named = ", ".join(map(_dashed, allowed))
    group.add_argument(option, type=_underscored, choices=allowed, metavar="NAME", help=f"{help_text}: {named}")


def _yes_no(group: argparse._ArgumentGroup, name: str) -> None:
    group.add_argument(f"--{name}", type=_yes_or_no, metavar="yes|no", help=YES_NO_HELP[name])


def _yes_or_no(text: str) -> bool:
    if text.lower() not in YES_NO:
        raise argparse.ArgumentTypeError(f"'{text}' is neither yes nor no")
    return YES_NO[text.lower()]


def _underscored(text: str) -> str:
    return text.replace("-", "_")


def _dashed(name: str) -> str:
    return name.replace("_", "-")
