"""Initial network and texts of a training: random, or those of a checkpoint."""

from __future__ import annotations

from dataclasses import asdict

from CLIPLungLib.errors import InputError
from CLIPLungLib.inference.checkpoint import Checkpoint
from CLIPLungLib.model.prompts import TextBank
from CLIPLungLib.model.text_encoder import TextEncoder, build_text_encoder
from CLIPLungLib.training.config import TrainConfig
from CLIPLungLib.training.objective import CLIPLungObjective, FixedTextObjective, Objective

# It holds no weights, so it may differ.
NO_WEIGHTS = "network.dropout"


def require_same_network(config: TrainConfig, init: Checkpoint) -> None:
    """Refuse settings for another network than the checkpoint's.

    Raises:
        InputError: naming the settings that differ.
    """
    wanted, found = (
        {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        for parts in (
            {"network": asdict(config.network), "patch": asdict(config.patch)},
            {"network": asdict(init.network.config), "patch": asdict(init.patch)},
        )
    )
    differing = [
        f"{name} {wanted[name]} (the checkpoint: {found[name]})"
        for name in wanted
        if name != NO_WEIGHTS and wanted[name] != found[name]
    ]
    if differing:
        raise InputError(
            f"The settings are of another network than the weights to start with: {'; '.join(differing)}. Take the checkpoint's values, "
            "or train anew without --init."
        )


def text_encoder_of(
    config: TrainConfig, init: Checkpoint | None, given: TextEncoder | None = None
) -> TextEncoder | None:
    """The text encoder whose texts are learned; None where those of a checkpoint are kept.

    Args:
        config: settings, from which it is built unless given.
        init: checkpoint to start with.
        given: a text encoder.

    Raises:
        InputError: it makes features of another size than the network's.
    """
    if init is not None:
        return None
    encoder = given or build_text_encoder(config.text_encoder)
    if encoder.dim != config.network.text_dim:
        raise InputError(
            f"The text encoder {encoder.name} makes features of {encoder.dim} numbers, the network's text_dim is "
            f"{config.network.text_dim}. Set network.text_dim to {encoder.dim}."
        )
    return encoder


def objective_of(config: TrainConfig, init: Checkpoint | None, encoder: TextEncoder | None) -> Objective:
    """The training objective, with learned texts or those of the checkpoint."""
    if init is not None:
        return FixedTextObjective(TextBank(init.class_text, init.level_text), init.text_scale, config.losses)
    if encoder is None:
        raise ValueError("texts need a text encoder or a checkpoint")
    return CLIPLungObjective(
        encoder, config.network.groups, config.losses, config.conditioned_texts, config.text_interval
    )
