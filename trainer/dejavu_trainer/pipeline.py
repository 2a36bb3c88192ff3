"""Runs the training pipeline, from games to a published bundle, and refreshes the ratings of a bundle."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_feed.files.plays_format import season_of_day
from dejavu_feed.game_ids import PLAYOFF_PHASES, seasons_on
from dejavu_feed.live_inputs import total_points_fault
from dejavu_feed.off_season import is_over, season_on
from dejavu_feed.pattern import LARGEST_MARGIN
from dejavu_models.components.ensemble import package_of
from dejavu_models.forecast_query import DEFAULT_ALPHA
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult
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
    LineageRecord,
    Manifest,
    MetricRecord,
    Part,
    RatingsRecord,
    RefreshRecord,
    component_file,
    version_of,
)
from dejavu_models.ratings import CODES, MAX_RATINGS_DAYS, RatingFilter
from dejavu_models.totals import Totals
from dejavu_models.types import Horizon
from dejavu_store.bundle import (
    answered,
    check_target,
    linear_to_bytes,
    load_bundle,
    publish,
    ratings_to_bytes,
    read_files,
)
from dejavu_trainer.data.games import Games, load_games, ranges, split_seasons
from dejavu_trainer.data.plays import season_files
from dejavu_trainer.evaluation.verdict import holdout_verdict, verdict_of
from dejavu_trainer.execution import Progress
from dejavu_trainer.lineage import code_version, libraries
from dejavu_trainer.training.calibrate import CalibratedModels, fit_recipe, measure
from dejavu_trainer.training.ratings import rating_errors
from dejavu_trainer.training.recipe import TrainingConfig
from dejavu_trainer.training.totals import fit_totals

_GOLDEN = (
    (Horizon.HALFTIME, 6, True),
    (Horizon.HALFTIME, 18, False),
    (Horizon.FINAL, 18, True),
    (Horizon.FINAL, 41, False),
)
"""Golden queries, replayed when a bundle is checked: horizon, minute, whether the teams are given."""


@dataclass(frozen=True)
class FitReport:
    """Result of a training run.

    Attributes:
        forecaster: the published bundle, loaded back from disk.
        bundle: folder of the bundle.
        ratings: errors of the pregame expected margins on the calibration games; see `training.ratings.rating_errors`.
        note: limits of the verdict's meaning for these games; empty if there are none.
    """

    forecaster: Forecaster
    bundle: Path
    ratings: dict[str, tuple[float, float]]
    note: str


def fit(
    games: Games,
    *,
    train: Sequence[int],
    calibrate: Sequence[int],
    out: Path,
    seed: int = 0,
    recipe: TrainingConfig | None = None,
    backtest: Path | None = None,
    progress: Progress | None = None,
    lineage: LineageRecord | None = None,
) -> FitReport:
    """Train, calibrate and publish a bundle that forecasts both horizons from every minute.

    The same games, seasons, seed and recipe give the same model version on the same machine.

    Args:
        games: games of all the named seasons; other seasons are ignored.
        train: seasons to train on.
        calibrate: other seasons, to calibrate intervals and probabilities on.
        out: folder of the bundle; an existing bundle there is replaced.
        seed: random seed, at least 0.
        recipe: the training configuration; the default one if not given.
        backtest: result of a walk-forward with the same recipe; its verdict is used. Without one, the models are
            evaluated once, on the last of the calibration games.
        progress: receives progress updates.
        lineage: origin of the bundle; by default, only the version of the code. Does not change the model version.

    Raises:
        DataError: if the games can't be split as requested or are too few, or the backtest has another recipe or other
            games.
        FitError: if the LSTM can't be fitted.
        FileExistsError: if `out` is neither empty nor a bundle.
        BundleError: if the written bundle does not load back or fails its checks.
    """
    check_target(out)
    progress, recipe = progress or Progress(), recipe or TrainingConfig()
    to_train, to_calibrate = split_seasons(games, train, calibrate)
    used = games.of_seasons([*train, *calibrate])
    backtest_verdict, note = (None, "") if backtest is None else verdict_of(backtest, recipe, used)

    fitted = fit_recipe(to_train, to_calibrate, recipe, seed, progress)
    with progress.step("Fit the totals", recipe.rating_steps) as advance:
        totals = fit_totals(Games.joined([to_train, to_calibrate]), recipe.rating_steps, advance)
    verdict = backtest_verdict or holdout_verdict(fitted, progress)

    with progress.step("Publish", 1) as advance:
        errors = rating_errors(to_train, fitted.before, fitted.calibrate)
        metrics = measure(fitted.games, seed)
        metrics += _metrics_of(errors)
        season, newest = int(to_calibrate.season[-1]), to_calibrate.date[-1].item()
        season_served = season + is_over(season, newest)
        ratings = fitted.after.predict(season_served)
        contents = _contents(fitted, ratings, totals)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        ratings_record = RatingsRecord(date=ratings.newest, season=season_served, **asdict(ratings.settings))
        packages = {each.name: package_of(each.name) for each in fitted.models.others}
        draft = Manifest.model_construct(  # checked when it is published
            schema_version=SCHEMA_VERSION,
            version=version_of(ratings_record, hashes, packages),
            components=fitted.models.components,
            packages=packages,
            created_time=datetime.now(UTC),
            train=_part(to_train),
            calibrate=_part(to_calibrate),
            data_fingerprint=used.fingerprint,
            seed=seed,
            libraries=libraries(),
            ratings=ratings_record,
            verdict=verdict,
            metrics=tuple(metrics),
            golden=(),
            files=hashes,
            lineage=lineage or LineageRecord(code_version=code_version()),
        )
        forecaster = publish(out, _with_golden(draft, fitted, ratings), contents)
        advance(1)
    return FitReport(forecaster, out, errors, note)


def _contents(fitted: CalibratedModels, ratings: RatingFilter, totals: Totals | None) -> dict[str, bytes]:
    models = fitted.models
    contents = {
        **{component_file(each.name): each.to_bytes() for each in models.members},
        LINEAR: linear_to_bytes(models.linear),
        CALIBRATION: fitted.calibration.to_bytes(),
        RATINGS: ratings_to_bytes(ratings),
    }
    if models.members:
        contents[WEIGHTS] = models.weights.to_bytes()
    if totals is not None and ratings.season is not None:
        contents[TOTALS] = replace(totals, ratings=totals.ratings.predict(ratings.season)).to_bytes()
    if fitted.players is not None:
        contents[PLAYERS] = fitted.players.to_bytes()
    if fitted.moments is not None:
        contents[MOMENTS] = fitted.moments.to_bytes()
    return contents


def _part(games: Games) -> Part:
    seasons = tuple(int(season) for season in np.unique(games.season))
    return Part(seasons=seasons, games=len(games), first_date=games.date[0].item(), last_date=games.date[-1].item())


def _with_golden(draft: Manifest, fitted: CalibratedModels, ratings: RatingFilter) -> Manifest:
    """Return a manifest with golden answers, which the models in memory give as a server does."""
    games, model = fitted.calibrate.games, Forecaster(draft, fitted.models, fitted.calibration, ratings)
    golden = []
    for horizon, minute, with_teams in _GOLDEN:
        home, away = (str(games.home[-1]), str(games.away[-1])) if with_teams else ("", "")
        pattern = tuple(games.levels[-1, :minute].tolist())
        query = Golden.model_construct(
            horizon=horizon, pattern=pattern, home_team=home, away_team=away, alpha=DEFAULT_ALPHA
        )
        golden.append(answered(model, query))
    return draft.model_copy(update={"golden": tuple(golden)})


def _metrics_of(errors: dict[str, tuple[float, float]]) -> Iterator[MetricRecord]:
    """Yield the errors of the ratings."""
    for name, (mae, rmse) in errors.items():
        yield MetricRecord(name=f"calibration.expected_margin.{name}.mae", value=mae)
        yield MetricRecord(name=f"calibration.expected_margin.{name}.rmse", value=rmse)


class NothingNewer(DataError):
    """No game is later than those that the ratings know."""


@dataclass(frozen=True)
class Refresh:
    """Result of a refresh.

    Attributes:
        forecaster: the published bundle, loaded back from disk.
        before: manifest of the bundle that was refreshed.
        games: the games by which the ratings were updated.
        bundle: folder of the published bundle.
        missing_seasons: seasons without games between the newest final that the ratings knew and the newest game.
    """

    forecaster: Forecaster
    before: Manifest
    games: RefreshRecord
    bundle: Path
    missing_seasons: tuple[int, ...]


def load_results(path: Path, season: int) -> list[GameResult]:
    """Read the results of a season and of later ones, by date.

    Args:
        path: a folder of plays_{season}.parquet, with or without the subfolder seasons/, or one such file.
        season: the first season, by the year in which it ends.

    Raises:
        DataError: if there are none, or a file is malformed.
    """
    seasons = list(season_files(path))
    if not (later := [each for each in seasons if each >= season]):
        raise DataError(f"{path}: contains seasons {ranges(seasons)}; expected the season {season} or a later one")
    return results_of(load_games(path, later))


def results_of(games: Games) -> list[GameResult]:
    """Return the results of games, in their order."""
    return [
        GameResult(
            home=str(games.home[index]),
            away=str(games.away[index]),
            season=int(games.season[index]),
            day=games.date[index].item(),
            differential=int(games.final[index]),
            is_playoffs=str(games.phase[index]) in PLAYOFF_PHASES,
            total=None if games.final_total[index] < 0 else int(games.final_total[index]),
            neutral_site=neutral_site,
        )
        for index, neutral_site in enumerate(games.neutral)
    ]


def seasons_to_learn(manifest: Manifest, today: date) -> range:
    """Return the seasons that may have finals before a day that the ratings of a bundle lack."""
    return range(manifest.ratings.season, season_on(today) + 1)


def refresh_ratings(bundle: Path, results: Sequence[GameResult], out: Path, today: date) -> Refresh:
    """Publish a bundle with the same models and newer ratings, and a model version of its own.

    The games after the newest one that the ratings know update them, as reported finals do in a server. If the season
    of the newest game is over, the new ratings are for the next season.

    Args:
        bundle: folder of the bundle to refresh.
        results: results, by date; the later ones are used.
        out: folder of the new bundle, which may be the same; an existing bundle there is replaced.
        today: today's date, which decides whether the season of the newest game is over.

    Raises:
        NothingNewer: if no game is later than those that the ratings know.
        DataError: if a result is impossible, or later than today; if the games leave a gap in which results are
            missing, and a team has had no result since (`LiveRatings.unseen`): a bundle knows all teams up to the same
            date.
        FileExistsError: if `out` is neither empty nor a bundle.
        BundleError: if the bundle does not load, or the new one fails its checks.
    """
    check_target(out)
    old = load_bundle(bundle, allow_unfit=True)
    before = old.manifest
    # Without a limit if the ratings are of simulated seasons, which may be in the future.
    _check(results, today if before.ratings.date <= today else date.max)
    contents = read_files(bundle, before)
    state = old.bundled_ratings
    learned = list[GameResult]()
    for result in results:
        updated = state.after(result)
        if updated.ratings.finals > state.ratings.finals:
            learned.append(result)
        state = updated
    ratings = state.ratings
    if not learned:
        raise NothingNewer(f"{bundle}: no game after {before.ratings.date}, the newest final that its ratings know")
    if unseen := ratings.unseen:
        raise DataError(
            f"no game of {', '.join(sorted(unseen))} since {max(unseen.values())}, and more than"
            f" {MAX_RATINGS_DAYS} days without any game after that: the ratings of these teams would be too old;"
            " expected games of all teams after the gap"
        )
    season = learned[-1].season + (season_on(today) > learned[-1].season)
    rating_filter = ratings.filter.predict(season)
    contents[RATINGS] = ratings_to_bytes(rating_filter)
    totals = old.totals
    if totals is not None and state.totals is not None:
        totals = replace(totals, ratings=state.totals.filter.predict(season))
        contents[TOTALS] = totals.to_bytes()
    files = {name: hashlib.sha256(contents[name]).hexdigest() for name in before.files}
    record = before.ratings.model_copy(update={"date": rating_filter.newest, "season": season})
    added = RefreshRecord(
        of_version=before.version,
        games=len(learned),
        first_date=learned[0].day,
        last_date=learned[-1].day,
        data_fingerprint=_fingerprint(learned),
    )
    manifest = before.model_copy(
        update={
            "version": version_of(record, files, before.packages),
            "created_time": datetime.now(UTC),
            "ratings": record,
            "files": files,
            "refresh": added,
            "lineage": before.lineage and before.lineage.model_copy(update={"parent_version": before.version}),
        }
    )
    refreshed = Forecaster(manifest, old.models, old.calibration, rating_filter, totals, old.player_ratings)
    golden = tuple(answered(refreshed, each) for each in before.golden)
    forecaster = publish(out, manifest.model_copy(update={"golden": golden}), contents)
    first_missing = season_of_day(before.ratings.date) + 1
    missing = sorted(set(range(first_missing, learned[-1].season)) - {result.season for result in learned})
    return Refresh(forecaster, before, added, out, tuple(missing))


def _check(results: Sequence[GameResult], latest: date) -> None:
    """Raise DataError if a result is impossible, or a team has two results on a day."""
    for result in results:
        game = f"the results have {result.away} @ {result.home} of {result.day}"
        if stray := sorted({result.home, result.away} - set(CODES)):
            raise DataError(f"{game}: {', '.join(stray)} is no NBA code")
        if result.home == result.away:
            raise DataError(f"{game}; expected two teams")
        if not 1 <= abs(result.differential) <= LARGEST_MARGIN:
            has = f"with a final differential of {result.differential}"
            raise DataError(f"{game} {has}; expected 1 to {LARGEST_MARGIN} points")
        if result.total is not None and (fault := total_points_fault(int(result.total), result.differential)):
            raise DataError(f"{game} with {fault.found} total points; expected {fault.expected}")
        if result.day > latest:
            raise DataError(f"{game}; expected games until today, {latest}")
        if result.season not in seasons_on(result.day):
            raise DataError(
                f"{game} in season {result.season}; expected {' or '.join(map(str, seasons_on(result.day)))}"
            )
    days = Counter((result.day, team) for result in results for team in (result.home, result.away))
    if often := next((key for key, number in days.items() if number > 1), None):
        raise DataError(f"the results have {often[1]} in {days[often]} games on {often[0]}")


def _fingerprint(results: Sequence[GameResult]) -> str:
    """Return the SHA-256 of results, a line of JSON each."""
    lines = (json.dumps([*result._replace(day=result.day.isoformat())]) + "\n" for result in results)  # type: ignore[arg-type]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
