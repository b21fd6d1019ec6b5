"""The evaluation of an index of similar cases, as tables in Markdown."""

from __future__ import annotations

from pathlib import Path

from CLIPLungLib.evaluation.markdown import markdown_table, write_between_marks
from CLIPLungLib.similar.figures import COMPARED, TITLES
from CLIPLungLib.similar.index import NEIGHBOURS, SimilarIndex

BEGIN, END = "<!-- similar cases begin -->", "<!-- similar cases end -->"


def similar_tables(index: SimilarIndex) -> str:
    """Both tables with their rules."""
    nodules, patients = len(index.nodule_ids), len(set(index.patient_ids))
    return (
        f"Spearman correlation with the mean of the readers (95 % bootstrap interval by patient), in {nodules} nodules of {patients} patients "
        f"of LIDC-IDRI, out of fold: the {NEIGHBOURS} neighbours are of other patients and were predicted by other networks.\n\n"
        f"{_figures_table(index)}\n\n"
        "Mean of these ten correlations for every metric that was tried. For the table above, the metric of each fold was selected on the other "
        f"folds; the index uses the best one overall.\n\n{_choices_table(index)}"
    )


def write_similar_tables(page: Path, index: SimilarIndex) -> None:
    """Put the tables between the marks of a page.

    Raises:
        InputError: the page cannot be read or written, or has no such marks.
    """
    write_between_marks(page, (BEGIN, END), similar_tables(index))


def _figures_table(index: SimilarIndex) -> str:
    figures = [(TITLES[name], index.figures[name]) for name in COMPARED]
    return markdown_table(
        ["readers' rating", f"mean of the {NEIGHBOURS} neighbours' readers", "the model itself", "n"],
        [[title, str(own.neighbours), str(own.network), str(own.neighbours.n)] for title, own in figures],
    )


def _choices_table(index: SimilarIndex) -> str:
    """The chosen metric is in bold."""
    rows = []
    for name, value in index.choices.items():
        mark = "**" if name == index.metric else ""
        rows.append([f"{mark}{name}{mark}", f"{mark}{value:.3f}{mark}"])
    return markdown_table(["compared by", "mean correlation"], rows)
