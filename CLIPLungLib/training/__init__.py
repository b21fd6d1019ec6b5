"""Training, calibration and evaluation on LIDC-IDRI. Its modules need the packages of the extra `train`."""

from pathlib import Path

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.json"
