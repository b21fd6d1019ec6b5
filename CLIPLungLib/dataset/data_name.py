"""What a data folder is called in records of what was learned from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from CLIPLungLib.dataset.nodule_table import Nodule

PREPARED_NAME = "prepared.json"
LIDC = "LIDC-IDRI"


def holds_lidc(nodules: Sequence[Nodule]) -> bool:
    """Whether any nodule is one of LIDC-IDRI, by its id."""
    return any(nodule.nodule_id.startswith(LIDC) or nodule.patient_id.startswith(LIDC) for nodule in nodules)


def data_name(folder: Path, nodules: Sequence[Nodule]) -> str:
    """The name that was written beside the data, LIDC-IDRI for its nodules, or else the name of the folder."""
    name = read_prepared(folder).get("name")
    if isinstance(name, str) and name.strip():
        return name
    return LIDC if holds_lidc(nodules) else Path(folder).resolve().name


def read_prepared(folder: Path) -> dict[str, Any]:
    """What the command that made a data folder wrote about it; empty where there is nothing readable."""
    try:
        found = json.loads((Path(folder) / PREPARED_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
