"""The log of a run, one row per epoch: a CSV file, and TensorBoard files where that package is installed."""

from __future__ import annotations

import csv
from pathlib import Path

from CLIPLungLib.atomic_write import writing

LOG_NAME, TENSORBOARD_NAME = "log.csv", "tensorboard"


def log_epoch(folder: Path, epoch: int, values: dict[str, float]) -> None:
    """Log one epoch. Rows of this and later epochs are left from a stopped run, and are replaced."""
    write_row(folder / LOG_NAME, epoch, values)
    write_scalars(folder / TENSORBOARD_NAME, epoch, values)


def write_row(file: Path, epoch: int, values: dict[str, float]) -> None:
    """Write this epoch as the last row."""
    earlier = [row for row in read_rows(file) if int(row["epoch"]) < epoch]
    row: dict[str, float] = {"epoch": epoch, **{name: round(value, 5) for name, value in values.items()}}
    # Some figures exist in later epochs only.
    columns = list(dict.fromkeys([*(name for known in earlier for name in known), *row]))
    with writing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer: csv.DictWriter[str] = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows([*earlier, row])


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a log as text; none without a file. Cells without a column's name are left out."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return [{name: cell for name, cell in row.items() if name and cell} for row in csv.DictReader(stream)]


def write_scalars(folder: Path, epoch: int, values: dict[str, float]) -> None:
    """One scalar per value for TensorBoard, which hides what was written for this or later epochs; nothing without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return
    with SummaryWriter(folder, purge_step=epoch) as writer:
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
