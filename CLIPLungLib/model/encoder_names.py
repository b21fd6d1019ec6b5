"""The image encoders by name. Needs no torch, so that checkpoints and settings can be checked without it."""

from __future__ import annotations

SLICE, EFFICIENTNET, CHANNEL = ENCODERS = ("slice", "efficientnet", "channel")
