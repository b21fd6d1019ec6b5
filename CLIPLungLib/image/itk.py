"""SimpleITK, imported on first use. Its functions carry no types."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from CLIPLungLib.errors import MissingPackageError


def simple_itk() -> Any:
    """The package.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return import_module("SimpleITK")
    except ImportError as error:
        raise MissingPackageError(
            "Outlines, and finding a nodule in a prior CT, need SimpleITK, which is not installed. Install it with `pip install SimpleITK`."
        ) from error
