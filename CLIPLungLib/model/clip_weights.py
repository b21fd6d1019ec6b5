"""CLIP's weights from a safetensors file that the user names. Nothing is downloaded unless asked for."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from CLIPLungLib.errors import CheckpointError, InputError

PICKLED_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
# OpenAI's ViT-B/16 in open_clip's form.
HUB_REPOSITORY, HUB_FILE = "timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors"
# The text tower's parts in the state dict of OpenAI and of open_clip.
TEXT_PARTS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
CONVERT = (
    "Convert it on a computer where you trust it: safetensors.torch.save_file({name: value.contiguous() for name, value in "
    "state_dict.items()}, 'clip.safetensors')."
)
REMEDY = f"Give a state dict of OpenAI's CLIP ViT-B/16 or of open_clip's, such as {HUB_FILE} of {HUB_REPOSITORY}."


def read_clip_weights(file: Path) -> dict[str, Tensor]:
    """Read the tensors (float32) of the text tower from a safetensors file.

    Raises:
        CheckpointError: the file is missing, pickled, damaged, or lacks them.
    """
    file = Path(file)
    if not file.is_file():
        raise CheckpointError(f"CLIP's weights {file} do not exist or are no file. {REMEDY}")
    if file.suffix.lower() in PICKLED_SUFFIXES or _is_pickled(file):
        raise CheckpointError(f"{file} is a pickled file, which can run any program when it is opened. {CONVERT}")
    try:
        with safe_open(file, framework="pt") as stored:
            names = [name for name in stored.keys() if name.startswith(TEXT_PARTS)]  # noqa: SIM118 - not a mapping
            state = {name: stored.get_tensor(name).float() for name in names}
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{file} is no safetensors file, or is damaged ({error}). {REMEDY}") from error
    if not state:
        raise CheckpointError(f"{file} holds no text tower of CLIP. {REMEDY}")
    unknown = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if unknown:
        raise CheckpointError(f"{file}: {unknown[0]} holds values that are not numbers. Copy the file anew.")
    return state


def load_text_tower(clip: nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """Load the tensors into a text tower.

    Args:
        clip: of open_clip.
        file: named in errors.

    Raises:
        CheckpointError: a tensor is missing or of another shape.
    """
    own = {name: value for name, value in clip.state_dict().items() if name.startswith(TEXT_PARTS)}
    for name, value in own.items():
        if name not in state:
            raise CheckpointError(f"{file} lacks {name}. {REMEDY}")
        if state[name].shape != value.shape:
            raise CheckpointError(
                f"{file}: {name} has the shape {tuple(state[name].shape)}, not {tuple(value.shape)}. {REMEDY}"
            )
    clip.load_state_dict({name: state[name] for name in own}, strict=False)


def download_clip_weights() -> Path:
    """Download OpenAI's ViT-B/16 (about 600 MB) from the Hugging Face hub, or take it from the hub's cache.

    Raises:
        InputError: it cannot be fetched.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import logging

        # It warns of every attempt; what matters is told below.
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        return Path(hf_hub_download(HUB_REPOSITORY, HUB_FILE))
    # The hub's client raises errors of many packages.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"CLIP's weights cannot be fetched from {HUB_REPOSITORY} ({reason}). Check the network, or name a file with --clip-weights."
        ) from error


def _is_pickled(file: Path) -> bool:
    """Whether a file begins like one of torch's formats: a zip archive or a pickle."""
    with file.open("rb") as stream:
        return stream.read(4).startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
