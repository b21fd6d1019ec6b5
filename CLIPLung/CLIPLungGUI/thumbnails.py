"""Small pictures of nodules for tool tips: made when the mouse asks for them, kept until nodule or CT has moved."""

from __future__ import annotations

import base64

from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode

MOST_KEPT = 100


class Thumbnails:
    """Pictures as HTML. No Qt."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], str] = {}

    def html(self, ct: vtkMRMLScalarVolumeNode | None, points: vtkMRMLMarkupsFiducialNode | None, pointID: str) -> str:
        """An image tag; empty without a CT, a point, or a place where the CT could be read."""
        from CLIPLungLib.errors import CLIPLungError
        from CLIPLungLib.scene.control_points import point_world_ras
        from CLIPLungLib.scene.thumbnail import axial_png
        from CLIPLungLib.scene.volume_node import ct_volume

        if ct is None or points is None:
            return ""
        try:
            volume, ras = ct_volume(ct), point_world_ras(points, pointID)
        except CLIPLungError:
            return ""
        # The toolkit never uses a modification time twice: it stands for the voxels.
        key = (ct.GetImageData().GetMTime(), volume.ijk_to_ras.tobytes(), ras.tobytes())
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            png = base64.b64encode(axial_png(volume, ras)).decode()
            self._kept[key] = f'<img src="data:image/png;base64,{png}">'
        return self._kept[key]
