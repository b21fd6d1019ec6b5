"""The value objects of this room."""

from __future__ import annotations

from helpers.value_objects import require_values


def test_value_objects_cannot_be_changed_and_arrays_are_not_compared():
    require_values("inference", least=7)
