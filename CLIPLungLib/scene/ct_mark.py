"""What a CT held, and where it lay, when an answer was computed: to notice that it is another one now.

A volume node is a place that others fill as well: a sequence browser shows its next frame there, a filter writes into it, a transform
above it is changed. An answer holds for the voxels it was computed from.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import slicer

from CLIPLungLib.errors import InputError
from CLIPLungLib.image.ct_volume import CTVolume
from CLIPLungLib.scene.volume_node import world_ijk_to_ras

# In any number of the IJK-to-RAS matrix; a smaller difference comes from writing the matrix to a file.
CT_MOVED_MM = 1e-4
MOST_COMPARED = 4096
# Whether the voxels were the same, by the modification time of the image, which the toolkit never uses twice, and the mark.
_compared: dict[tuple[int, VoxelMark], bool] = {}


@dataclass(frozen=True)
class VoxelMark:
    """The voxels of a box of a CT: where the box begins, how large it is, and a checksum of what it held."""

    first_ijk: tuple[int, int, int]
    size_ijk: tuple[int, int, int]
    checksum: str

    def to_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class CTState(NamedTuple):
    """A CT at one moment: (4, 4) where it lay in the world, and when its voxels were last modified."""

    ijk_to_ras: np.ndarray
    voxels_time: int


def mark_voxels(ct: CTVolume, box_to_ras: np.ndarray, box_shape: tuple[int, ...]) -> VoxelMark | None:
    """The mark of a CT's voxels in a box.

    Args:
        box_to_ras: (4, 4) IJK to RAS of a grid, such as that of a heat map.
        box_shape: (Z, Y, X) of that grid.

    Returns:
        None where the box lies outside of the CT, or has no voxels.
    """
    corners = np.stack(np.meshgrid(*[(0.0, n - 1.0) for n in box_shape[::-1]], indexing="ij"), axis=-1).reshape(-1, 3)
    reach_ijk = ct.to_ijk(corners @ box_to_ras[:3, :3].T + box_to_ras[:3, 3])
    low = np.clip(np.floor(reach_ijk.min(axis=0)), 0, ct.size_ijk).astype(int)
    high = np.clip(np.ceil(reach_ijk.max(axis=0)) + 1, 0, ct.size_ijk).astype(int)
    if 0 in box_shape or (high <= low).any():
        return None
    (i, j, k), (width, height, depth) = low.tolist(), (high - low).tolist()
    return VoxelMark((i, j, k), (width, height, depth), _checksum(_box(ct.hu, (i, j, k), (width, height, depth))))


def mark_from_plain(plain: Any) -> VoxelMark:
    """The inverse of `VoxelMark.to_plain`.

    Raises:
        ValueError, and what reading plain values raises: it is no mark.
    """
    boxes = [plain[name] for name in ("first_ijk", "size_ijk")]
    if not all(
        isinstance(box, list) and len(box) == 3 and all(type(n) is int and n >= 0 for n in box) for box in boxes
    ):
        raise ValueError("the mark of the CT's voxels has no box")
    (i, j, k), (width, height, depth) = boxes
    return VoxelMark((i, j, k), (width, height, depth), str(plain["checksum"])[:64])


def holds_marked(ct_node: slicer.vtkMRMLScalarVolumeNode, mark: VoxelMark) -> bool:
    """Whether a CT still holds the voxels that were marked. Cheap when called again."""
    image = ct_node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return False
    key = (image.GetMTime(), mark)
    if key not in _compared:
        if len(_compared) >= MOST_COMPARED:
            _compared.clear()
        box = _box(slicer.util.arrayFromVolume(ct_node), mark.first_ijk, mark.size_ijk)
        _compared[key] = box.shape == mark.size_ijk[::-1] and _checksum(box) == mark.checksum
    return _compared[key]


def has_moved(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether a CT lies elsewhere: (4, 4) IJK to world RAS, before and now. Numbers that are none lie elsewhere."""
    return not np.abs(now - before).max() <= CT_MOVED_MM


def ct_state(ct_node: slicer.vtkMRMLScalarVolumeNode) -> CTState:
    """Where a CT lies and how old its voxels are.

    Raises:
        InputError: a transform above the CT is not linear.
    """
    image = ct_node.GetImageData()
    return CTState(world_ijk_to_ras(ct_node), 0 if image is None else image.GetMTime())


def require_unchanged(ct_node: slicer.vtkMRMLScalarVolumeNode, before: CTState) -> None:
    """Refuse an answer for a CT that became another one while it was computed.

    Raises:
        InputError: the CT was moved, its voxels were modified, or a transform above it is no longer linear.
    """
    now = ct_state(ct_node)
    if has_moved(before.ijk_to_ras, now.ijk_to_ras) or now.voxels_time != before.voxels_time:
        raise InputError(
            f"'{ct_node.GetName()}' was moved or changed while the nodule was analyzed (a transform, a filter, another frame of a sequence): "
            "the answer would be for what it was before. Analyze the nodule again."
        )


def _box(hu: np.ndarray, first_ijk: tuple[int, ...], size_ijk: tuple[int, ...]) -> np.ndarray:
    """The voxels (K, J, I) of a box; fewer where it reaches beyond the array."""
    i, j, k = (slice(first, first + size) for first, size in zip(first_ijk, size_ijk, strict=True))
    return hu[k, j, i]


def _checksum(voxels: np.ndarray) -> str:
    """Of the values, whatever the type they are stored as."""
    return hashlib.blake2b(np.ascontiguousarray(voxels, dtype=np.float32).reshape(-1).data, digest_size=16).hexdigest()
