"""The command that reproduces the paper: reproduce."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CLIPLungLib.cli.options import EXIT_OK, add_command, add_data, add_device, progress_bar, whole_number

if TYPE_CHECKING:
    from CLIPLungLib.cli.options import Commands
    from CLIPLungLib.model.text_encoder import TextEncoder


def add_reproduction_commands(commands: Commands) -> None:
    """`reproduce`."""
    command = add_command(
        commands,
        "reproduce",
        _reproduce,
        "train and evaluate the published CLIP-Lung, split as in the paper and by patient; resumes a stopped run",
    )
    command.add_argument(
        "--setting",
        required=True,
        help="A: three classes in training and test; B: three in training, benign and malignant in test; C: those two in both",
    )
    add_data(command)
    command.add_argument("--output", type=Path, required=True, help="folder of the run; all settings may share it")
    command.add_argument(
        "--text-encoder", choices=("clip", "minilm"), default="clip", help="clip (default): as in the paper"
    )
    weights = command.add_mutually_exclusive_group()
    weights.add_argument("--clip-weights", type=Path, help="CLIP ViT-B/16 of OpenAI as a safetensors file")
    weights.add_argument("--download", action="store_true", help="download these weights from the Hugging Face hub")
    command.add_argument("--epochs", type=whole_number, help="instead of the paper's 100")
    command.add_argument("--rows", nargs="+", help="rows of the table (default: cross-entropy clip-lung)")
    command.add_argument("--splits", nargs="+", help="nodule (as published), patient (default: both)")
    command.add_argument(
        "--folds", nargs="+", type=whole_number, help="train only these, so that processes can share the work"
    )
    command.add_argument("--config", type=Path, help="JSON settings (default: those of the paper)")
    command.add_argument("--page", type=Path, help="also update the generated table of this page")
    add_device(command)


def _reproduce(options: argparse.Namespace) -> int:
    from CLIPLungLib.reproduction import PUBLISHED_CONFIG
    from CLIPLungLib.reproduction.protocol import DEFAULT_ROWS, SPLITS, find_rows, find_setting, find_splits
    from CLIPLungLib.reproduction.run import RESULTS_NAME, TABLE_NAME, reproduce
    from CLIPLungLib.reproduction.settings import PublishedSettings
    from CLIPLungLib.reproduction.table import results_text, write_page_table

    setting = find_setting(options.setting)
    rows, splits = find_rows(options.rows or DEFAULT_ROWS), find_splits(options.splits or SPLITS)
    settings = PublishedSettings.read(options.config or PUBLISHED_CONFIG)
    if options.epochs is not None:
        settings = PublishedSettings.from_dict(settings.to_dict() | {"epochs": options.epochs}, "--epochs")
    encoder = _text_encoder(options) if any(row.has_texts for row in rows) else None
    results = reproduce(
        *(settings, setting, options.data, options.output, encoder),
        *(rows, splits, options.folds, options.device, progress_bar("epoch")),
    )
    print(results_text(results))
    print(f"written: {options.output / RESULTS_NAME} and {TABLE_NAME}")
    if options.page:
        write_page_table(options.page, results)
        print(f"written: {options.page}")
    return EXIT_OK


def _text_encoder(options: argparse.Namespace) -> TextEncoder:
    """Built before any data are read, so that missing weights are told at once."""
    from CLIPLungLib.errors import InputError
    from CLIPLungLib.model.clip_weights import download_clip_weights
    from CLIPLungLib.model.text_encoder import MiniLMTextEncoder, OpenCLIPTextEncoder

    if options.text_encoder == "minilm":
        if options.clip_weights or options.download:
            raise InputError(
                "--text-encoder minilm needs no CLIP weights. Give --clip-weights or --download without it."
            )
        return MiniLMTextEncoder()
    if options.clip_weights is None and not options.download:
        raise InputError(
            "The paper's text encoder, CLIP ViT-B/16, needs its weights. Name a safetensors file with --clip-weights, allow its "
            "download with --download, or take --text-encoder minilm, a stand-in that installs as a package."
        )
    return OpenCLIPTextEncoder(weights=options.clip_weights or download_clip_weights())
