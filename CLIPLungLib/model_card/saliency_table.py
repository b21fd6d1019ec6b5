"""The evaluation of heat maps on the card: the figures of `saliency.summary.summarise` as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALL = "all"
LABELS = {
    "shipped": "the map shown",
    "grad_cam": "Grad-CAM, last maps",
    "grad_cam_fine": "Grad-CAM, finer maps",
    "grad_cam_plus_plus": "Grad-CAM++",
    "hires_cam": "HiResCAM, last maps",
    "hires_cam_fine": "HiResCAM, finer maps",
    "integrated_gradients": "Integrated Gradients",
    "occlusion": "occlusion",
    "gate": "gate alone",
    "outline": "control: own outline alone",
    "grad_cam_in_outline": "Grad-CAM x own outline",
    "hires_cam_in_outline": "HiResCAM x own outline",
    "blob": "control: blob at the click",
    "random": "control: noise",
}
COLUMNS = {
    "empty": "empty",
    "energy": "energy in the outline",
    "energy_over_blob": "energy / blob's",
    "pointing": "peak in the outline",
    "deletion": "deletion",
    "deletion_less_blob": "deletion less blob's",
    "insertion": "insertion",
    "insertion_less_blob": "insertion less blob's",
    "random_weights": "correlation with random weights",
    "seeds": "correlation with another run",
}
SIGNED = ("deletion_less_blob", "insertion_less_blob")


def explanation(found: Mapping[str, Any]) -> str:
    """How the figures came about, in one paragraph."""
    return (
        f"{found['images']} images, out of fold; every click was moved by up to {found['click_mm']:g} mm in a random direction "
        f"({found['refused']} refused). Each map explains the predicted side: suspicion where the nodule is called malignant, "
        "harmlessness where it is called benign. *Empty*: share of maps that show nothing at the threshold of the display. *Energy*: share "
        "of the map's sum within the readers' outline; an empty map has none. *Peak*: share of maps whose largest value lies there. "
        "*Deletion*: mean probability of the predicted side while the most relevant voxels are replaced by lung, "
        f"{', '.join(f'{volumes:g}' for volumes in found['volumes'])} times as many as the nodule has; lower is better. *Insertion*: while only those "
        "voxels are inserted into lung; higher is better. *Correlation*: Spearman of the maps, with those of a network whose weights are all "
        f"random (near 0 is right) and of another run. Means with 95 % intervals, {found['bootstraps']} patient bootstraps. "
        "The blob is a Gaussian at the click, as wide as the typical nodule, independent of the image."
    )


def saliency_table(found: Mapping[str, Any]) -> str:
    """In Markdown: every method beside the controls, and the first method by size, kind of image and side."""
    groups = found["groups"]
    methods = groups[ALL]["methods"]
    columns = {key: name for key, name in COLUMNS.items() if any(_is_known(own.get(key)) for own in methods.values())}
    head = [*columns.values(), "cost"]
    rows = [
        [_label(name), *(_cell(own.get(key), key in SIGNED) for key in columns), _cost(found["cost"].get(name))]
        for name, own in methods.items()
    ]
    first = next(name for name in methods if name in found["cost"])
    by_group = [
        [group, f"{own['n']} ({own['patients']})"]
        + [_cell(own["methods"][first].get(key), key in SIGNED) for key in columns]
        for group, own in groups.items()
    ]
    size = f"{groups[ALL]['n']} images of {groups[ALL]['patients']} patients"
    return "\n\n".join(
        [
            explanation(found),
            _table([f"map ({size})", *head], rows),
            f"*Cost*: time of a map over that of one forward and backward pass. {_label(first)[0].upper()}{_label(first)[1:]}, by group:",
            _table(["", "images (patients)", *columns.values()], by_group),
        ]
    )


def _label(name: str) -> str:
    return LABELS.get(name, name)


def _is_known(figure: Mapping[str, Any] | None) -> bool:
    return figure is not None and figure["value"] is not None


def _cell(figure: Mapping[str, Any] | None, signed: bool) -> str:
    if figure is None or figure["value"] is None:
        return ""
    form = "{:+.2f}" if signed else "{:.2f}"
    ends = figure["interval"]
    return form.format(figure["value"]) + (f" ({form.format(ends[0])} to {form.format(ends[1])})" if ends else "")


def _cost(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])
