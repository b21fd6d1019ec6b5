"""What was measured of an index of similar cases, as tables in Markdown."""

from __future__ import annotations

from pathlib import Path

from CLIPLungLib.atomic_write import writing
from CLIPLungLib.errors import InputError
from CLIPLungLib.similar.figures import COMPARED, TITLES
from CLIPLungLib.similar.index import NEIGHBOURS, SimilarIndex

BEGIN, END = "<!-- similar cases begin -->", "<!-- similar cases end -->"


def similar_tables(index: SimilarIndex) -> str:
    """Both tables with their rules."""
    nodules, patients = len(index.nodule_ids), len(set(index.patient_ids))
    return (
        f"Spearman correlation with the mean of the readers (95 % bootstrap interval by patient), in {nodules} nodules of {patients} patients "
        f"of LIDC-IDRI, out of fold: the {NEIGHBOURS} neighbours are of other patients and were answered by other networks.\n\n"
        f"{_figures_table(index)}\n\n"
        "Mean of these ten correlations for every way to compare that was tried. For the table above, each fold was told by the way that "
        f"is best in the other folds; the index compares by the best one of all.\n\n{_choices_table(index)}"
    )


def write_similar_tables(page: Path, index: SimilarIndex) -> None:
    """Put the tables between the marks of a page.

    Raises:
        InputError: the page cannot be read or written, or has no such marks.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{page} cannot be read as text ({error}). Give a page in Markdown.") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{page} needs the lines {BEGIN} and {END}, once each, around its tables.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    with writing(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{similar_tables(index)}\n{END}{after}", encoding="utf-8")


def _figures_table(index: SimilarIndex) -> str:
    rows = [
        f"| what readers said | mean of the {NEIGHBOURS} neighbours' readers | the network itself | n |",
        "| --- | --- | --- | --- |",
    ]
    for name in COMPARED:
        found = index.figures[name]
        rows.append(f"| {TITLES[name]} | {found.neighbours} | {found.network} | {found.neighbours.n} |")
    return "\n".join(rows)


def _choices_table(index: SimilarIndex) -> str:
    """The chosen way is set in bold."""
    rows = ["| compared by | mean correlation |", "| --- | --- |"]
    for name, value in index.choices.items():
        mark = "**" if name == index.metric else ""
        rows.append(f"| {mark}{name}{mark} | {mark}{value:.3f}{mark} |")
    return "\n".join(rows)
