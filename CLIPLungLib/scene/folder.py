"""A subject hierarchy folder for the results of each CT.

Items exist only where the application makes them; without them nothing is done. Item IDs change with every load, so a
folder is known by an attribute, and the folder of a CT by the heat maps in it.
"""

from __future__ import annotations

import slicer
import vtk

from CLIPLungLib.scene import heatmap_node
from CLIPLungLib.scene.tagged_nodes import CT_ROLE, all_tagged

FOLDER = "CLIPLung.folder"


def file_under_ct(ct_node: slicer.vtkMRMLScalarVolumeNode, nodes: list[slicer.vtkMRMLNode]) -> None:
    """Move nodes into the CT's results folder, beside the CT. Only new ones: what a user has put elsewhere stays there."""
    hierarchy = _hierarchy(ct_node.GetScene())
    if hierarchy is None or not hierarchy.GetItemByDataNode(ct_node):
        return
    top = hierarchy.GetSceneItemID()
    items = [hierarchy.GetItemByDataNode(node) for node in nodes]
    new_items = [item for item in items if item and hierarchy.GetItemParent(item) == top]
    if new_items:
        folder = _find_folder(hierarchy, ct_node) or _add_folder(hierarchy, ct_node)
        for item in new_items:
            hierarchy.SetItemParent(item, folder)


def remove_empty_folders(scene: slicer.vtkMRMLScene) -> None:
    """Remove results folders that hold nothing any more."""
    hierarchy = _hierarchy(scene)
    if hierarchy is None:
        return
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    for item in [items.GetId(index) for index in range(items.GetNumberOfIds())]:
        if hierarchy.HasItemAttribute(item, FOLDER) and not hierarchy.GetNumberOfItemChildren(item):
            hierarchy.RemoveItem(item)


def _hierarchy(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode | None:
    if scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") is None:
        return None
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def _find_folder(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, ct_node: slicer.vtkMRMLScalarVolumeNode) -> int:
    """The folder that holds a heat map of this CT; 0 when there is none."""
    for tagged in all_tagged(ct_node.GetScene(), heatmap_node.KIND):
        item = hierarchy.GetItemByDataNode(tagged)
        if item and tagged.GetNodeReference(CT_ROLE) is ct_node:
            parent = hierarchy.GetItemParent(item)
            if hierarchy.HasItemAttribute(parent, FOLDER):
                return int(parent)
    return 0


def _add_folder(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, ct_node: slicer.vtkMRMLScalarVolumeNode) -> int:
    parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(ct_node))
    folder = hierarchy.CreateFolderItem(parent, f"{ct_node.GetName()} CLIPLung")
    hierarchy.SetItemAttribute(folder, FOLDER, "results")
    return int(folder)
