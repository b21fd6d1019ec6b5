"""The index as a safetensors file beside its weights: arrays, and one JSON text in the header. Nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from CLIPLungLib.atomic_write import remove_leftovers, writing
from CLIPLungLib.errors import InputError, MissingPackageError
from CLIPLungLib.similar.figures import COMPARED, Agreement
from CLIPLungLib.similar.index import SimilarIndex

SUFFIX = ".similar.safetensors"
FORMAT, FORMAT_VERSION, HEADER = "CLIPLung similar cases", 1, "similar"
LARGEST_FILE_BYTES = 16 << 20
ARRAYS = ("center", "transform", "places", "readers", "ratings", "diameter_mm")
# Of these a nodule may lack some.
MAY_BE_UNKNOWN = ("ratings", "diameter_mm")
TEXTS = ("weights_sha256", "metric", "source")
REMEDY = "Make it anew with 'cliplung similar-index'."


def similar_file(weights: Path) -> Path:
    """Where the index of a weights file lies: cliplung.safetensors -> cliplung.similar.safetensors."""
    return weights.with_suffix(SUFFIX)


def write_index(file: Path, index: SimilarIndex) -> None:
    """Write the file at once.

    Raises:
        InputError: it cannot be written.
    """
    from safetensors.numpy import save

    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        **{name: getattr(index, name) for name in TEXTS},
        "usual_distance": index.usual_distance,
        "nodule_ids": list(index.nodule_ids),
        "patient_ids": list(index.patient_ids),
        "figures": {name: agreement.to_dict() for name, agreement in index.figures.items()},
        "choices": index.choices,
    }
    arrays = {name: np.ascontiguousarray(getattr(index, name)) for name in ARRAYS}
    remove_leftovers(file)
    with writing(file) as temporary:
        temporary.write_bytes(save(arrays, {HEADER: json.dumps(header, allow_nan=False)}))


def read_index(file: Path) -> SimilarIndex:
    """Read what `write_index` wrote.

    Raises:
        InputError: missing, damaged, hostile, or of another version.
        MissingPackageError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingPackageError(
            "Similar cases need the package safetensors, which is not installed. Install it with 'pip install safetensors'."
        ) from error
    if not file.is_file():
        raise InputError(f"There is no index of similar cases for these weights ({file} does not exist). {REMEDY}")
    try:
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise ValueError("it is too large")
        with safe_open(file, framework="numpy") as stored:
            header = json.loads((stored.metadata() or {})[HEADER])
            _require_format(header)
            arrays = {name: _numbers(name, stored.get_tensor(name)) for name in ARRAYS}
        return _index(header, arrays)
    except (
        SafetensorError,
        OSError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:120]
        raise InputError(f"{file} holds no index of similar cases that can be read ({reason}). {REMEDY}") from error


def _require_format(header: Any) -> None:
    if header["format"] != FORMAT or header["version"] != FORMAT_VERSION:
        raise ValueError(f"it is of format {str(header['format'])[:30]} {str(header['version'])[:10]}")


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    """An array of finite numbers, a whole one for the readers."""
    if values.dtype.kind != ("u" if name == "readers" else "f"):
        raise ValueError(f"{name} holds {values.dtype}")
    known = ~np.isnan(values) if name in MAY_BE_UNKNOWN else np.ones(values.shape, dtype=bool)
    if not np.isfinite(values[known]).all():
        raise ValueError(f"{name} holds values that are not numbers")
    return values


def _index(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> SimilarIndex:
    values: dict[str, Any] = {**arrays, **{name: _text(header[name]) for name in TEXTS}}
    return SimilarIndex(
        **values,
        usual_distance=_number(header["usual_distance"]),
        nodule_ids=tuple(_text(name) for name in header["nodule_ids"]),
        patient_ids=tuple(_text(name) for name in header["patient_ids"]),
        figures={name: Agreement.from_dict(header["figures"][name]) for name in COMPARED},
        choices={_text(name): _number(value) for name, value in header["choices"].items()},
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise ValueError(f"{str(value)[:40]!r} is no text")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not np.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    return float(value)
