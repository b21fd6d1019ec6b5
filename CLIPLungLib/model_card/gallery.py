"""The model's worst errors as pictures: confident, and contrary to the readers' mean. Shows patients' scans.

Written into the output folder only; the card that belongs to the project has none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from CLIPLungLib.dataset.nodule_images import image_and_click
from CLIPLungLib.dataset.nodule_table import OUTCOME, Nodule
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.model_card.plot_style import INK, SOFT, TEXT_POINTS, new_figure, save_figure
from CLIPLungLib.report.slice_pictures import PLANES, Plane, draw_outline, grey_picture, sample_plane
from CLIPLungLib.vocabulary import ATTRIBUTES, CLASSES, EVENT_ABOVE

PICTURE_MM, PIXELS = 32.0, 380
# Kind of image -> the outline on its grid.
PICTURED = {"volume": "mask", "crop": "crop_mask", "cube": ""}
SCALE_MM = 10.0


@dataclass(frozen=True, eq=False)
class Case:
    """A nodule and what was said of it.

    Attributes:
        nodule: the readers' side.
        probability: out of fold, that their mean rating exceeds 3.
        size_probability: the same from the diameter alone; None when not known.
        ct, point_ras: its scan and the click in it.
        outline: the readers' own; None without one.
    """

    nodule: Nodule
    probability: float
    ct: CTVolume
    point_ras: np.ndarray
    outline: CTVolume | None = None
    size_probability: float | None = None


def worst(rating: np.ndarray, probability: np.ndarray, count: int) -> np.ndarray:
    """Indices of the most confident wrong answers, worst first; ratings of exactly 3 are never wrong."""
    rating, probability = np.asarray(rating), np.asarray(probability)
    error = np.where(rating > EVENT_ABOVE, 1 - probability, np.where(rating < EVENT_ABOVE, probability, 0.0))
    order = np.argsort(-error, kind="stable")[:count]
    return order[error[order] > 0.5]


def read_case(folder: Path, nodule: Nodule, probability: float, size_probability: float | None = None) -> Case:
    """A case from the data folder, by the first of PICTURED that there is.

    Raises:
        InputError: a file of the nodule is missing or damaged.
    """
    kind = next(kind for kind in PICTURED if kind in nodule.images)
    ct, point_ras = image_and_click(folder, nodule, kind)
    outline = None
    if PICTURED[kind] in nodule.images:
        mask = read_ct(Path(folder) / nodule.images[PICTURED[kind]])
        outline = CTVolume((mask.hu > 0).astype(np.float32), mask.ijk_to_ras, mask.name)
    return Case(nodule, probability, ct, point_ras, outline, size_probability)


def worst_cases(
    folder: Path,
    nodules: Sequence[Nodule],
    probability: np.ndarray,
    count: int = 8,
    size_probability: np.ndarray | None = None,
) -> list[Case]:
    """The worst answers among nodules with more than a slice (N nodules, with probability (N,)), ready to be drawn."""
    seen = np.array(
        [i for i, nodule in enumerate(nodules) if any(kind in nodule.images for kind in PICTURED)], dtype=int
    )
    rating = np.array([nodules[i].malignancy for i in seen])
    chosen = seen[worst(rating, np.asarray(probability)[seen], count)]
    return [
        read_case(
            folder,
            nodules[i],
            float(probability[i]),
            None if size_probability is None else float(size_probability[i]),
        )
        for i in chosen
    ]


def write_gallery(cases: Sequence[Case], folder: Path) -> list[Path]:
    """One PNG a case in `folder`, named by rank and nodule; returns the files in order."""
    files = []
    for rank, case in enumerate(cases, start=1):
        file = Path(folder) / f"{rank:02d}-{case.nodule.nodule_id}.png"
        save_figure(case_figure(case), file)
        files.append(file)
    return files


def case_figure(case: Case) -> Figure:
    """Axial and coronal slice through the click with the readers' outline, and the facts beside them."""
    figure = new_figure(2.2)
    axial, coronal, text = figure.subplots(1, 3, width_ratios=(1, 1, 0.95))
    for axes, plane in ((axial, PLANES[0]), (coronal, PLANES[1])):
        _draw_view(axes, case, plane)
    text.set_axis_off()
    headline, *facts = case_facts(case)
    text.text(0, 1.0, headline, va="top", fontsize=TEXT_POINTS, fontweight="bold", color=INK, transform=text.transAxes)
    text.text(
        0,
        0.86,
        "\n".join(facts),
        va="top",
        fontsize=TEXT_POINTS - 1.5,
        color=INK,
        transform=text.transAxes,
        linespacing=1.35,
    )
    return figure


def case_facts(case: Case) -> list[str]:
    """What a reader needs to judge the case, a line each."""
    nodule = case.nodule
    signs = [
        f"{attribute.title} {nodule.mean_rating(attribute.name):.1f}"
        for attribute in ATTRIBUTES
        if attribute.name in ("subtlety", "margin", "spiculation", "texture", "calcification")
        and nodule.ratings[attribute.name]
    ]
    said = f"Mean rating {nodule.malignancy:.2f}, {nodule.n_readers} readers"
    if nodule.truth == OUTCOME:
        said = f"Outcome {CLASSES[nodule.label]}"
    diameter = f"Diameter {nodule.diameter_mm:.1f} mm, " if np.isfinite(nodule.diameter_mm) else ""
    size = "" if case.size_probability is None else f" (size alone {case.size_probability:.2f})"
    return [
        f"p = {case.probability:.2f}{size}",
        said,
        f"{diameter}fold {nodule.fold}",
        *signs,
        f"Nodule {nodule.nodule_id}",
    ]


def _draw_view(axes: Axes, case: Case, plane: Plane) -> None:
    right, anterior, superior = (float(value) for value in case.point_ras)
    center = (right, anterior, superior)
    picture = grey_picture(sample_plane(case.ct, plane, center, PICTURE_MM, PIXELS))
    if case.outline is not None:
        draw_outline(picture, sample_plane(case.outline, plane, center, PICTURE_MM, PIXELS))
    axes.imshow(picture)
    length = SCALE_MM / PICTURE_MM * PIXELS
    axes.plot([PIXELS - 14 - length, PIXELS - 14], [PIXELS - 16] * 2, color="white", linewidth=2.2)
    axes.set_title(f"{plane.name}, bar {SCALE_MM:.0f} mm", fontsize=TEXT_POINTS - 1.5, color=SOFT, loc="left", pad=3)
    axes.set_axis_off()
