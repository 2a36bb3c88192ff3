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
from dejavu_models.errors import (
    BundleCorrupt,
    BundleIncomplete,
    BundleNotFound,
    BundleTooNew,
    BundleTooOld,
    BundleUnfit,
)
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import (
    CALIBRATION,
    COMBINATION,
    ENTRIES,
    LSTM,
    RATINGS,
    SCHEMA_VERSION,
    Manifest,
    RatingsRecord,
    index_name,
)
from dejavu_models.point.dejavu import Dejavu, DejavuSettings, Entries
from dejavu_models.point.ensemble import EnsembleWeights, PointEnsemble
from dejavu_models.point.index import load_index
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.lstm import Lstm
from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_models.types import ForecastQuery, MarginSource, ScorePattern
from dejavu_models.uncertainty.calibration import Calibration, Situation

MANIFEST = "manifest.json"
GOLDEN_TOLERANCE = 1e-6
"""How far, in points, a bundle that was loaded back may be from what was computed before it was written."""


def load_bundle(folder: Path, *, allow_unfit: bool = False) -> Forecaster:
    """A forecaster from a bundle's folder; if that is replaced meanwhile, from the old or the new one, never from both.

    Args:
        folder: where it lies.
        allow_unfit: whether a bundle will do whose recipe did not prove itself.

    Raises:
        BundleNotFound, BundleIncomplete, BundleCorrupt, BundleTooNew, BundleTooOld, BundleUnfit: if it is refused; the
            message names the file.
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
    if not (manifest.verdict.fit or allow_unfit):
        raise BundleUnfit(f"{folder}: model {manifest.version} is marked unfit: {manifest.verdict.reason}")
    return _load(folder, manifest, contents)


def read_manifest(folder: Path) -> Manifest:
    """A bundle's manifest, without its files.

    Raises:
        BundleNotFound, BundleCorrupt, BundleTooNew, BundleTooOld: if there is none, or it can't be read.
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
                f"{folder}: {MANIFEST} has schema version {schema}, this code reads {SCHEMA_VERSION}: update it"
            )
        if isinstance(schema, int) and 1 <= schema < SCHEMA_VERSION:
            raise BundleTooOld(
                f"{folder}: {MANIFEST} has schema version {schema}, this code reads {SCHEMA_VERSION}: fit it anew"
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


def _load(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Forecaster:
    record = manifest.dejavu
    with _refusing(folder, LSTM):
        lstm = Lstm(contents[LSTM])
    with _refusing(folder, COMBINATION):
        linear, combination = combination_from_bytes(contents[COMBINATION])
    with _refusing(folder, CALIBRATION):
        calibration = Calibration.from_bytes(contents[CALIBRATION])
        if stray := {situation.minute for situation in calibration.distributions} ^ set(record.minutes):
            raise ValueError(f"it and the manifest differ in minutes {sorted(stray)}")
        for horizon, minute, _ in calibration.distributions:
            if any(Situation(horizon, minute, mode) not in calibration.distributions for mode in MarginSource):
                raise ValueError(f"for {horizon.value} from minute {minute} it lacks a kind of expected margin")
    with _refusing(folder, RATINGS):
        ratings = ratings_from_bytes(contents[RATINGS], manifest.ratings)
    with _refusing(folder, ENTRIES):
        entries = Entries.from_bytes(contents[ENTRIES])
        if len(entries) != sum(record.entries):
            raise ValueError(f"it holds {len(entries)} entries, the manifest says {sum(record.entries)}")
    minutes, start = {}, 0
    for minute, count in zip(record.minutes, record.entries, strict=True):
        # After a minute or two games have taken few different courses.
        settings = DejavuSettings(record.recency, min(record.neighbours, count), record.kernel)
        with _refusing(folder, name := index_name(minute)):
            index = load_index(contents[name], minute, count)
            minutes[minute] = Dejavu(index, entries.rows(start, start + count), settings)
        start += count
    return Forecaster(manifest, PointEnsemble(linear, lstm, minutes, combination), calibration, ratings)


@contextlib.contextmanager
def _refusing(folder: Path, name: str) -> Iterator[None]:
    """Says which file it was that could not be read."""
    try:
        yield
    except (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise BundleCorrupt(f"{folder}: {name} cannot be read: {error}") from error


def combination_to_bytes(linear: LinearModels, combination: EnsembleWeights) -> bytes:
    """The linear models and how all are combined, as a .npz file."""
    return _packed(
        coefficients=linear.coefficients,
        scales=linear.scales,
        dejavu_weights=combination.dejavu_weights,
        shrinkage=combination.shrinkage,
    )


def combination_from_bytes(content: bytes) -> tuple[LinearModels, EnsembleWeights]:
    """Back from `combination_to_bytes`.

    Raises:
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile: if it is not what that writes.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as columns:
        linear = LinearModels(columns["coefficients"], columns["scales"])
        return linear, EnsembleWeights(columns["dejavu_weights"], columns["shrinkage"])


def ratings_to_bytes(state: RatingFilter) -> bytes:
    """The state of the ratings' filter, as a .npz file; its settings, season and date stand in the manifest."""
    return _packed(mean=state.mean, covariance=state.covariance)


def ratings_from_bytes(content: bytes, record: RatingsRecord) -> RatingFilter:
    """Back from `ratings_to_bytes`.

    Raises:
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile: if it is not what that writes.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as columns:
        mean, covariance = columns["mean"], columns["covariance"]
    settings = RatingSettings(record.noise, record.daily, record.carry, record.seasonal, record.home_daily)
    return RatingFilter(settings, mean, covariance, record.season, np.datetime64(record.date))


def _packed(**columns: Floats) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **columns)
    return buffer.getvalue()


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
        BundleError: if what was written can't be loaded back, or does not answer the golden queries as it should.
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
        forecaster = load_bundle(fresh, allow_unfit=True)
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
    """Holds a bundle's answers to its golden queries against those in its manifest.

    Raises:
        BundleCorrupt: if they differ by more than rounding.
    """
    for golden in forecaster.manifest.golden:
        query = ForecastQuery(
            ScorePattern(golden.pattern), golden.horizon, golden.alpha, golden.home_team, golden.away_team
        )
        answer = forecaster.forecast(query)
        found = (answer.point, answer.interval.lower, answer.interval.upper, answer.home_lead_probability)
        due = (golden.point_forecast, golden.interval_lower, golden.interval_upper, golden.home_lead_probability)
        if max(abs(a - b) for a, b in zip(found, due, strict=True)) > GOLDEN_TOLERANCE:
            raise BundleCorrupt(f"{forecaster.version}: a golden query is answered with {found}, not {due}")


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
