"""Folds on disk: each lands whole or not at all, so that a walk-forward that was killed goes on where it stood."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dejavu_trainer.data.plays import DataError
from dejavu_trainer.evaluation.fold_scores import FoldScores, Forecasts

FORM = 1
"""Of the files; raised with every change of what is scored or how it is kept."""

_PLAIN = ("train_seasons", "calibration_seasons", "calibration_games", "home_advantage")
"""Fields that are no arrays."""


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file beside, and moves it into place once it is on disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def remove_partial_files(folder: Path) -> None:
    """Removes what writers that were killed left in a folder."""
    for rest in folder.glob(".fold-*.npz.*"):
        rest.unlink(missing_ok=True)


def to_bytes(fold: FoldScores) -> bytes:
    """As a .npz file; the same fold gives the same bytes."""
    plain = {name: getattr(fold, name) for name in _PLAIN}
    arrays = {
        field.name: getattr(fold, field.name)
        for field in fields(FoldScores)
        if field.name not in (*_PLAIN, "forecasts")
    }
    for name, forecasts in fold.forecasts.items():
        for field in fields(Forecasts):
            if (values := getattr(forecasts, field.name)) is not None:
                arrays[f"{name}.{field.name}"] = values
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, plain=np.array(json.dumps(plain)), **arrays)
    return buffer.getvalue()


def read_fold(path: Path) -> FoldScores:
    """Back from what `to_bytes` wrote.

    Raises:
        DataError: if the file is not one of a fold.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as columns:
            arrays = {name: columns[name] for name in columns.files}
        plain: dict[str, Any] = json.loads(str(arrays.pop("plain")))
        forecasts: dict[str, dict[str, np.ndarray]] = {}
        for key in [key for key in arrays if "." in key]:
            name, field = key.split(".")
            forecasts.setdefault(name, {})[field] = arrays.pop(key)
        found: dict[str, Any] = {**plain, **arrays}
        for name in ("train_seasons", "calibration_seasons"):
            found[name] = tuple(found[name])
        return FoldScores(**found, forecasts={name: Forecasts(**values) for name, values in forecasts.items()})
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: is no fold of a walk-forward: {error}; --fresh makes it anew") from error
