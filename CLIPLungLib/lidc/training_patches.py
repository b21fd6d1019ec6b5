"""From LIDC images to patches for training: one file with every existing plane of every nodule, wider than the network sees.

The margin is for training's shifts and turns. Each image of a nodule becomes a *view*: a stack of planes with the readers' outline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.patch import PatchSpec
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.image.resample import grid_coordinates, sample_hu
from CLIPLungLib.lidc.nodule_table import IMAGE_KINDS, LidcNodule, read_nodules

MARGIN_PIXELS = 8
PATCH_KINDS = ("volume", "slice", "cube", "crop", "background")
# Planes this far beyond the nodule's ends show none of it.
EMPTY_BEYOND_MM = 3.0
# Points without a nodule, taken from every cube and crop: how many, how far from the nodule's rim, and how much of the scan around them.
BACKGROUND_POINTS, BACKGROUND_BEYOND_MM, BACKGROUND_HALF_MM = 6, 10.0, 8.0


@dataclass(frozen=True, eq=False)
class TrainingPatches:
    """All views of all nodules, planes one after the other.

    Attributes:
        hu: (P, H, W) int16 planes, MARGIN_PIXELS wider than the patch on every side.
        outline: (P, H, W) uint8, 255 inside the readers' outline; nothing in views of kind "background".
        height_mm: (P,) height of the plane above the click.
        first_plane, plane_count: (V,) the planes of each view.
        nodule: (V,) index into the table's rows.
        kind: (V,) index into PATCH_KINDS.
        is_outlined: (V,) bool, True where the outline is the readers' own (or truly empty), not a ball of their diameter.
    """

    hu: np.ndarray
    outline: np.ndarray
    height_mm: np.ndarray
    first_plane: np.ndarray
    plane_count: np.ndarray
    nodule: np.ndarray
    kind: np.ndarray
    is_outlined: np.ndarray

    def save(self, file: Path) -> None:
        """Write as an uncompressed .npz without pickled objects."""
        np.savez(file, **vars(self))

    @classmethod
    def load(cls, file: Path) -> TrainingPatches:
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})

    def planes(self, view: int) -> slice:
        """The planes of a view."""
        return slice(int(self.first_plane[view]), int(self.first_plane[view] + self.plane_count[view]))


def prepare_patches(
    folder: Path, spec: PatchSpec, progress: Callable[[int, int], None] | None = None
) -> TrainingPatches:
    """Resample every image of every nodule in a LIDC folder on the grid the network will see."""
    nodules = read_nodules(folder)
    wide = replace(spec, shape=(spec.shape[0], *(n + 2 * MARGIN_PIXELS for n in spec.shape[1:])))
    views = []
    for index, patches_of_nodule in enumerate(_views(folder, nodules, wide)):
        views += [(index, *view) for view in patches_of_nodule]
        if progress:
            progress(index + 1, len(nodules))
    counts = np.array([len(height) for *_, height in views])
    return TrainingPatches(
        hu=np.concatenate([hu for _, _, hu, _, _ in views]),
        outline=np.concatenate([outline for _, _, _, outline, _ in views]),
        height_mm=np.concatenate([height for *_, height in views]).astype(np.float32),
        first_plane=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        plane_count=counts,
        nodule=np.array([view[0] for view in views]),
        kind=np.array([PATCH_KINDS.index(view[1]) for view in views]),
        is_outlined=np.array([view[1] == "background" or _has_outline(nodules[view[0]], view[1]) for view in views]),
    )


View = tuple[str, np.ndarray, np.ndarray, np.ndarray]


def _views(folder: Path, nodules: list[LidcNodule], spec: PatchSpec) -> Iterator[list[View]]:
    with np.load(folder / "slices.npz", allow_pickle=False) as arrays:
        slices = arrays["hu"]
    for nodule in nodules:
        outline = outline_volume(folder, nodule)
        views = []
        for kind in (kind for kind in IMAGE_KINDS if kind in nodule.images):
            ct = read_ct(folder / nodule.images[kind])
            # Cubes and crops have the click as the origin of their own frame.
            click_ras = np.asarray(nodule.point_ras) if kind == "volume" else np.zeros(3)
            views.append(_view(kind, ct, click_ras, nodule, outline, spec))
            if kind != "volume":
                views += [_background_view(ct, point, spec) for point in background_points(ct, nodule)]
        if nodule.slice_index is not None:
            ct = _slice_volume(slices[nodule.slice_index], nodule.slice_pixel_mm)
            views.append(_view("slice", ct, np.zeros(3), nodule, None, spec))
        yield views


def background_points(ct: CTVolume, nodule: LidcNodule) -> np.ndarray:
    """(N, 3) RAS mm: random points of a cube or crop, well beyond the nodule at its origin; the same in every run."""
    rng = np.random.default_rng([int(digits) for digits in re.findall(r"\d+", nodule.nodule_id)])
    low, high = ct.bounds_ras()
    candidates = rng.uniform(low * 0.75, high * 0.75, (200, 3))
    beyond = np.linalg.norm(candidates, axis=1) > nodule.diameter_mm / 2 + BACKGROUND_BEYOND_MM
    return candidates[beyond][:BACKGROUND_POINTS]


def _background_view(ct: CTVolume, point_ras: np.ndarray, spec: PatchSpec) -> View:
    kind, hu, outline, height_mm = _view("background", ct, point_ras, None, None, spec)
    near = np.abs(height_mm) <= BACKGROUND_HALF_MM
    return kind, hu[near], outline[near], height_mm[near]


def _view(
    kind: str,
    ct: CTVolume,
    click_ras: np.ndarray,
    nodule: LidcNodule | None,
    outline: CTVolume | None,
    spec: PatchSpec,
) -> View:
    matrix = spec.grid_to_ras(click_ras)
    height_mm = matrix[2, 3] + matrix[2, 2] * np.arange(spec.shape[0]) - click_ras[2]
    exists = ct.contains_ijk(ct.to_ijk(click_ras + height_mm[:, None] * [0.0, 0.0, 1.0]))
    hu = sample_hu(ct, grid_coordinates(ct, matrix, spec.shape)[exists])
    inside = np.zeros(hu.shape, np.uint8) if nodule is None else _outline(nodule, outline, spec)[exists]
    return kind, np.clip(np.rint(hu), -32000, 32000).astype(np.int16), inside, height_mm[exists]


def _outline(nodule: LidcNodule, outline: CTVolume | None, spec: PatchSpec) -> np.ndarray:
    """(Z, H, W) uint8: the readers' outline around the click, or a ball of their diameter where no outline is at hand."""
    if outline is not None:
        matrix = spec.grid_to_ras(np.asarray(nodule.point_ras))
        coordinates = grid_coordinates(outline, matrix, spec.shape)
        return np.where(outline.contains_ijk(coordinates), 255 * sample_hu(outline, coordinates), 0).astype(np.uint8)
    k, j, i = np.indices(spec.shape)
    grid = spec.grid_to_ras(np.zeros(3))
    distance_mm = np.linalg.norm(np.stack([i, j, k], axis=-1) @ grid[:3, :3].T + grid[:3, 3], axis=-1)
    return np.where(distance_mm <= nodule.diameter_mm / 2, 255, 0).astype(np.uint8)


def _has_outline(nodule: LidcNodule, kind: str) -> bool:
    # A slice's height within the outlined volume is not recorded.
    return kind != "slice" and "mask" in nodule.images and nodule.point_ras is not None


def outline_volume(folder: Path, nodule: LidcNodule) -> CTVolume | None:
    """The readers' outline as a volume of 0 and 1; None where there is none at hand."""
    if "mask" not in nodule.images or nodule.point_ras is None:
        return None
    mask = read_ct(folder / nodule.images["mask"])
    return CTVolume((mask.hu > 0).astype(np.uint8), mask.ijk_to_ras, mask.name)


def _slice_volume(hu: np.ndarray, pixel_mm: float) -> CTVolume:
    """A single axial slice (rows to the back, columns to the left) centred on the origin, as a volume of one plane."""
    matrix = np.diag([-pixel_mm, -pixel_mm, 1.0, 1.0])
    matrix[:2, 3] = pixel_mm * (np.array(hu.shape[::-1]) - 1) / 2
    return CTVolume(hu[None], matrix, "slice")
