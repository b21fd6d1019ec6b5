"""An untrained but complete checkpoint of a small network, for tests of everything around the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_tiny_checkpoint(file: Path) -> None:
    """Write the checkpoint; the same weights every time."""
    import torch
    from torch.nn import functional

    from CLIPLungLib.calibration.calibrations import Calibrations, OutlineCalibrations
    from CLIPLungLib.calibration.measurement import MeasurementCalibration
    from CLIPLungLib.calibration.ordinal import Calibration
    from CLIPLungLib.calibration.out_of_distribution import FeatureSpace, OutOfDistributionLimits
    from CLIPLungLib.calibration.sphericity import SphericityCalibration
    from CLIPLungLib.image.patch import PatchSpec
    from CLIPLungLib.inference.checkpoint import Checkpoint, save_checkpoint
    from CLIPLungLib.model.network import CLIPLungNetwork, NetworkConfig
    from CLIPLungLib.vocabulary import LEVEL_COUNT

    torch.manual_seed(0)
    outline = OutlineCalibrations(
        diameter=MeasurementCalibration(1.0, 1.0, 0.2),
        volume=MeasurementCalibration(1.0, 1.0, 0.5),
        sphericity=SphericityCalibration(1.0, 0.2, 1.5, 0.5),
        limits=OutOfDistributionLimits(largest_distance=9.0, least_presence=0.1),
    )
    checkpoint = Checkpoint(
        network=CLIPLungNetwork(NetworkConfig(planes=9, pixels=32, text_dim=16)).eval(),
        class_text=functional.normalize(torch.randn(3, 16), dim=1),
        level_text=functional.normalize(torch.randn(LEVEL_COUNT, 16), dim=1),
        text_scale=14.0,
        patch=PatchSpec(shape=(9, 32, 32), spacing_mm=(2.0, 1.0, 1.0)),
        draws_outline=True,
        feature_space=FeatureSpace(np.zeros(512, np.float32), np.eye(512, 4, dtype=np.float32)),
        calibrations=Calibrations(Calibration(2.0, (-1.0, 0.0, 1.0)), 0.7, outline),
        provenance={"trained_on": "nothing"},
    )
    save_checkpoint(file, checkpoint)
