"""Which readings of a scan are of the same nodule.

Readers worked apart, so nothing in LIDC-IDRI says so. The rule is that of pylidc's clustering, on which nearly all publications
rest: readings whose outlines come close are of one nodule, and the distance shrinks until no nodule has more readings than there
were readers. pylidc measures between pixel indices (row, column, slice) and compares with the slice thickness in mm. That mixes
units, and is kept: in mm some nodules would be joined or parted in another way than in everybody's tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from CLIPLungLib.lidc.annotations import AnnotatedScan, Reading

READERS_AT_MOST = 4
SHRINK = 0.9
# Below, pylidc gives up, and a group keeps more readings than there were readers.
LEAST_DISTANCE = 0.1


def group_readings(scan: AnnotatedScan) -> list[list[Reading]]:
    """The readings of each nodule, by their number; nodules by rising height of their outlines."""
    from scipy.sparse.csgraph import connected_components

    readings = scan.readings
    if not readings:
        return []
    points = [outline_indices(reading, scan.heights_mm) for reading in readings]
    distance, reach = _distances(points, scan.thickness_mm), scan.thickness_mm
    while True:
        count, group = connected_components(distance <= reach, directed=False)
        reach *= SHRINK
        if np.bincount(group).max() <= READERS_AT_MOST or reach < LEAST_DISTANCE:
            break
    members = [np.flatnonzero(group == number) for number in range(count)]
    members.sort(key=lambda chosen: float(np.mean([points[index][:, 2].mean() for index in chosen])))
    return [[readings[index] for index in chosen.tolist()] for chosen in members]


def readers_centre(readings: Sequence[Reading]) -> tuple[float, float, float]:
    """Where a nodule lies: row and column in pixels, the mean over readers of their outlines' points; and the middle height in mm."""
    points = [np.concatenate([contour.points_px for contour in reading.contours]).mean(axis=0) for reading in readings]
    column, row = np.mean(points, axis=0)
    heights_mm = [contour.z_mm for reading in readings for contour in reading.contours]
    return float(row), float(column), (min(heights_mm) + max(heights_mm)) / 2


def outline_indices(reading: Reading, heights_mm: np.ndarray) -> np.ndarray:
    """(N, 3) row, column and slice index of all points of a reader's outlines, rising in height."""
    return np.concatenate(list(_indices(reading, heights_mm)))


def _indices(reading: Reading, heights_mm: np.ndarray) -> Iterator[np.ndarray]:
    for contour in reading.contours:
        nearest = np.abs(heights_mm - contour.z_mm).argmin()
        yield np.column_stack([contour.points_px[:, ::-1], np.full(len(contour.points_px), float(nearest))])


def _distances(points: Sequence[np.ndarray], reach: float) -> np.ndarray:
    """(N, N) smallest distance between the points of two readings; infinite where their boxes are farther apart than `reach`."""
    from scipy.spatial import KDTree

    low, high = (np.array([bound(own, axis=0) for own in points]) for bound in (np.min, np.max))
    trees = [KDTree(own) for own in points]
    distance = np.full((len(points), len(points)), np.inf)
    np.fill_diagonal(distance, 0.0)
    for first in range(len(points)):
        apart = np.maximum(low - high[first], low[first] - high).max(axis=1)
        for second in np.flatnonzero(apart <= reach).tolist():
            if second > first:
                nearest = trees[first].query(points[second])[0].min()
                distance[first, second] = distance[second, first] = nearest
    return distance
