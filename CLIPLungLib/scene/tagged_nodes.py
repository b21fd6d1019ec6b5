"""How CLIPLung knows the nodes it made: by tags, never by name, which a user may change or use twice.

Every tagged node carries what it is (an attribute) and what it belongs to (node references, which survive saving,
loading and importing, where plain node IDs would not).
"""

from __future__ import annotations

import slicer

from CLIPLungLib.scene.active_list import active_list_kept

KIND = "CLIPLung.kind"
POINT_ID = "CLIPLung.pointID"
CT_ROLE = "CLIPLung.ct"
MARKUPS_ROLE = "CLIPLung.markups"
# A node points at itself: a copy made by the user carries the same attributes, but points at the original, and is theirs.
SELF_ROLE = "CLIPLung.self"
# Where each was found the last time: kind, markups node and point -> node, by their IDs. Never trusted, only looked at first.
_found_last: dict[tuple[str, str, str | None], str] = {}
MOST_REMEMBERED = 20_000


def add_tagged(
    scene: slicer.vtkMRMLScene,
    class_name: str,
    name: str,
    kind: str,
    markups_node: slicer.vtkMRMLMarkupsNode | None = None,
    point_id: str | None = None,
) -> slicer.vtkMRMLNode:
    """A new tagged node, which `find_tagged` will find again."""
    with active_list_kept(scene):
        node = scene.AddNewNodeByClass(class_name, scene.GetUniqueNameByString(name))
    node.SetAttribute(KIND, kind)
    node.SetAttribute(POINT_ID, point_id)
    node.SetNodeReferenceID(MARKUPS_ROLE, markups_node.GetID() if markups_node else None)
    node.SetNodeReferenceID(SELF_ROLE, node.GetID())
    return node


def all_tagged(scene: slicer.vtkMRMLScene, kind: str) -> list[slicer.vtkMRMLNode]:
    """Every tagged node of a kind."""
    # Written out, as it runs over every node of the scene.
    return [
        node
        for node in scene.GetNodes()
        if node.GetAttribute(KIND) == kind and node.GetNodeReference(SELF_ROLE) is node
    ]


def nodes_of_class(scene: slicer.vtkMRMLScene, class_name: str) -> list[slicer.vtkMRMLNode]:
    """Every node of a class. (`slicer.util.getNodesByClass` looks into the application's scene, whatever it is given.)"""
    return [node for node in scene.GetNodes() if node.IsA(class_name)]


def find_tagged(
    kind: str, markups_node: slicer.vtkMRMLMarkupsNode, point_id: str | None = None
) -> slicer.vtkMRMLNode | None:
    """The tagged node of a kind that belongs to a markups node, or to one of its control points when an ID is given.

    Cheap where it was found before; else every node of the scene is looked at.
    """
    scene = markups_node.GetScene()
    if scene is None:
        return None
    key = (kind, markups_node.GetID(), point_id)
    node = scene.GetNodeByID(_found_last.get(key, ""))
    if node is not None and _is_tagged(node, kind) and _belongs_to(node, markups_node, point_id):
        return node
    for node in all_tagged(scene, kind):
        if _belongs_to(node, markups_node, point_id):
            if len(_found_last) >= MOST_REMEMBERED:
                _found_last.clear()
            _found_last[key] = node.GetID()
            return node
    return None


def _is_tagged(node: slicer.vtkMRMLNode, kind: str) -> bool:
    return bool(node.GetAttribute(KIND) == kind and node.GetNodeReference(SELF_ROLE) is node)


def _belongs_to(node: slicer.vtkMRMLNode, markups_node: slicer.vtkMRMLMarkupsNode, point_id: str | None) -> bool:
    same_point = point_id is None or node.GetAttribute(POINT_ID) == point_id
    return bool(same_point and node.GetNodeReference(MARKUPS_ROLE) is markups_node)


def rename(node: slicer.vtkMRMLNode, name: str) -> None:
    """Give a node a name, made unique in its scene; a node that has it already keeps its number."""
    current = node.GetName()
    if current != name and not current.startswith(f"{name}_"):
        node.SetName(node.GetScene().GetUniqueNameByString(name))


def remove_with_parts(node: slicer.vtkMRMLNode) -> None:
    """Take a node out of its scene together with its display and storage nodes."""
    scene = node.GetScene()
    parts = []
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        parts += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for part in parts:
        # The application removes some of them itself.
        if part is not None and scene.IsNodePresent(part):
            scene.RemoveNode(part)
