"""The model card as one Markdown file with its plots beside it, generated from the out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation import metrics
from CLIPLungLib.inference.calibrated_result import require_calibrations
from CLIPLungLib.model_card import prose
from CLIPLungLib.model_card.diameter_plot import diameter_figure
from CLIPLungLib.model_card.gallery import Case, case_facts, write_gallery
from CLIPLungLib.model_card.interval_plots import Row, attributes_figure, robustness_figure
from CLIPLungLib.model_card.plot_style import save_figure
from CLIPLungLib.model_card.rating_plot import rating_figure
from CLIPLungLib.model_card.reliability_plot import reliability_figure
from CLIPLungLib.model_card.robustness_table import robustness_rows, robustness_table
from CLIPLungLib.model_card.roc_plot import roc_figure
from CLIPLungLib.model_card.saliency_plot import saliency_figure
from CLIPLungLib.model_card.saliency_table import saliency_table
from CLIPLungLib.version import __version__
from CLIPLungLib.vocabulary import EVENT_ABOVE

if TYPE_CHECKING:
    from CLIPLungLib.inference.checkpoint import Checkpoint

CARD_NAME, PLOTS_FOLDER, GALLERY_FOLDER = "model_card.md", "model_card", "gallery"
PICTURE_PIXELS = 600
COMMANDS = (
    "# The figures alone, from the out-of-fold predictions (bundled model: Resources/ModelCard/answers.npz):",
    "cliplung evaluate --data LIDC --answers answers.npz --output results.json",
    "# Everything:",
    "cliplung prepare LIDC --output patches.npz",
    "cliplung train --data LIDC --patches patches.npz --output runs/shipped",
    "cliplung evaluate --data LIDC --runs runs --output results.json --keep-answers answers.npz",
    "cliplung robustness --data LIDC --run runs/shipped --output robustness.json",
    "cliplung saliency --data LIDC --run runs/shipped --output saliency.json",
    "cliplung model-card --data LIDC --runs runs --results results.json --robustness robustness.json --saliency saliency.json --output card",
)


@dataclass(frozen=True, eq=False)
class CardPredictions:
    """Out-of-fold predictions for N nodules, each once.

    Attributes:
        rating: (N,) readers' mean malignancy, or what stands for a known outcome.
        score: (N,) uncalibrated, for the order alone.
        probability: (N,) calibrated, that it exceeds 3.
        size_mm: (N,) the readers' diameter; NaN where there is none.
        measured_mm: (N,) the model's own; NaN where it outlined nothing.
        size_probability: (N,) of the size-only baseline; None leaves its diagram out.
        auc_intervals: "model" and "size" -> 95 % interval of the AUC above against below 3.
    """

    rating: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    size_mm: np.ndarray
    measured_mm: np.ndarray
    size_probability: np.ndarray | None = None
    auc_intervals: Mapping[str, tuple[float, float]] | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in vars(self).items() if isinstance(values, np.ndarray)}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise InputError(
                f"The card's predictions must be of the same nodules, one at least; got {lengths}. Give one value per nodule."
            )


def checkpoint_facts(checkpoint: Checkpoint) -> dict[str, str]:
    """What the card's table says of the weights."""
    patch, fitted = checkpoint.patch, require_calibrations(checkpoint).probability
    calibration = f"slope {fitted.slope:.3f}, offsets " + ", ".join(f"{offset:.3f}" for offset in fitted.offsets)
    facts = {
        "weights": f"`{checkpoint.sha256}` (SHA-256)",
        "patch": f"{_times(patch.shape)} voxels of {_times(patch.spacing_mm)} mm (planes, rows, columns)",
        "window": f"{patch.window_hu[0]:g} to {patch.window_hu[1]:g} HU",
        "calibration": calibration,
    }
    plain = {key: value for key, value in checkpoint.provenance.items() if isinstance(value, str | int | float)}
    return facts | {key.replace("_", " "): str(value) for key, value in plain.items()}


def write_card(
    rule: str,
    facts: Mapping[str, str],
    predictions: CardPredictions,
    tables: Mapping[str, str],
    output: Path,
    attributes: Sequence[Row] = (),
    robustness: Mapping[str, Mapping[str, Any]] | None = None,
    cases: Sequence[Case] | None = None,
    commands: Sequence[str] = COMMANDS,
    saliency: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model_card.md`, its plots in `model_card/`, and the gallery in `gallery/` when there are cases.

    Args:
        rule: how the figures came about, shown with the protocol.
        facts: of the checkpoint, name -> text.
        predictions: what the plots are drawn from.
        tables: heading -> Markdown table of figures, in order.
        output: folder, made when missing.
        attributes: rows of the attribute plot.
        robustness: condition -> figures of `evaluation.robustness.compare_pairs`.
        cases: for the gallery. They show patients' scans: keep such a folder out of the project.
        commands: that lead from LIDC-IDRI to this card.
        saliency: what `saliency.run.measure_saliency` found.

    Returns:
        The card's path.
    """
    output = Path(output)
    file = output / CARD_NAME
    parts = [prose.HEAD, _facts_table(facts), prose.USE, prose.DATA, _protocol(rule)]
    parts += ["## Figures", *(f"### {heading}\n\n{table}" for heading, table in tables.items()), "## Plots"]
    for name, figure, caption in _figures(predictions, attributes):
        parts.append(_picture(output, name, figure, caption))
    if robustness:
        parts.append(_robustness(output, robustness))
    if saliency:
        parts.append(_saliency(output, saliency))
    parts += [_gallery(output, cases), prose.LIMITS, _reproduce(commands)]
    with writing(file) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return file


def _figures(predictions: CardPredictions, attributes: Sequence[Row]) -> Iterator[tuple[str, Figure, str]]:
    """File name, figure and caption of every plot of the out-of-fold predictions."""
    suspicious = predictions.rating > EVENT_ABOVE
    decided = predictions.rating != EVENT_ABOVE
    yield (
        "reliability",
        reliability_figure(suspicious, predictions.probability, predictions.size_probability),
        f"Reliability over {len(predictions.rating)} nodules: the share with a mean rating above 3, with 95 % intervals, against the probability "
        "given; below, how many nodules each bin holds.",
    )
    if len(np.unique(suspicious[decided])) == 2:
        yield "roc", *_roc(predictions, suspicious, decided)
    yield (
        "rating",
        rating_figure(predictions.rating, predictions.probability),
        "Probability by the readers' mean rating: median, quartiles, and whiskers from the 5th to the 95th percentile.",
    )
    if attributes:
        beside = any(row.other for row in attributes)
        yield (
            "attributes",
            attributes_figure(attributes),
            "Agreement on the signs, with 95 % intervals: the model and one reader, both with the mean of the nodule's other readers."
            if beside
            else "Agreement on the signs, with 95 % intervals: the model with the mean of all readers.",
        )
    if (np.isfinite(predictions.measured_mm) & np.isfinite(predictions.size_mm)).sum() > 1:
        yield (
            "diameter",
            diameter_figure(predictions.size_mm, predictions.measured_mm),
            "The diameter measured in the outline against the readers'; right, Bland and Altman's differences with bias and 95 % limits.",
        )


def _roc(predictions: CardPredictions, suspicious: np.ndarray, decided: np.ndarray) -> tuple[Figure, str]:
    event, probability = suspicious[decided], predictions.probability[decided]
    size_mm = predictions.size_mm[decided]
    is_sized = bool(np.isfinite(size_mm).all())
    figure = roc_figure(
        event, predictions.score[decided], probability, size_mm if is_sized else None, predictions.auc_intervals
    )
    whose = (
        "the model, before calibration, and of the readers' diameter" if is_sized else "the model, before calibration"
    )
    return figure, (
        f"ROC of {whose}. Rings mark probabilities, which are examples and no advice. "
        "In the order of the probabilities, for which each fold has a calibration of its own, the AUC is "
        f"{metrics.auc(event, probability, np.ones((1, len(event))))[0]:.3f}."
    )


def _picture(output: Path, name: str, figure: Figure, caption: str) -> str:
    save_figure(figure, output / PLOTS_FOLDER / f"{name}.png")
    return f"{_image(f'{PLOTS_FOLDER}/{name}.png', caption)}\n\n*{caption}*"


def _facts_table(facts: Mapping[str, str]) -> str:
    rows = {"version": f"CLIPLung {__version__}", **facts}
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text.replace('|', '/')} |" for name, text in rows.items())])


def _protocol(rule: str) -> str:
    return "\n".join(["## Protocol", "", rule, "", prose.PROTOCOL])


def _robustness(output: Path, robustness: Mapping[str, Mapping[str, Any]]) -> str:
    caption = (
        "The same nodules under other conditions: change of the AUC (mean above against below 3) with paired 95 % intervals. "
        "Every click was moved once in a random direction; in volumes it ends at the first and last slice."
    )
    picture = _picture(output, "robustness", robustness_figure(robustness_rows(robustness)), caption)
    return f"## Robustness\n\n{picture}\n\n{robustness_table(robustness)}"


def _saliency(output: Path, saliency: Mapping[str, Any]) -> str:
    caption = (
        "The heat maps beside a blind blob at the click and noise, with 95 % intervals; solid lines: insertion, dashed: deletion. "
        "Lower right: the map's likeness to that of a network whose weights are random from the heads down to a layer."
    )
    picture = _picture(output, "saliency", saliency_figure(saliency), caption)
    return f"## Saliency\n\n{picture}\n\n{saliency_table(saliency)}"


def _gallery(output: Path, cases: Sequence[Case] | None) -> str:
    head = "## Where it fails\n\nThe most confident wrong answers, out of fold, with the readers' outline."
    if not cases:
        return (
            f"{head} They show patients' scans, so this card comes without them: generate it from the LIDC-IDRI files with the "
            "gallery switched on, as told under *How to reproduce*, and they are written beside it."
        )
    pictures = [
        _image(f"{GALLERY_FOLDER}/{file.name}", "; ".join(case_facts(case)))
        for case, file in zip(cases, write_gallery(cases, output / GALLERY_FOLDER), strict=True)
    ]
    return "\n\n".join([f"{head} Images: LIDC-IDRI, CC BY 3.0.", *pictures])


def _reproduce(commands: Sequence[str]) -> str:
    lines = "\n".join(commands)
    return (
        f"## How to reproduce\n\n`LIDC` is a data folder, as `cliplung prepare` makes it: see Resources/Documentation/training_on_your_data.md.\n\n```sh\n{lines}\n```\n\n"
        f"Everything is seeded. This file is generated by CLIPLung {__version__}: change the program, not the file."
    )


def _image(source: str, description: str) -> str:
    return f'<img src="{escape(source)}" width="{PICTURE_PIXELS}" alt="{escape(description)}" />'


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
