"""Bundles on disk: a folder with manifest.json and the files listed in it.

Loading verifies the hash of every file and passes exactly the verified bytes to the libraries. Files that are missing,
changed or written with another schema raise a BundleError that names the file. Publishing writes to a temporary folder
beside the target, loads the result, compares it with the golden queries, and only then renames it into place.

A bundle is untrusted data: nothing is pickled, no file names another, and each error is a BundleCorrupt that names the
file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from pydantic import ValidationError

from dejavu_common.files import read_regular, sync
from dejavu_common.processes import return_freed_memory
from dejavu_feed.live_inputs import LiveInputs, most_total_points
from dejavu_feed.moment import Moment
from dejavu_feed.off_season import season_on, summer
from dejavu_models.arrays import from_npz, npz_members, to_npz
from dejavu_models.components.component import Component
from dejavu_models.components.ensemble import POOLED, Ensemble, Weights, component_class
from dejavu_models.components.linear import LinearModels
from dejavu_models.errors import (
    BundleCorrupt,
    BundleIncomplete,
    BundleNotFound,
    BundleTooNew,
    BundleTooOld,
    BundleUnfit,
    ComponentMissing,
)
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import INITIAL, GameResult, OnlineState
from dejavu_models.manifest import (
    CALIBRATION,
    LINEAR,
    MOMENTS,
    PLAYERS,
    RATINGS,
    SCHEMA_VERSION,
    TOTALS,
    WEIGHTS,
    Golden,
    Manifest,
    RatingsRecord,
    component_file,
    first_error,
)
from dejavu_models.moments import MomentModel
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import CODES, LEVEL, RatingFilter, RatingSettings, TeamFilter
from dejavu_models.schedule import GameTerms
from dejavu_models.totals import Totals
from dejavu_models.types import HORIZONS, MAX_DIFFERENTIAL, Horizon
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration

T = TypeVar("T")

_MAX_ROUNDING: Final = 1e-9
"""Bound of the rounding errors of a variance, in points squared; the least variance of a bundle is above 0.01."""

MAX_SIZE = 128 * 1024**2
"""Maximum number of bytes of a bundle's arrays, and of a file. The arrays of the default bundle take 20 MB, of one with
all games of nine seasons as entries 101 MB. Loading takes up to three times as much memory, a loaded model up to twice
as much."""

_LARGEST_TERMS: Final = np.array(GameTerms(1.0, 1.0, 5.0, 1.0, 1.0))

_LEAST_SIZE: Final = 64 * 1024
"""Minimum number of bytes counted per array: finding and reading a small one takes as long as unpacking this many."""


def load_contents(source: object, manifest: Manifest, contents: Mapping[str, bytes]) -> Forecaster:
    """Load a forecaster from the contents of a bundle's files.

    Args:
        source: their origin, for messages.
        manifest: the manifest.
        contents: content of each of its files (`files`), whose hashes the caller has checked.

    Raises:
        BundleCorrupt: if a file cannot be read; the message names it.
        ComponentMissing: if a component is not installed.
    """
    _check_size(source, contents)

    def read(name: str, parse: Callable[[bytes], T]) -> T:
        with _refusing(source, name):
            return parse(contents[name])

    def optional(name: str, parse: Callable[[bytes], T]) -> T | None:
        return read(name, parse) if name in contents else None

    models = Ensemble(read(LINEAR, linear_from_bytes))
    classes = component_classes(source, manifest)
    if members := tuple(read(component_file(name), kind.from_bytes) for name, kind in classes.items()):
        names = tuple(dict.fromkeys((*POOLED, *manifest.components)))
        models = read(WEIGHTS, lambda content: Ensemble(models.linear, members, Weights.from_bytes(content, names)))
    return Forecaster(
        manifest,
        models,
        read(CALIBRATION, LatticeCalibration.from_bytes),
        read(RATINGS, lambda content: _ratings_from_bytes(content, manifest)),
        optional(TOTALS, lambda content: _totals_from_bytes(content, manifest)),
        optional(PLAYERS, PlayerRatings.from_bytes),
        optional(MOMENTS, MomentModel.from_bytes),
    )


def component_classes(source: object, manifest: Manifest) -> dict[str, type[Component]]:
    """Return the classes of a bundle's components by name, imported.

    Raises:
        ComponentMissing: if one is not installed; the message names it and what to install.
    """
    try:
        return {name: component_class(name, manifest.packages.get(name, "")) for name in manifest.components}
    except ComponentMissing as error:
        raise ComponentMissing(f"{source or manifest.version}: {error}") from None


def _check_size(source: object, contents: Mapping[str, bytes]) -> None:
    size = 0
    for name, content in contents.items():
        with _refusing(source, name):
            archived = content.startswith(b"PK")
            size += sum(max(each.file_size, _LEAST_SIZE) for each in npz_members(content)) if archived else len(content)
            if size > MAX_SIZE:
                raise ValueError(f"with it, the arrays take {size:,} bytes; expected {MAX_SIZE:,} at most")


def _totals_from_bytes(content: bytes, manifest: Manifest) -> Totals:
    totals = Totals.from_bytes(content)
    state, of_margins = totals.ratings, manifest.ratings
    try:
        of_totals = RatingsRecord(date=state.date, season=state.season, **asdict(state.settings))  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValueError(f"its ratings have a wrong {first_error(error)}") from error
    # Games without a known total advance only the ratings of margins.
    if of_totals.season > of_margins.season or of_totals.date > of_margins.date:
        has, other = (f"season {each.season} and end on {each.date}" for each in (of_totals, of_margins))
        raise ValueError(f"its ratings are for {has}; those of margins are for {other}")
    _check_state(state)
    return totals


def _ratings_from_bytes(content: bytes, manifest: Manifest) -> RatingFilter:
    state, season, day = from_npz(content), manifest.ratings.season, manifest.ratings.date
    settings = RatingSettings(**manifest.ratings.model_dump(exclude={"season", "date"}))
    ratings = RatingFilter(
        settings,
        state["mean"],
        state["covariance"],
        season,
        day,
        awaits_season=season_on(day) < season,
    )
    _check_state(ratings)
    # The other files are checked for the games that a request can describe, whose margins are within ±200.
    strengths, terms = ratings.mean[:LEVEL], np.abs(ratings.mean[LEVEL:])
    if (margin := np.ptp(strengths) + terms @ _LARGEST_TERMS[: len(terms)]) > MAX_DIFFERENTIAL:
        raise ValueError(f"it expects margins of up to {margin:.0f} points; expected at most {MAX_DIFFERENTIAL:g}")
    return ratings


def _check_state(state: TeamFilter) -> None:
    """Raise ValueError if the numbers of ratings are not finite, too large, or not a covariance."""
    state.check()
    if not np.array_equal(state.covariance, state.covariance.T):
        raise ValueError("its covariance is not symmetric")
    if (np.linalg.eigvalsh(state.covariance) < -_MAX_ROUNDING).any():
        raise ValueError("its covariance gives some games a negative variance")


@contextlib.contextmanager
def _refusing(source: object, name: str) -> Iterator[None]:
    """Convert errors of any type while parsing a file, which may have any content, to BundleCorrupt with its name."""
    try:
        yield
    except Exception as error:
        raise BundleCorrupt(f"{source}: {name} cannot be read: {error}") from error


def linear_to_bytes(linear: LinearModels) -> bytes:
    """Serialize the linear models to a .npz file."""
    return to_npz(coefficients=linear.coefficients, corrections=linear.corrections, spreads=linear.spreads)


def linear_from_bytes(content: bytes) -> LinearModels:
    """Deserialize the output of `linear_to_bytes`.

    Raises:
        ValueError, KeyError: if the content is invalid.
    """
    columns = from_npz(content)
    return LinearModels(columns["coefficients"], columns["corrections"], columns["spreads"])


def ratings_to_bytes(state: RatingFilter) -> bytes:
    """Serialize the state of the rating filter to a .npz file; its settings, season and date are in the manifest."""
    return to_npz(mean=state.mean, covariance=state.covariance)


MANIFEST = "manifest.json"
MAX_MANIFEST = 1024**2
"""Maximum size of a manifest in bytes; as it is JSON, parsing it takes up to thirty times as much memory."""

GOLDEN_TOLERANCE = 1e-6
"""Tolerance, in points, between a loaded bundle's answers and the golden ones computed before writing."""

_MAX_POINTS = 1e4
"""Bound of the points of an answer: the largest number that a scorecard can show. It is far above the points of any
game, as models fitted to few games need."""

MAX_ANSWER_SECONDS = 0.02
"""Maximum CPU time of an answer with all its optional parts, in seconds; the default bundle takes up to 0.003.

A server answers up to 128 queries in one pass, and replaces a worker that makes no progress for some seconds.
"""


def load_bundle(folder: Path, *, allow_unfit: bool = False) -> Forecaster:
    """Load a forecaster from a bundle's folder.

    If the folder is replaced while loading, returns the old or the new bundle, never a mix.

    Args:
        folder: folder of the bundle.
        allow_unfit: whether to accept a bundle whose recipe failed its backtest.

    Raises:
        BundleNotFound, BundleIncomplete, BundleCorrupt, BundleTooNew, BundleTooOld, BundleUnfit: if it cannot be
            loaded; the message names the file.
        ComponentMissing: if one of its components is not installed; the message names it.
    """
    manifest = read_manifest(folder)
    try:
        contents = read_files(folder, manifest)
    except (BundleIncomplete, BundleCorrupt):
        newer = read_manifest(folder)
        if newer == manifest:
            raise
        # A new bundle was published between reading the manifest and its files.
        manifest, contents = newer, read_files(folder, newer)
    if not allow_unfit:
        check_fit(manifest, folder)
    forecaster = load_contents(folder, manifest, contents)
    # The contents and the intermediate objects take 8 MB of the 150 MB of a worker.
    del contents
    return_freed_memory()
    return forecaster


def check_fit(manifest: Manifest, source: object = "") -> None:
    """Check that the recipe of a bundle passed its backtest.

    Args:
        manifest: the manifest of the bundle.
        source: origin of the bundle, for the message; may be empty.

    Raises:
        BundleUnfit: if it did not.
    """
    if not manifest.verdict.fit:
        model = f"{source}: model {manifest.version}" if str(source) else f"model {manifest.version}"
        raise BundleUnfit(f"{model} is marked unfit (allow it by --allow-unfit): {manifest.verdict.reason}")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle, without its files.

    Raises:
        BundleNotFound, BundleCorrupt, BundleTooNew, BundleTooOld: if there is none, or it cannot be read.
    """
    return parse_manifest(read_manifest_text(folder), folder)


def read_manifest_text(folder: Path) -> bytes:
    """Read the content of the manifest of a bundle.

    Raises:
        BundleNotFound, BundleCorrupt: if there is none, or it cannot be read.
    """
    try:
        return read_regular(folder / MANIFEST, MAX_MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        raise BundleNotFound(f"{folder}: no bundle found: no {MANIFEST}") from None
    except OSError as error:
        raise BundleCorrupt(f"{folder}: {MANIFEST} cannot be read: {error.strerror}") from error


def parse_manifest(text: bytes, source: object) -> Manifest:
    """Parse the content of manifest.json.

    Args:
        text: the content.
        source: origin of the content, for messages.

    Raises:
        BundleCorrupt, BundleTooNew, BundleTooOld: if it is not a manifest that this code reads.
    """
    try:
        # Check the version before validating: a newer schema may have entirely different fields.
        schema = dict(json.loads(text)).get("schema_version")
        if isinstance(schema, int) and schema >= 1 and schema != SCHEMA_VERSION:
            refusal, remedy = (BundleTooNew, "update it") if schema > SCHEMA_VERSION else (BundleTooOld, "refit it")
            has = f"{source}: {MANIFEST} has schema version {schema}"
            raise refusal(f"{has}, this code reads {SCHEMA_VERSION}: {remedy}")
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleCorrupt(f"{source}: {MANIFEST} is not a valid manifest: {first_error(error)}") from error
    except (ValueError, TypeError) as error:
        raise BundleCorrupt(f"{source}: {MANIFEST} is not a JSON object: {error}") from error
    except RecursionError:  # omit the traceback, which is as long as the nesting is deep
        raise BundleCorrupt(f"{source}: {MANIFEST} is not a valid manifest: it is nested too deeply") from None


def read_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """Read the files of a bundle, each with the SHA-256 in its manifest.

    Raises:
        BundleIncomplete, BundleCorrupt: if one is missing, altered or cannot be read; the message names it.
    """

    def read(name: str, _: str) -> bytes | None:
        try:
            return read_regular(folder / name, MAX_SIZE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BundleCorrupt(f"{folder}: {name} cannot be read: {error.strerror}") from error

    return verified_files(folder, manifest, read)


def verified_files(source: object, manifest: Manifest, read: Callable[[str, str], bytes | None]) -> dict[str, bytes]:
    """Return the contents of a bundle's files by name, each with the SHA-256 in its manifest.

    Args:
        source: their origin, for messages.
        manifest: the manifest.
        read: returns the content of a file by its name and SHA-256; None if there is none.

    Raises:
        BundleIncomplete, BundleCorrupt: if one is missing or has another SHA-256; the message names it.
    """
    contents = {}
    for name, sha256 in manifest.files.items():
        if (content := read(name, sha256)) is None:
            raise BundleIncomplete(f"{source}: {name} is missing")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BundleCorrupt(f"{source}: {name} does not match the manifest: its SHA-256 differs")
        contents[name] = content
    return contents


def publish(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Forecaster:
    """Write a bundle, verify it and rename it into place.

    Replaces an older bundle at `folder`. Between two renames the folder does not exist for an instant: a reader then
    gets a BundleError, never a partial bundle.

    Args:
        folder: target folder.
        manifest: manifest of the bundle.
        contents: content of each file of the manifest (`files`).

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
    """Check that a bundle may be written to a folder.

    Raises:
        FileExistsError: if it exists and is neither a bundle nor an empty folder.
    """
    if not folder.exists() or (folder / MANIFEST).is_file() or (folder.is_dir() and not any(folder.iterdir())):
        return
    raise FileExistsError(f"{folder} exists and is not a bundle: name another folder, or remove it")


def check_answers(forecaster: Forecaster) -> None:
    """Check a bundle's golden answers, its time and numbers for every horizon and minute, and its numbers after finals.

    Raises:
        BundleCorrupt: if one of them is wrong.
    """
    try:
        check_golden(forecaster)
        _check_minutes(forecaster)
        _check_learning(forecaster)
    except BundleCorrupt:
        raise
    except Exception as error:  # any error is possible: the bundle may contain any numbers
        raise BundleCorrupt(f"{forecaster.version}: it cannot answer: {error}") from error


def check_golden(forecaster: Forecaster) -> None:
    """Compare a bundle's answers to its golden queries with those in its manifest.

    Raises:
        BundleCorrupt: if they differ by more than GOLDEN_TOLERANCE.
    """
    for golden in forecaster.manifest.golden:
        actual, expected = (
            (each.point_forecast, each.interval_lower, each.interval_upper, each.home_lead_probability)
            for each in (answered(forecaster, golden), golden)
        )
        if max(abs(a - b) for a, b in zip(actual, expected, strict=True)) > GOLDEN_TOLERANCE:
            raise BundleCorrupt(f"{forecaster.version}: a golden query returned {actual}, expected {expected}")


def answered(forecaster: Forecaster, golden: Golden) -> Golden:
    """Return a golden query with the answer of a forecaster."""
    pattern = ScorePattern(golden.pattern)
    answer = forecaster.forecast(
        ForecastQuery(pattern, golden.horizon, golden.alpha, golden.home_team, golden.away_team)
    )
    return golden.model_copy(
        update={
            "point_forecast": answer.point,
            "interval_lower": answer.interval.lower,
            "interval_upper": answer.interval.upper,
            "home_lead_probability": answer.home_lead_probability,
        }
    )


def _check_minutes(forecaster: Forecaster) -> None:
    """Check the time and the numbers of forecasts with explanation to every horizon from every minute.

    They include the most extreme games that can be requested, and the widest interval of each.
    """
    queries = [
        ForecastQuery(
            ScorePattern(tuple(lead * slot / slots for slot in range(1, slots + 1))),
            horizon,
            alpha=forecaster.info.smallest_alpha,
            home_team=teams[0],
            away_team=teams[1],
            pregame_margin=margin,
            explain=True,
            record=True,
            live=LiveInputs(total_points=None if forecaster.totals is None else total),
        )
        for horizon in HORIZONS
        for slots in horizon.forecast_minutes
        for lead, margin, teams, total in (  # total and lead are both even
            (0.0, None, ("", ""), 40 + 4 * slots),
            (0.0, None, ("BOS", "LAL"), 40 + 4 * slots),
            (14.0, -4.0, ("", ""), 40 + 4 * slots),
            (-40.0, 12.0, ("", ""), 40 + 4 * slots),
            (0.0, -MAX_DIFFERENTIAL, ("", ""), 0),
            (MAX_DIFFERENTIAL, MAX_DIFFERENTIAL, ("", ""), most_total_points(slots, MAX_DIFFERENTIAL) // 2 * 2),
            (-MAX_DIFFERENTIAL, None, ("BOS", "LAL"), most_total_points(slots, MAX_DIFFERENTIAL) // 2 * 2),
        )
    ]
    if forecaster.moments is not None:
        queries += [
            ForecastQuery(
                ScorePattern((0.0,) * moment.slots), horizon, pregame_margin=margin, explain=True, moment=moment
            )
            for horizon, period, left in (
                (Horizon.HALFTIME, 2, 30.0),
                (Horizon.FINAL, 4, 150.0),
                (Horizon.FINAL, 4, 30.0),
                (Horizon.FINAL, 5, 120.0),
            )
            for moment in (Moment(period, left, lead) for lead in (0, 3, int(MAX_DIFFERENTIAL)))
            for margin in (0.0, 12.0, -MAX_DIFFERENTIAL)
        ]
    for query in queries:
        # A busy machine may slow one answer down: only a query that is slow every time is refused.
        if all(_seconds(forecaster, query) > MAX_ANSWER_SECONDS for _ in range(3)):
            raise ValueError(f"{_asked(query)} takes more than {MAX_ANSWER_SECONDS:g} s")
    _check_numbers(forecaster, queries)


def _check_learning(forecaster: Forecaster) -> None:
    """Check the numbers of forecasts after one more final of every team."""
    record, state = forecaster.manifest.ratings, forecaster.bundled_ratings
    day = max(record.date, summer(record.season - 1)[1]) + timedelta(days=1)
    games = list(zip(CODES[::2], CODES[1::2], strict=True))
    for home, away in games:
        state = state.after(GameResult(home, away, record.season, day, 7, is_playoffs=False, total=221))
    forecaster.update(OnlineState(rated=state))
    queries = [
        ForecastQuery(
            ScorePattern((0.0,)),
            horizon,
            alpha=0.2,
            home_team=home,
            away_team=away,
            game_date=day + timedelta(days=1),
            record=True,
            live=LiveInputs(total_points=None if forecaster.totals is None else 4),
        )
        for home, away in games
        for horizon in HORIZONS
    ]
    _check_numbers(forecaster, queries)
    forecaster.update(INITIAL)


def _check_numbers(forecaster: Forecaster, queries: Sequence[ForecastQuery]) -> None:
    """Raise ValueError if a number of an answer is not finite, or too large."""
    for query, answer in zip(queries, forecaster.forecast_many(queries), strict=True):
        similar = () if answer.explanation is None else answer.explanation.similar_games
        points = [answer.point, *answer.distribution]
        if answer.explanation is not None:  # a component without a weight has no part in the point
            points += [each.prediction for each in answer.explanation.components]
        if answer.total is not None:
            points += [answer.total.point, answer.total.expected_total or 0.0, *answer.total.distribution]
        others = [answer.home_lead_probability, *(each.distance for each in similar)]
        if not np.isfinite([*points, *others]).all():
            raise ValueError(f"{_asked(query)} is not finite")
        if max(map(abs, points)) > _MAX_POINTS:
            raise ValueError(f"{_asked(query)} is beyond ±{_MAX_POINTS:g} points")


def _asked(query: ForecastQuery) -> str:
    return f"the {query.horizon.value} from minute {query.pattern.minutes}"


def _seconds(forecaster: Forecaster, query: ForecastQuery) -> float:
    """Return the CPU time of an answer with the courses of its similar games, in seconds."""
    begun = time.process_time()
    [answer] = forecaster.forecast_many([query])
    for game in () if answer.explanation is None else answer.explanation.similar_games:
        forecaster.course(answer, game)
    return time.process_time() - begun
