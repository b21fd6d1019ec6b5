"""What all value objects of a room have in common."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil


def value_objects(room: str) -> list[type]:
    """The dataclasses that a package of the library defines, with those of the packages below it."""
    package = importlib.import_module(f"CLIPLungLib.{room}")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    found = (value for name in names for value in vars(importlib.import_module(name)).values())
    own = {value for value in found if isinstance(value, type) and value.__module__.startswith(package.__name__)}
    return sorted(filter(dataclasses.is_dataclass, own), key=lambda one: one.__qualname__)


def holds_arrays(value_object: type) -> bool:
    """Whether a field is an array or a tensor, which `==` compares element by element."""
    return any(
        "ndarray" in str(field.type) or "Tensor" in str(field.type) for field in dataclasses.fields(value_object)
    )


def require_values(room: str, least: int, never_compared: tuple[str, ...] = ()) -> None:
    """Nobody changes an answer after it was given; what holds arrays is compared by identity, or never compared."""
    found = value_objects(room)
    assert len(found) >= least
    for one in found:
        assert one.__dataclass_params__.frozen, f"{one.__name__} can be changed"
        if holds_arrays(one) and one.__name__ not in never_compared:
            assert one.__eq__ is object.__eq__, f"{one.__name__} compares arrays"
