"""Evaluates a recipe season by season, using only earlier games (walk-forward), or a bundle on one season.

The newest seasons before test season S are calibration seasons: their ranks calibrate the distributions. Models, tables
and the settings of the ratings are fitted on the seasons before these. The ratings are carried from game to game
throughout; forecasts are also made with ratings frozen before the season, as on a server.

Forecasts of total points need none of the models of margins: for each season, everything is fitted on all seasons
before it.

The table of each season is a file, written atomically, so that a killed walk-forward can resume.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError
from dejavu_models.components.component import Advance, ignore
from dejavu_models.forecaster import Forecaster
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter, TotalFilter
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.figures import ALL, METRICS, MOMENTS, TOTALS, Columns, Figures, Table, pool, read_table
from dejavu_trainer.evaluation.fold_scores import ALONE, LINE, PARTS, PLAYERS, REFERENCES, STATIC, score, score_fold
from dejavu_trainer.evaluation.totals import LINE_RATE, RIVALS, score_totals
from dejavu_trainer.evaluation.verdict import Check, Verdict, aims_of, judge
from dejavu_trainer.execution import HERE, Execution
from dejavu_trainer.lineage import digest_of
from dejavu_trainer.training.calibrate import NO_CACHE, StageCache, fit_recipe
from dejavu_trainer.training.ratings import carry, margins_with_frozen_ratings, rate_players
from dejavu_trainer.training.recipe import TrainingConfig
from dejavu_trainer.training.totals import carry_totals, fit_totals

_OF_FOLD: Final = ("train_seasons", "calibration_seasons", "calibration_games")

COMPARED: Final = ("mae", "crps", "winkler_95", "brier", "log_loss")
"""Scores whose differences are stored."""


@dataclass(frozen=True, slots=True)
class RunProvenance:
    """Provenance of a run.

    Attributes:
        recipe: digest of the recipe.
        seed: random seed.
        data: SHA-256 of the games.
        data_by_season: SHA-256 of the games of each season, for the comparison by `fit --backtest`.
    """

    recipe: str
    seed: int
    data: str
    data_by_season: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """Result of a walk-forward.

    Attributes:
        method: provenance of the run.
        verdict: whether the recipe's forecasts may be served.
        promises: checks of the aims, which do not decide the verdict.
        figures: all metrics, and the table that they are computed from.
    """

    method: RunProvenance
    verdict: Verdict
    promises: tuple[Check, ...]
    figures: Figures

    @property
    def table(self) -> Table:
        """The scores of all folds."""
        return self.figures.table


def result_of(folds: Sequence[Table], method: RunProvenance, *, resamples: int = 2000) -> BacktestResult:
    """Compute all checks and the verdict of some folds; their figures are computed when they are asked for.

    Args:
        folds: at least one fold, each of one season.
        method: provenance of the run.
        resamples: number of bootstrap resamples over games.
    """
    figures = Figures(pool(folds), seed=method.seed, resamples=resamples)
    return BacktestResult(method, judge(figures), aims_of(figures), figures)


def references_of(target: str, forecaster: str) -> tuple[str, ...]:
    """Return the forecasters that a forecaster of a target is compared with.

    Those of the references know what it knows; components are compared with the learned weights.
    """
    if target in TOTALS.values():
        return ("served", LINE_RATE) if forecaster == LINE else RIVALS
    if target in MOMENTS.values():
        return ("logistic",)
    if forecaster in (PLAYERS, LINE):
        return ("served", "persistence", *(f"{name}_{forecaster}" for name in REFERENCES))
    return (STATIC,) if forecaster in PARTS or forecaster.startswith(ALONE) else ("persistence", *REFERENCES)


def document_of(result: BacktestResult) -> dict[str, Any]:
    """Return the result as a JSON document, with numbers of six significant digits; see docs/evaluation.md."""
    columns = result.table.columns
    document = {
        "recipe": result.method.recipe,
        "seasons": columns["fold.season"].tolist(),
        "method": asdict(result.method),
        "folds": [
            {
                "season": season,
                "games": int((columns["game.season"] == season).sum()),
                **{name: columns[f"fold.{name}"][row].item() for name in _OF_FOLD},
            }
            for row, season in enumerate(columns["fold.season"].tolist())
        ],
        "verdict": asdict(result.verdict),
        "promises": [asdict(each) for each in result.promises],
        "figures": [*_figures(result.figures)],
    }
    text = json.dumps(document, allow_nan=False)
    rounded: dict[str, Any] = json.loads(text, parse_float=lambda number: float(f"{float(number):.6g}"))
    return rounded


def _figures(figures: Figures) -> Iterator[dict[str, Any]]:
    """Yield the figures of all targets by season, minute and band, and those over all and over the late minutes."""
    for target, kind in product(figures.table.targets, (ALL, "season", "minute", "late", "band")):
        if (kind == "band") != (target in MOMENTS.values() and kind != ALL):
            continue
        games = {group: figures.games(target, kind, group) for group in figures.groups(target, kind)}
        for forecaster in figures.table.forecasters(target):
            compared = {name: COMPARED for name in references_of(target, forecaster) if name != forecaster}
            for reference, metrics in {"": METRICS, **compared}.items():
                for metric, group in product(metrics, games):
                    if kind == "minute" and metric == "ece":
                        continue
                    found = figures.get(target, forecaster, metric, reference, kind=kind, group=group)
                    if found is not None:
                        yield {
                            "target": target, "kind": kind, "group": group, "games": games[group],
                            "forecaster": forecaster, "metric": metric, "reference": reference, "found": [*found],
                        }  # fmt: skip


CALIBRATE_SEASONS: Final = 2
"""Number of seasons before the test season that are used for calibration."""

FORM: Final = 12
"""Format version of the files of folds; incremented with every change of the scores or their storage."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One test season of a walk-forward.

    Attributes:
        recipe: the training configuration.
        season: test season, by the year in which it ends.
        calibrate_seasons: number of seasons before it to calibrate on; all earlier ones are training seasons.
        seed: random seed.
    """

    recipe: TrainingConfig
    season: int
    calibrate_seasons: int = CALIBRATE_SEASONS
    seed: int = 0

    def check(self, games: Games) -> None:
        """Check that there are games to train on, calibrate on and test on.

        Raises:
            DataError: if not; the message names the missing season.
        """
        available = np.unique(games.season).tolist()
        first = self.season - self.calibrate_seasons
        needed = [*range(first, self.season + 1)]
        if missing := [season for season in needed if season not in available]:
            found = ", ".join(map(str, available)) or "none"
            raise DataError(f"testing on {self.season} requires games of {missing[0]}; found seasons: {found}")
        if not any(season < first for season in available):
            calibrating = f"the {self.calibrate_seasons} before it only calibrate (--calibrate-seasons)"
            raise DataError(f"testing on {self.season} requires a season before {first} to train on: {calibrating}")

    def key(self, games: Games) -> str:
        """Return a hash of all inputs of the fold's scores: the first 16 hexadecimal digits of a SHA-256."""
        until = games.select(games.season <= self.season)
        inputs = FORM, self.recipe.digest, self.season, self.calibrate_seasons, self.seed, until.fingerprint
        return digest_of(inputs)

    def run(self, games: Games, stages: StageCache = NO_CACHE) -> Table:
        """Train and calibrate models on earlier seasons, and score them on the test season.

        Args:
            games: games of all seasons up to the test season; later ones are ignored.
            stages: keeps the results of stages of the fit.

        Raises:
            DataError: if games are missing, or too few.
            FitError: if the LSTM can't be fitted.
        """
        self.check(games)
        first = self.season - self.calibrate_seasons
        train = games.select(games.season < first)
        to_calibrate = games.select((games.season >= first) & (games.season < self.season))
        models = fit_recipe(train, to_calibrate, self.recipe, self.seed, stages=stages)
        test = games.select(games.season == self.season)
        table = score(models, test)
        earlier = games.select(games.season < self.season)
        totals = fit_totals(earlier, self.recipe.rating_steps, ignore)
        if totals is None:
            return table
        return Table(table.columns | score_totals(totals, earlier, test))


def backtest(
    games: Games,
    folds: Sequence[Fold],
    out: Path,
    *,
    execution: Execution = HERE,
    stages: StageCache = NO_CACHE,
    advance: Advance = ignore,
) -> list[Table]:
    """Run folds of a recipe, one a test season, and store the scores of each in a folder.

    A stored fold with the same games, recipe and seed is reused.

    Args:
        games: games of all seasons needed.
        folds: the folds, their test seasons ascending.
        out: folder for fold-{season}-{key}.npz; created if it does not exist.
        execution: where folds are computed; does not change the result.
        stages: keeps the results of stages of the fits; on a cluster, in a folder of all its machines.
        advance: called with the number of folds that are done or were stored already.

    Returns:
        The scores of the folds, in the given order.

    Raises:
        DataError: if games are missing or too few, or a stored fold can't be read.
        FitError: if an LSTM can't be fitted.
        ExecutionError, OSError: if the folds can't be computed where they should.
    """
    for fold in folds:
        fold.check(games)
    out.mkdir(parents=True, exist_ok=True)
    for unfinished in out.glob(".fold-*.npz.*"):  # of killed writers
        unfinished.unlink(missing_ok=True)
    paths = [out / f"fold-{fold.season}-{fold.key(games)}.npz" for fold in folds]
    # The newest first: it has the most games to train on, and should not be the last to end.
    pending = [(fold, path) for fold, path in reversed([*zip(folds, paths, strict=True)]) if not path.exists()]
    advance(len(folds) - len(pending))

    def store(number: int, scores: bytes) -> None:
        write_atomic(pending[number][1], scores)
        advance(1)

    execution.map(partial(_scores, stages=stages), [fold for fold, _ in pending], games, done=store)
    return [read_table(path) for path in paths]


def _scores(fold: Fold, games: Games, stages: StageCache) -> bytes:
    return fold.run(games, stages).to_bytes()


Seen = Literal["train", "calibrate", "ratings"]
"""Use that a bundle made of a season: its models were trained or calibrated on it, or its ratings know its results."""


def seasons_needed(forecaster: Forecaster, season: int) -> list[int]:
    """Return the seasons that `evaluate` needs: those the bundle was built from, and the test season."""
    info = forecaster.info
    return sorted({season, *info.train_seasons, *info.calibration_seasons})


def evaluate(
    forecaster: Forecaster,
    games: Games,
    season: int,
    *,
    seed: int = 0,
) -> tuple[BacktestResult, Seen | None]:
    """Evaluate a bundle on the games of one season.

    Args:
        forecaster: the loaded bundle.
        games: games of `seasons_needed`.
        season: test season.
        seed: random seed of the bootstrap.

    Returns:
        The figures, whose references are fitted on all given games before the season; and the use that the bundle made
        of the season, None if it is new to it.

    Raises:
        DataError: if the games differ from those that the bundle was built from, or there are no games of the season or
            none before it to fit the references on.
    """
    info, manifest = forecaster.info, forecaster.manifest
    seasons = [*info.train_seasons, *info.calibration_seasons]
    made_from = games.of_seasons(seasons)
    if made_from.fingerprint != manifest.data_fingerprint:
        raise DataError(
            f"the games of {min(info.train_seasons)} to {max(info.calibration_seasons)} are not those that bundle"
            f" {forecaster.version} was built from; the references are fitted on them too"
        )
    rating_filter = forecaster.rating_filter
    start = RatingFilter.start(rating_filter.settings)
    rated, _ = carry(start, games)
    earlier, test = rated.select(games.season < season), rated.of_seasons([season])
    for selected, description in (
        (test, f"of season {season}"),
        (earlier, f"before {season} to fit the references on"),
    ):
        if not len(selected.games):
            raise DataError(f"there are no games {description}")
    frozen = rating_filter
    knows_results = manifest.ratings.date >= test.games.date[0].item()
    if knows_results:  # use the ratings that the bundle would have had before the season
        _, frozen = carry(start, earlier.games)
    table = score_fold(
        forecaster.models,
        forecaster.calibration,
        earlier=earlier,
        calibrate=rated.of_seasons(info.calibration_seasons),
        test=test,
        frozen_margins=margins_with_frozen_ratings(frozen, test.games),
        players=_players(forecaster, earlier.games),
    )
    method = RunProvenance(manifest.verdict.recipe, seed, games.fingerprint)
    seen: Seen | None = "ratings" if knows_results else None
    if season in seasons:
        seen = "train" if season in info.train_seasons else "calibrate"
    table = Table(table.columns | _totals(forecaster, earlier.games, test.games))
    return result_of([table], method), seen


def _players(forecaster: Forecaster, earlier: Games) -> PlayerRatings | None:
    """Return the ratings of players as they stood after earlier games; None if the bundle has none."""
    players = forecaster.player_ratings
    return None if players is None else replace(rate_players(PlayerRatings(), earlier)[1], weights=players.weights)


def _totals(forecaster: Forecaster, earlier: Games, test: Games) -> Columns:
    """Score the totals of a season, with ratings as they stood before it; empty if the bundle has no totals."""
    totals = forecaster.totals
    if totals is None:
        return {}
    _, before = carry_totals(TotalFilter.start(totals.ratings.settings), earlier)
    return score_totals(replace(totals, ratings=before), earlier, test)
