"""Nodules put into other lungs: a nodule that was cut out tightly gets true surroundings, and keeps the readers' outline.

Beyond the outline the nodule's own scan fades out over RIM_MM, so that what touches the nodule comes along and no edge is seen.
They are to learn from; nothing is evaluated on them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from CLIPLungLib.dataset.nodule_table import Nodule
from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.image.read import read_ct
from CLIPLungLib.image.resample import grid_coordinates, sample_hu

HOSTS_NAME = "hosts.csv"
RIM_MM = 2.5
# A nodule is put where lung is: vessels and the chest wall have no room for one.
HIGHEST_PLACE_HU = -650.0
# How far from the middle of its host a nodule may come to lie along R, A and S.
LARGEST_MOVE_MM = (2.0, 2.0, 6.0)


@dataclass(frozen=True)
class Host:
    """A piece of lung without a nodule.

    Attributes:
        file: relative to the data folder.
        fold: of its patient; None for a patient of no fold, of whom nothing is evaluated.
    """

    file: str
    fold: int | None


@dataclass(frozen=True, eq=False)
class InsertedNodule:
    """A nodule in a host, both in the host's frame.

    Attributes:
        ct: the host with the nodule.
        outline: the readers' outline, 1 inside.
        point_ras: (3,) the click on the nodule, RAS mm.
    """

    ct: CTVolume
    outline: CTVolume
    point_ras: np.ndarray


def read_hosts(folder: Path) -> tuple[Host, ...]:
    """The hosts of a data folder that have room for a nodule; none where the folder has no table of them.

    Raises:
        InputError: the table cannot be read.
    """
    table = Path(folder) / HOSTS_NAME
    if not table.is_file():
        return ()
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = [(row["file"], row["fold"], float(row["center_hu"])) for row in csv.DictReader(stream)]
        return tuple(Host(file, int(fold) if fold else None) for file, fold, hu in rows if hu < HIGHEST_PLACE_HU)
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{table} cannot be read as a table of hosts (file,fold,center_hu): {error}. Mend it, or remove it to do without."
        ) from error


def insertions(
    folder: Path, nodule: Nodule, ct: CTVolume, outline: CTVolume, hosts: Sequence[Host], count: int
) -> list[InsertedNodule]:
    """A nodule in so many hosts of its own fold or of none; the same in every run.

    Args:
        folder: of the table.
        nodule: with a click in its volume.
        ct: its volume.
        outline: the readers' outline in the same frame, 1 inside.
        hosts: of all folds.
        count: hosts wanted.
    """
    fitting = [host for host in hosts if host.fold in (None, nodule.fold)]
    rng = np.random.default_rng([1, *(int(digits) for digits in re.findall(r"\d+", nodule.nodule_id))])
    chosen = rng.permutation(len(fitting))[:count]
    found = []
    for place in chosen:
        host = _read_host(Path(folder) / fitting[place].file)
        found.append(insert_nodule(ct, outline, np.asarray(nodule.point_ras), host, _place_ras(host, rng)))
    return found


@lru_cache(maxsize=200)
def _read_host(file: Path) -> CTVolume:
    return read_ct(file)


def _place_ras(host: CTVolume, rng: np.random.Generator) -> np.ndarray:
    """(3,) a voxel's centre near the middle, so that a patch around it falls on the host's own voxels."""
    reach = np.asarray(LARGEST_MOVE_MM) / host.spacing_mm
    return host.to_ras(np.rint((host.size_ijk - 1) / 2 + rng.uniform(-reach, reach)))


def insert_nodule(
    nodule: CTVolume, outline: CTVolume, click_ras: np.ndarray, host: CTVolume, place_ras: np.ndarray
) -> InsertedNodule:
    """Put a nodule into another lung.

    Args:
        nodule: the scan around it, at least as far as its outline.
        outline: 1 inside, on a grid of its own, in the nodule's frame.
        click_ras: (3,) on the nodule, in its own frame.
        host: lung without a nodule.
        place_ras: (3,) where the click comes to lie in the host.
    """
    from scipy.ndimage import distance_transform_edt

    to_host = np.eye(4)
    to_host[:3, 3] = place_ras - click_ras
    nodule, outline = nodule.moved(to_host), outline.moved(to_host)
    hu = host.hu.astype(np.int16)
    box, box_to_ras = _box_around(nodule, host)
    shape = hu[box].shape
    if 0 not in shape:
        at_outline, at_nodule = (grid_coordinates(ct, box_to_ras, shape) for ct in (outline, nodule))
        inside = np.where(outline.contains_ijk(at_outline), sample_hu(outline, at_outline), 0.0) >= 0.5
        distance_mm = distance_transform_edt(~inside, sampling=host.spacing_mm[::-1])
        share = np.clip(1 - distance_mm / RIM_MM, 0, 1) * nodule.contains_ijk(at_nodule)
        hu[box] = np.rint(share * sample_hu(nodule, at_nodule) + (1 - share) * hu[box])
    return InsertedNodule(CTVolume(hu, host.ijk_to_ras, host.name), outline, np.asarray(place_ras))


def _box_around(nodule: CTVolume, host: CTVolume) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """The voxels of the host (k, j, i) that the nodule's scan reaches, and the (4, 4) matrix of the box."""
    corners = host.to_ijk(np.stack(np.meshgrid(*nodule.bounds_ras().T, indexing="ij"), axis=-1).reshape(-1, 3))
    low = np.clip(np.floor(corners.min(axis=0)), 0, host.size_ijk).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, host.size_ijk).astype(int)
    box_to_ras = host.ijk_to_ras.copy()
    box_to_ras[:3, 3] = host.to_ras(low)
    k, j, i = (slice(int(start), int(stop)) for start, stop in zip(low[::-1], high[::-1], strict=True))
    return (k, j, i), box_to_ras
