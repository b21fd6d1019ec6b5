"""The published method (CLIP-Lung, MICCAI 2023), trained and evaluated on a data folder. Needs the extra `train`."""

from pathlib import Path

PUBLISHED_CONFIG = Path(__file__).parents[1] / "training" / "configs" / "published.json"
