"""Clicks go to the same list before and after an answer: the Markups logic makes every new markups node the active one."""

from __future__ import annotations

import pytest
from helpers.slicer_scene import NODULE_RAS, slicer

from CLIPLungLib.scene.axis_lines import LONG
from CLIPLungLib.scene.prior_point import set_prior_point
from CLIPLungLib.scene.tagged_nodes import add_tagged


@pytest.fixture
def selection(app):
    """What the application knows of the active list."""
    logic = app.application_logic
    if logic.GetSelectionNode() is None:
        logic.SetSelectionNode(app.scene.AddNewNodeByClass("vtkMRMLSelectionNode"))
    return logic.GetSelectionNode()


@pytest.fixture
def active(app, selection):
    """The active list: a new one, as the application makes it."""
    node = app.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Nodules")
    assert selection.GetActivePlaceNodeID() == node.GetID(), "the Markups logic no longer does it"
    return node


def add_line(scene, points, _ct_node):
    add_tagged(scene, "vtkMRMLMarkupsLineNode", "line", LONG, points, "1")


def add_prior_point(_scene, points, ct_node):
    set_prior_point(points, "1", ct_node, NODULE_RAS, "before")


@pytest.mark.parametrize("add", [add_line, add_prior_point])
def test_what_is_made_for_an_answer_takes_no_clicks(app, selection, active, ct_node, add):
    active.AddControlPointWorld(*NODULE_RAS)
    add(app.scene, active, ct_node)
    assert selection.GetActivePlaceNodeID() == active.GetID()
    assert selection.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsFiducialNode"


def test_without_an_active_list_there_is_none_afterwards(app, selection, ct_node):
    points = slicer.vtkMRMLMarkupsFiducialNode()
    app.scene.AddNode(points)
    points.AddControlPointWorld(*NODULE_RAS)
    selection.SetActivePlaceNodeID(None)
    add_line(app.scene, points, ct_node)
    assert selection.GetActivePlaceNodeID() is None
