"""Reads and writes folds atomically, so that a killed walk-forward can resume."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dejavu_models.arrays import from_npz, to_npz
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.evaluation.fold_scores import FoldScores, Forecasts

FORM = 1
"""Format version of the files; incremented with every change of the scores or their storage."""

_PLAIN = ("train_seasons", "calibration_seasons", "calibration_games", "home_advantage")
"""Fields that are not arrays; stored as JSON."""


def remove_partial_files(folder: Path) -> None:
    """Removes the partial files of killed writers from a folder."""
    for partial in folder.glob(".fold-*.npz.*"):
        partial.unlink(missing_ok=True)


def to_bytes(fold: FoldScores) -> bytes:
    """Serializes a fold as .npz; the same fold gives the same bytes."""
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
    return to_npz(plain=np.array(json.dumps(plain)), **arrays)


def read_fold(path: Path) -> FoldScores:
    """Reads a fold that `to_bytes` serialized.

    Raises:
        DataError: if the file is not a valid fold.
    """
    try:
        arrays = from_npz(path.read_bytes())
        plain: dict[str, Any] = json.loads(str(arrays.pop("plain")))
        forecasts: dict[str, dict[str, np.ndarray]] = {}
        for key in [key for key in arrays if "." in key]:
            name, field = key.split(".")
            forecasts.setdefault(name, {})[field] = arrays.pop(key)
        values_by_name: dict[str, Any] = {**plain, **arrays}
        for name in ("train_seasons", "calibration_seasons"):
            values_by_name[name] = tuple(values_by_name[name])
        return FoldScores(**values_by_name, forecasts={name: Forecasts(**values) for name, values in forecasts.items()})
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: is not a valid walk-forward fold: {error}; use --fresh to recompute it") from error
