"""The finished runs of a folder, and which of them is the main one."""

from __future__ import annotations

from pathlib import Path

from CLIPLungLib.errors import InputError
from CLIPLungLib.evaluation.fold_models import FinishedRun
from CLIPLungLib.evaluation.kept_answers import rounded

SHIPPED = "shipped"


def read_runs(folder: Path) -> list[FinishedRun]:
    """All runs, the main one last: it is called "shipped", or is the only one.

    Args:
        folder: with one sub-folder per run, as `cliplung crossvalidate` and `cliplung train` write them; or a run itself.

    Raises:
        InputError: there is no run, none is the main one, or one is not finished.
    """
    return [rounded(FinishedRun.read(one)) for one in run_folders(folder)]


def main_run(folder: Path) -> FinishedRun:
    """The main run alone."""
    return rounded(FinishedRun.read(run_folders(folder)[-1]))


def run_folders(folder: Path) -> list[Path]:
    """The folders of all runs, the main one last."""
    if any(folder.glob("fold*")):
        return [folder]
    found = sorted(path for path in folder.iterdir() if any(path.glob("fold*"))) if folder.is_dir() else []
    if not found:
        raise InputError(
            f"{folder} holds no cross-validation. Run 'cliplung train' or 'cliplung crossvalidate' with --output {folder / SHIPPED} first."
        )
    main = next((path for path in found if path.name == SHIPPED), found[0] if len(found) == 1 else None)
    if main is None:
        raise InputError(
            f"{folder} holds {len(found)} runs ({', '.join(path.name for path in found)[:200]}) and none is named '{SHIPPED}'. "
            "Name the main one so, or give its own folder."
        )
    return [*(path for path in found if path != main), main]
