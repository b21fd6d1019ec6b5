"""What a comparison with a prior CT was made of, and whether that is still so. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from CLIPLungLib.inference.result import NoduleResult
    from CLIPLungLib.scene.ct_mark import CTState

# A point that was moved by less is taken for the same nodule.
SAME_NODULE_MM = 5.0
SAME_PLACE_MM = 0.01
# Share by which numbers may differ that were read back from a file.
ROUNDING = 1e-4
States = list[tuple[str, "CTState"]]


def statesOf(*cts: slicer.vtkMRMLScalarVolumeNode) -> States:
    """Where CTs lie and how old their voxels are, by their IDs.

    Raises:
        InputError: a transform above one of them is not linear.
    """
    from CLIPLungLib.scene.ct_mark import ct_state

    return [(ct.GetID(), ct_state(ct)) for ct in cts]


def requireStates(states: States) -> None:
    """Refuse what was computed of CTs that were moved, modified or removed meanwhile.

    Raises:
        InputError: naming the CT.
    """
    from CLIPLungLib.errors import InputError
    from CLIPLungLib.scene.ct_mark import require_unchanged

    for nodeID, before in states:
        ct = slicer.mrmlScene.GetNodeByID(nodeID)
        if ct is None:
            raise InputError(_("A CT was removed meanwhile. Choose both CTs again."))
        require_unchanged(ct, before)


def requireTwo(current: slicer.vtkMRMLScalarVolumeNode, prior: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Refuse to compare a CT with itself.

    Raises:
        InputError: both are the same.
    """
    from CLIPLungLib.errors import InputError

    if current is prior:
        raise InputError(
            _("'{name}' is both the CT of the answer and the prior CT. Choose an earlier CT of the patient.").format(
                name=current.GetName()
            )
        )


def requireCurrent(points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str) -> None:
    """Refuse an answer that is for another place or for other voxels than those of now.

    Raises:
        InputError: it is, or the CT came under a non-linear transform.
    """
    from CLIPLungLib.errors import InputError
    from CLIPLungLib.scene.result_store import is_stale

    if is_stale(points, pointID):
        raise InputError(
            _("The point has moved since, or the CT has moved or changed. Press 'Analyze again', then compare.")
        )


def priorToPlain(prior: slicer.vtkMRMLScalarVolumeNode, result: NoduleResult) -> dict[str, Any]:
    """Where a prior CT lies and what it holds around its nodule, for JSON."""
    from CLIPLungLib.scene.ct_mark import mark_voxels
    from CLIPLungLib.scene.volume_node import ct_volume

    ct = ct_volume(prior)
    mark = mark_voxels(ct, result.heatmap_to_ras, result.heatmap.shape)
    return {"ijk_to_ras": ct.ijk_to_ras.tolist(), "voxels": None if mark is None else mark.to_plain()}


def isOutdated(
    record: Any, points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str, mark: slicer.vtkMRMLMarkupsNode
) -> bool:
    """Whether points, answer or CTs are others than those a record was made of; what a damaged one does not say counts as unchanged."""
    from CLIPLungLib.errors import CLIPLungError
    from CLIPLungLib.scene.prior_point import prior_ct, prior_ras
    from CLIPLungLib.scene.result_store import stored_result

    now = _placeOf(points, pointID)
    try:
        if "comparison" not in record:
            return _isApart(record["proposed_for_ras_mm"], now, SAME_NODULE_MM)
        current, before = (record["comparison"][name] for name in ("current", "prior"))
        if _isApart(current["point_ras_mm"], now, SAME_PLACE_MM):
            return True
        if _isApart(before["point_ras_mm"], prior_ras(mark), SAME_PLACE_MM):
            return True
        stored = stored_result(points, pointID)
        if stored is None or stored.is_stale_at(now) or _isAnother(current, stored.result):
            return True
        return "prior_ct" in record and not _isSameCT(record["prior_ct"], prior_ct(mark))
    except CLIPLungError:
        return True
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _placeOf(points: slicer.vtkMRMLMarkupsFiducialNode, pointID: str) -> Any:
    from CLIPLungLib.scene.control_points import defined_points

    return next((point.ras for point in defined_points(points) if point.id == pointID), None)


def _isApart(kept: Any, now: Any, tolerance_mm: float) -> bool:
    return now is None or max(abs(x - y) for x, y in zip(kept, now, strict=True)) > tolerance_mm


def _isAnother(kept: Any, result: NoduleResult) -> bool:
    """Whether the stored answer is another one than the one that was compared: analyzed again, or its outline corrected."""
    now = result.to_dict()
    if (kept["model"] or {}).get("sha256") != now["model"].get("sha256"):
        return True
    pairs = [(kept[name], now[name]) for name in ("malignancy_probability", "diameter_mm")]
    before_mm3, now_mm3 = ((one.get("measurement") or {}).get("volume_mm3") for one in (kept, now))
    if before_mm3 is None or now_mm3 is None:
        return before_mm3 is not now_mm3 or _differ(pairs)
    return _differ([*pairs, (before_mm3, now_mm3)])


def _differ(pairs: list[tuple[float, float]]) -> bool:
    return any(abs(first - second) > ROUNDING * max(abs(first), abs(second)) for first, second in pairs)


def _isSameCT(kept: Any, ct: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    import numpy as np

    from CLIPLungLib.scene.ct_mark import has_moved, holds_marked, mark_from_plain
    from CLIPLungLib.scene.volume_node import world_ijk_to_ras

    if ct is None or has_moved(np.array(kept["ijk_to_ras"], dtype=np.float64), world_ijk_to_ras(ct)):
        return False
    return kept["voxels"] is None or holds_marked(ct, mark_from_plain(kept["voxels"]))
