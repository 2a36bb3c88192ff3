"""Bundles on disk: a folder with manifest.json and the files listed in it.

Loading verifies the hash of every file and passes exactly the verified bytes to the libraries. Files that are missing,
changed or written with another schema raise a BundleError that names the file. Publishing writes to a temporary folder
beside the target, loads the result, compares it with the golden queries, and only then renames it into place. Nothing
is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from dejavu_common.files import sync
from dejavu_common.processes import return_freed_memory
from dejavu_feed.off_season import season_on
from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.errors import (
    BundleCorrupt,
    BundleIncomplete,
    BundleNotFound,
    BundleTooNew,
    BundleTooOld,
    BundleUnfit,
)
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import (
    CALIBRATION,
    COMBINATION,
    COURSES,
    ENTRIES,
    LSTM,
    RATINGS,
    SCHEMA_VERSION,
    TOTALS,
    Manifest,
    index_name,
)
from dejavu_models.point.courses import Courses, courses_from_bytes
from dejavu_models.point.dejavu import Dejavu, DejavuSettings, Entries
from dejavu_models.point.ensemble import EnsembleWeights, PointEnsemble
from dejavu_models.point.graph import Graph
from dejavu_models.point.index import VectorIndex, join_graphs, read_index
from dejavu_models.point.linear import CUBE, LinearModels
from dejavu_models.point.lstm import Lstm
from dejavu_models.ratings import STATE_SIZES, RatingFilter
from dejavu_models.team_filter import RatingSettings
from dejavu_models.totals.totals import Totals
from dejavu_models.types import HORIZONS, MarginSource
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration

MANIFEST = "manifest.json"
GOLDEN_TOLERANCE = 1e-6
"""Tolerance, in points, between a loaded bundle's answers and the golden ones computed before writing."""


def load_bundle(
    folder: Path, *, allow_unfit: bool = False, before_parsing: Callable[[], None] = lambda: None
) -> Forecaster:
    """Load a forecaster from a bundle's folder.

    If the folder is replaced while loading, returns the old or the new bundle, never a mix.

    Args:
        folder: folder of the bundle.
        allow_unfit: whether to accept a bundle whose recipe failed its backtest.
        before_parsing: called when all files have been read, and none has been parsed but the manifest.

    Raises:
        BundleNotFound, BundleIncomplete, BundleCorrupt, BundleTooNew, BundleTooOld, BundleUnfit: if it cannot be
            loaded; the message names the file.
    """
    manifest = read_manifest(folder)
    try:
        contents = _read_files(folder, manifest)
    except (BundleIncomplete, BundleCorrupt):
        newer = read_manifest(folder)
        if newer == manifest:
            raise
        # A new bundle was published between reading the manifest and its files.
        manifest, contents = newer, _read_files(folder, newer)
    if not (manifest.verdict.fit or allow_unfit):
        raise BundleUnfit(f"{folder}: model {manifest.version} is marked unfit: {manifest.verdict.reason}")
    before_parsing()
    forecaster = load_contents(folder, manifest, contents)
    # What was read, decompressed and rearranged on the way takes 8 MB, of 150 that a worker has.
    del contents
    return_freed_memory()
    return forecaster


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a bundle, without its files.

    Raises:
        BundleNotFound, BundleCorrupt, BundleTooNew, BundleTooOld: if there is none, or it cannot be read.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleNotFound(f"{folder}: no bundle found: no {MANIFEST}") from None
    except OSError as error:
        raise BundleCorrupt(f"{folder}: {MANIFEST} cannot be read: {error.strerror}") from error
    return parse_manifest(text, folder)


def parse_manifest(text: bytes, source: object) -> Manifest:
    """Parses the content of manifest.json.

    Args:
        text: the content.
        source: what it is of, for messages.

    Raises:
        BundleCorrupt, BundleTooNew, BundleTooOld: if it is not a manifest that this code reads.
    """
    try:
        # Check the version before validating: a newer schema may have entirely different fields.
        schema = dict(json.loads(text)).get("schema_version")
        if isinstance(schema, int) and schema > SCHEMA_VERSION:
            raise BundleTooNew(
                f"{source}: {MANIFEST} has schema version {schema}, this code reads {SCHEMA_VERSION}: update it"
            )
        if isinstance(schema, int) and 1 <= schema < SCHEMA_VERSION:
            raise BundleTooOld(
                f"{source}: {MANIFEST} has schema version {schema}, this code reads {SCHEMA_VERSION}: refit it"
            )
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(map(str, first["loc"])) or "document"
        raise BundleCorrupt(f"{source}: {MANIFEST} is not a valid manifest: {location}: {first['msg']}") from error
    except (ValueError, TypeError) as error:
        raise BundleCorrupt(f"{source}: {MANIFEST} is not a JSON object: {error}") from error
    except RecursionError:  # omit the traceback, which is as long as the nesting is deep
        raise BundleCorrupt(f"{source}: {MANIFEST} is not a valid manifest: it is nested too deeply") from None


def _read_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    contents = {}
    for name, sha256 in manifest.all_files.items():
        try:
            contents[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            raise BundleIncomplete(f"{folder}: {name} is missing") from None
        except OSError as error:
            raise BundleCorrupt(f"{folder}: {name} cannot be read: {error.strerror}") from error
        check_hash(folder, name, contents[name], sha256)
    return contents


def check_hash(source: object, name: str, content: bytes, sha256: str) -> None:
    """Checks that a file is the one that its manifest means.

    Raises:
        BundleCorrupt: if it is not; the message names the source and the file.
    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BundleCorrupt(f"{source}: {name} does not match the manifest: its SHA-256 differs")


def load_contents(source: object, manifest: Manifest, contents: Mapping[str, bytes]) -> Forecaster:
    """Loads a forecaster from the contents of a bundle's files.

    Args:
        source: what they are of, for messages.
        manifest: the manifest.
        contents: content of each of its files (`all_files`), whose hashes the caller has checked.

    Raises:
        BundleCorrupt: if a file cannot be read; the message names it.
    """
    record = manifest.dejavu
    with _refusing(source, LSTM):
        lstm = Lstm(contents[LSTM])
    with _refusing(source, COMBINATION):
        linear, combination = ensemble_from_bytes(contents[COMBINATION])
    with _refusing(source, CALIBRATION):
        calibration = calibration_from_bytes(contents[CALIBRATION])
        forecast_from = {minute for horizon in HORIZONS for minute in calibration.minutes(horizon)}
        if stray := forecast_from ^ set(record.minutes):
            raise ValueError(f"it and the manifest differ in minutes {sorted(stray)}")
        for horizon in HORIZONS:
            for minute in calibration.minutes(horizon):
                sources = (Situation(horizon, minute, source) for source in MarginSource)
                if any(calibration.smallest_alpha_of(situation) is None for situation in sources):
                    raise ValueError(f"for {horizon.value} from minute {minute} it lacks a margin source")
    with _refusing(source, RATINGS):
        ratings = _ratings_from_bytes(contents[RATINGS], manifest)
    with _refusing(source, ENTRIES):
        entries = Entries.from_bytes(contents[ENTRIES])
        if len(entries) != sum(record.entries):
            raise ValueError(f"it holds {len(entries)} entries, the manifest says {sum(record.entries)}")
    courses: dict[int, Courses] = {}
    if manifest.courses is not None:
        with _refusing(source, COURSES):
            courses = courses_from_bytes(contents[COURSES], dict(zip(record.minutes, record.entries, strict=True)))
    indexes: dict[int, VectorIndex] = {}
    graphs: dict[int, Graph] = {}
    for minute, count in zip(record.minutes, record.entries, strict=True):
        with _refusing(source, name := index_name(minute)):
            index = read_index(contents[name], minute, count)
            if isinstance(index, Graph):
                graphs[minute] = index
            else:
                indexes[minute] = index
    indexes |= join_graphs(graphs, record.neighbours)
    minutes, start = {}, 0
    for minute, count in zip(record.minutes, record.entries, strict=True):
        # After a minute or two there are few distinct patterns, so a database may have fewer entries than neighbours.
        query_settings = DejavuSettings(record.recency, min(record.neighbours, count), record.kernel)
        rows = entries.rows(start, start + count)
        minutes[minute] = Dejavu(indexes[minute], rows, query_settings, courses.get(minute))
        start += count
    models = PointEnsemble(linear, lstm, minutes, combination)
    return Forecaster(manifest, models, calibration, ratings, _totals_from_bytes(source, contents))


def _totals_from_bytes(source: object, contents: Mapping[str, bytes]) -> Totals | None:
    if TOTALS not in contents:
        return None
    with _refusing(source, TOTALS):
        return Totals.from_bytes(contents[TOTALS])


def _ratings_from_bytes(content: bytes, manifest: Manifest) -> RatingFilter:
    state, season, day = from_npz(content), manifest.ratings.season, manifest.ratings.date
    size = len(state["mean"])
    if size not in STATE_SIZES or state["mean"].shape != (size,) or state["covariance"].shape != (size, size):
        raise ValueError(f"it holds a state of shape {state['mean'].shape}; expected one of {STATE_SIZES} values")
    settings = RatingSettings(**manifest.ratings.model_dump(exclude={"season", "date"}))
    return RatingFilter(
        settings,
        state["mean"],
        state["covariance"],
        season,
        np.datetime64(day),
        awaits_season=season_on(day) < season,
    )


@contextlib.contextmanager
def _refusing(source: object, name: str) -> Iterator[None]:
    """Converts errors while parsing a file to BundleCorrupt with the file name."""
    try:
        yield
    except (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise BundleCorrupt(f"{source}: {name} cannot be read: {error}") from error


def ensemble_to_bytes(linear: LinearModels, combination: EnsembleWeights) -> bytes:
    """Serializes the linear models and the ensemble weights to a .npz file.

    Cubes are written only if any is not 0: earlier releases, which do not know them, read a file without them.
    """
    return to_npz(
        coefficients=linear.coefficients if linear.cubic else linear.coefficients[..., :CUBE],
        scales=linear.scales,
        dejavu_weights=combination.dejavu_weights,
        shrinkage=combination.shrinkage,
    )


def ensemble_from_bytes(content: bytes) -> tuple[LinearModels, EnsembleWeights]:
    """Deserializes the output of `ensemble_to_bytes`.

    Raises:
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile: if the content is invalid.
    """
    columns = from_npz(content)
    coefficients = columns["coefficients"]
    if coefficients.shape[-1] == CUBE:
        coefficients = np.concatenate([coefficients, np.zeros_like(coefficients[..., :1])], axis=-1)
    linear = LinearModels(coefficients, columns["scales"])
    return linear, EnsembleWeights(columns["dejavu_weights"], columns["shrinkage"])


def calibration_from_bytes(content: bytes) -> Calibration | LatticeCalibration:
    """Deserializes a calibration of either kind, which its columns tell.

    Raises:
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile: if the content is of neither.
    """
    return LatticeCalibration.from_bytes(content) if "lattice" in from_npz(content) else Calibration.from_bytes(content)


def ratings_to_bytes(state: RatingFilter) -> bytes:
    """Serializes the state of the rating filter to a .npz file; its settings, season and date are in the manifest."""
    return to_npz(mean=state.mean, covariance=state.covariance)


def publish(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Forecaster:
    """Writes a bundle, verifies it and renames it into place.

    Replaces an older bundle at `folder`. Between two renames the folder does not exist for an instant: a reader then
    gets a BundleError, never a partial bundle.

    Args:
        folder: target folder.
        manifest: manifest of the bundle.
        contents: content of each file of the manifest (`all_files`).

    Returns:
        The forecaster loaded from the written bundle.

    Raises:
        FileExistsError: if `folder` exists and is neither a bundle nor empty.
        BundleError: if the written bundle cannot be loaded, or does not reproduce the golden answers.
    """
    check_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        # Write the manifest last: a folder without one is not a bundle.
        for name, content in (*contents.items(), (MANIFEST, manifest.to_json().encode())):
            with (new / name).open("xb") as file:
                file.write(content)
            sync(new / name)
        sync(new)
        forecaster = load_bundle(new, allow_unfit=True)
        check_golden(forecaster)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        sync(folder.parent)
    return forecaster


def check_target(folder: Path) -> None:
    """Checks that a bundle may be written to a folder.

    Raises:
        FileExistsError: if it exists and is neither a bundle nor an empty folder.
    """
    if not folder.exists() or (folder / MANIFEST).is_file() or (folder.is_dir() and not any(folder.iterdir())):
        return
    raise FileExistsError(f"{folder} exists and is not a bundle: name another folder, or remove it")


def check_golden(forecaster: Forecaster) -> None:
    """Compares a bundle's answers to its golden queries with those in its manifest.

    Raises:
        BundleCorrupt: if they differ by more than GOLDEN_TOLERANCE.
    """
    for golden in forecaster.manifest.golden:
        query = ForecastQuery(
            ScorePattern(golden.pattern), golden.horizon, golden.alpha, golden.home_team, golden.away_team
        )
        answer = forecaster.forecast(query)
        actual = (answer.point, answer.interval.lower, answer.interval.upper, answer.home_lead_probability)
        expected = (golden.point_forecast, golden.interval_lower, golden.interval_upper, golden.home_lead_probability)
        if max(abs(a - b) for a, b in zip(actual, expected, strict=True)) > GOLDEN_TOLERANCE:
            raise BundleCorrupt(f"{forecaster.version}: a golden query returned {actual}, expected {expected}")


def check_minutes(forecaster: Forecaster) -> None:
    """Check that a bundle answers what-ifs and named forecasts of every horizon and minute with finite numbers.

    Raises:
        BundleCorrupt: if it does not.
    """
    queries = [
        ForecastQuery(
            ScorePattern(tuple(lead * slot / slots for slot in range(1, slots + 1))),
            horizon,
            alpha=0.2,
            pregame_margin=margin,
            explain=True,
            record=True,
            total_points=None if forecaster.totals is None else 40 + 4 * slots,  # even, as the leads
        )
        for horizon in HORIZONS
        for slots in forecaster.calibration.minutes(horizon)
        for lead, margin in ((0.0, None), (14.0, -4.0), (-40.0, 12.0))
    ]
    try:
        for query, answer in zip(queries, forecaster.forecast_many(queries), strict=True):
            similar = () if answer.explanation is None else answer.explanation.similar_games
            distances = [each.distance for each in similar]
            if not np.isfinite([answer.point, answer.home_lead_probability, *answer.distribution, *distances]).all():
                raise ValueError(f"the {query.horizon.value} from minute {query.pattern.minutes} is not finite")
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise BundleCorrupt(f"{forecaster.version}: it cannot forecast every minute: {error}") from error
