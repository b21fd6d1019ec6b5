"""Training and cross-validation on a data folder. Needs the packages of the extra `train`."""

from pathlib import Path

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.json"
