"""Bundles on disk: a folder with manifest.json and the files that it names.

Loading verifies the hash of every file and hands libraries the very bytes that it verified. It takes nothing on trust:
what is missing, altered or written by later code is refused by name. Publishing writes beside the target, loads that
back, holds it against a golden query and only then moves it into place. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from dejavu_models.arrays import Floats
from dejavu_models.conformal import ConformalScores
from dejavu_models.dejavu import Dejavu, DejavuSettings, Entries, load_index
from dejavu_models.errors import BundleCorrupt, BundleIncomplete, BundleNotFound, BundleTooNew
from dejavu_models.forecaster import Forecaster
from dejavu_models.lstm import Lstm
from dejavu_models.manifest import SCHEMA_VERSION, Manifest, StageRecord
from dejavu_models.stage import PointModels, Stage
from dejavu_models.types import ForecastQuery, ScorePattern

MANIFEST = "manifest.json"
GOLDEN_TOLERANCE = 1e-6
"""How far, in points, a bundle that was loaded back may be from what was computed before it was written."""


def load_bundle(folder: Path) -> Forecaster:
    """A forecaster from a bundle's folder; if that is replaced meanwhile, from the old or the new one, never from both.

    Raises:
        BundleNotFound, BundleIncomplete, BundleCorrupt, BundleTooNew: if it is refused; the message names the file.
    """
    manifest = read_manifest(folder)
    try:
        contents = _read_files(folder, manifest)
    except (BundleIncomplete, BundleCorrupt):
        newer = read_manifest(folder)
        if newer == manifest:
            raise
        # Published between the reading of the manifest and of its files.
        manifest, contents = newer, _read_files(folder, newer)
    stages = [_load_stage(folder, record, contents) for record in manifest.stages]
    return Forecaster(manifest, stages)


def read_manifest(folder: Path) -> Manifest:
    """A bundle's manifest, without its files.

    Raises:
        BundleNotFound, BundleCorrupt, BundleTooNew: if there is none, or it can't be read.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleNotFound(f"{folder}: there is no bundle: no {MANIFEST}") from None
    except OSError as error:
        raise BundleCorrupt(f"{folder}: {MANIFEST} cannot be read: {error.strerror}") from error
    try:
        # Asked first: a later schema may have another form altogether.
        schema = dict(json.loads(text)).get("schema_version")
        if isinstance(schema, int) and schema > SCHEMA_VERSION:
            raise BundleTooNew(
                f"{folder}: {MANIFEST} has schema version {schema}, this code reads up to {SCHEMA_VERSION}: update it"
            )
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise BundleCorrupt(f"{folder}: {MANIFEST} is not a manifest: {place}: {first['msg']}") from error
    except (ValueError, TypeError) as error:
        raise BundleCorrupt(f"{folder}: {MANIFEST} is not a JSON object: {error}") from error
    except RecursionError:  # its traceback is as long as the nesting is deep
        raise BundleCorrupt(f"{folder}: {MANIFEST} is not a manifest: it is nested too deeply to be read") from None


def _read_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    return {name: _verified(folder, name, sha256) for name, sha256 in manifest.files.items()}


def _verified(folder: Path, name: str, sha256: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError:
        raise BundleIncomplete(f"{folder}: {name} is missing") from None
    except OSError as error:
        raise BundleCorrupt(f"{folder}: {name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BundleCorrupt(f"{folder}: {name} is not the file that the manifest describes: its SHA-256 differs")
    return content


def _load_stage(folder: Path, record: StageRecord, contents: Mapping[str, bytes]) -> Stage:
    files, settings = record.files, record.dejavu
    with _refusing(folder, files.lstm):
        lstm = Lstm(contents[files.lstm], record.slots)
    with _refusing(folder, files.scores):
        scores = scores_from_bytes(contents[files.scores])
    with _refusing(folder, files.entries):
        entries = Entries.from_bytes(contents[files.entries])
        if len(entries) != settings.entries:
            raise ValueError(f"it holds {len(entries)} entries, the manifest says {settings.entries}")
    with _refusing(folder, files.index):
        index = load_index(contents[files.index], record.slots, settings.entries)
        dejavu = Dejavu(index, entries, DejavuSettings(settings.recency, settings.neighbours, settings.kernel))
    models = PointModels(record.horizon, record.slots, dejavu, lstm, record.dejavu_weight)
    return Stage(models, scores)


@contextlib.contextmanager
def _refusing(folder: Path, name: str) -> Iterator[None]:
    """Says which file it was that could not be read."""
    try:
        yield
    except (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise BundleCorrupt(f"{folder}: {name} cannot be read: {error}") from error


def scores_to_bytes(scores: ConformalScores) -> bytes:
    """Conformal scores as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, scores.residuals, allow_pickle=False)
    return buffer.getvalue()


def scores_from_bytes(content: bytes) -> ConformalScores:
    """Back from `scores_to_bytes`.

    Raises:
        ValueError, EOFError: if it is not what that writes.
    """
    residuals: Floats = np.load(io.BytesIO(content), allow_pickle=False)
    return ConformalScores(residuals)


def publish(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Forecaster:
    """Writes a bundle and moves it into place once it has proved itself.

    An older bundle at `folder` is replaced. For an instant between two renames there is none: a reader then gets a
    BundleError, never half a bundle.

    Args:
        folder: where it shall lie.
        manifest: what it says of itself.
        contents: what each file that the manifest names shall hold.

    Returns:
        The forecaster, as loaded back.

    Raises:
        FileExistsError: if `folder` exists and is neither a bundle nor empty.
        BundleError: if what was written can't be loaded back, or does not answer the golden query as it should.
    """
    check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as workshop:
        fresh, old = Path(workshop) / "new", Path(workshop) / "old"
        fresh.mkdir()
        # The manifest last: a folder without one is no bundle.
        for name, content in (*contents.items(), (MANIFEST, manifest.to_json().encode())):
            _write_durably(fresh / name, content)
        _sync_folder(fresh)
        forecaster = load_bundle(fresh)
        check_golden(forecaster)
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        _sync_folder(folder.parent)
    return forecaster


def check_target(folder: Path) -> None:
    """Whether a bundle may be written there.

    Raises:
        FileExistsError: if something lies there that is neither a bundle nor an empty folder.
    """
    if not folder.exists() or (folder / MANIFEST).is_file() or (folder.is_dir() and not any(folder.iterdir())):
        return
    raise FileExistsError(f"{folder} exists and is not a bundle: name another folder, or remove it")


def check_golden(forecaster: Forecaster) -> None:
    """Holds a bundle's answer to its golden query against the one in its manifest.

    Raises:
        BundleCorrupt: if they differ by more than rounding.
    """
    golden = forecaster.manifest.golden
    answer = forecaster.forecast(ForecastQuery(ScorePattern(golden.pattern), golden.horizon, golden.alpha))
    found = (answer.point, answer.interval.lower, answer.interval.upper, answer.home_lead_probability)
    due = (golden.point_forecast, golden.interval_lower, golden.interval_upper, golden.home_lead_probability)
    if max(abs(a - b) for a, b in zip(found, due, strict=True)) > GOLDEN_TOLERANCE:
        raise BundleCorrupt(f"{forecaster.version}: the golden query is answered with {found}, not {due}")


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
