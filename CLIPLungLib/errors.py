"""Errors a user can act on. Every message names the thing, the reason and the remedy."""

from __future__ import annotations


class CLIPLungError(Exception):
    """Base of every error this library raises on purpose."""


class InputError(CLIPLungError, ValueError):
    """An image, a point or a table that CLIPLung refuses to answer for."""


class CheckpointError(CLIPLungError, ValueError):
    """A weights file that is missing, damaged, of another version or not CLIPLung's."""


class MissingPackageError(CLIPLungError, ImportError):
    """An optional package is needed for the requested feature and is not installed."""
