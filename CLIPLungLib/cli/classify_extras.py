"""Optional outputs of 'classify': similar cases, and heat maps of other targets than suspicion."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.earlier_files import remove
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.inference.explain_targets import EXPLAINABLE, explains
from CLIPLungLib.inference.heat_threshold import HEAT_THRESHOLD
from CLIPLungLib.inference.result import NoduleResult

if TYPE_CHECKING:
    from CLIPLungLib.inference.classifier import NoduleClassifier

SIMILAR_FILES = ("similar.json", "similar.png")


def add_extra_options(classify: argparse.ArgumentParser) -> None:
    """--similar and --explain."""
    classify.add_argument(
        "--similar",
        action="store_true",
        help=f"also write the most similar nodules of LIDC-IDRI: {', '.join(SIMILAR_FILES)}",
    )
    classify.add_argument(
        "--explain",
        action="append",
        choices=EXPLAINABLE,
        default=[],
        metavar="NAME",
        help=f"also write heatmap_NAME.nrrd, the evidence for NAME ({', '.join(EXPLAINABLE)}); can be repeated",
    )


def extra_files(output: Path) -> list[Path]:
    """All files that these options can make."""
    return [output / name for name in SIMILAR_FILES] + [_explanation_file(output, name) for name in EXPLAINABLE]


def _explanation_file(output: Path, name: str) -> Path:
    return output / f"heatmap_{name}.nrrd"


def write_extras(
    options: argparse.Namespace, ct: CTVolume, classifier: NoduleClassifier, result: NoduleResult
) -> list[str]:
    """Write what was asked for; returns the lines to print."""
    lines = [_write_explanation(name, options, ct, classifier, result) for name in dict.fromkeys(options.explain)]
    return lines + ([_write_similar(options, result)] if options.similar else [])


def _write_explanation(
    name: str, options: argparse.Namespace, ct: CTVolume, classifier: NoduleClassifier, result: NoduleResult
) -> str:
    from CLIPLungLib.atomic_write import remove_leftovers
    from CLIPLungLib.inference.result_files import write_heatmap

    file = _explanation_file(options.output, name)
    remove_leftovers(file)
    heat, heat_to_ras = classifier.explain(ct, options.point, name)
    write_heatmap(replace(result, heatmap=heat, heatmap_to_ras=heat_to_ras), file)
    is_empty = heat.max() < HEAT_THRESHOLD
    empty = "; it is empty: nothing here speaks for it more than in the average nodule" if is_empty else ""
    return f"written: {file} (what speaks for {explains(name)}{empty})"


def _write_similar(options: argparse.Namespace, result: NoduleResult) -> str:
    """Where index and weights do not belong together nothing is written, and the text says why; files of an earlier answer go."""
    from CLIPLungLib.atomic_write import remove_leftovers
    from CLIPLungLib.errors import CLIPLungError
    from CLIPLungLib.inference.checkpoint import DEFAULT_CHECKPOINT
    from CLIPLungLib.report.similar_cases import save_similar
    from CLIPLungLib.similar.cases import similar_cases, write_similar
    from CLIPLungLib.similar.index_file import read_index, similar_file

    numbers, picture = (options.output / name for name in SIMILAR_FILES)
    for file in (numbers, picture):
        remove_leftovers(file)
        remove(file)
    try:
        found = similar_cases(result, read_index(similar_file(options.checkpoint or DEFAULT_CHECKPOINT)))
    except CLIPLungError as error:
        return f"similar cases are not shown: {error}"
    write_similar(found, numbers)
    save_similar(found, picture, result.image.get("name", ""))
    return f"written: {options.output}/{', '.join(SIMILAR_FILES)}"
