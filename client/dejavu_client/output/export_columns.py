"""Columns of exports from the track record: name, type and how to extract the value from a row.

Names and types are stable across releases; columns may be added at the end. Documented in docs/clients.md.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, AdaptationMode, Horizon
from dejavu.v1.market_pb2 import MarketSide
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import Figure, LeaderboardRow, Scorecard, ScoreFilter
from dejavu_client.formatting import enum_word

Value = str | int | float | bool | datetime | list[float] | None
RowT = TypeVar("RowT")


class ColumnType(enum.Enum):
    """Type of a column's values; any value may be missing."""

    TEXT = "text"
    INTEGER = "integer"
    REAL = "real"
    FLAG = "flag"
    TIME = "time"
    REALS = "reals"


@dataclass(frozen=True, slots=True)
class Column(Generic[RowT]):
    """An export column.

    Attributes:
        pick: returns the value of a row; None if it is missing.
    """

    name: str
    kind: ColumnType
    pick: Callable[[RowT], Value]


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One metric of a scorecard with its scope, as one row of an exported file.

    Attributes:
        scope: filter of the forecasts scored.
        figure: name of the metric.
        value: its value.
        games, forecasts: sample size.
        lower, upper: bounds of its confidence interval, if it has one.
        alpha: the miscoverage rate, for interval metrics.
        rank: rank of the model version, on a leaderboard.
    """

    scope: ScoreFilter
    figure: str
    value: float
    games: int
    forecasts: int
    lower: float | None = None
    upper: float | None = None
    alpha: float | None = None
    rank: int | None = None


_HORIZONS = {HORIZON_HALFTIME: "half", HORIZON_FINAL: "final"}


def horizon_name(horizon: Horizon.ValueType) -> str:
    """Returns a horizon's name on the command line and in files: half or final; both if it is unspecified."""
    return _HORIZONS.get(horizon, "both")


def time_of(timestamp: Timestamp) -> datetime:
    """Converts a timestamp to an aware datetime in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


def _field(
    path: str, convert: Callable[[Any], Value] | None = None, *, message: Descriptor = RecordedPrediction.DESCRIPTOR
) -> Callable[[Any], Value]:
    """Returns what picks the field at a dotted path from a row; None if it, or a message on the path, is not set."""
    steps = []
    for name in path.split("."):
        field = message.fields_by_name[name]
        steps.append((name, field.has_presence))
        message = field.message_type or message

    def pick(value: Any) -> Value:
        for name, optional in steps:
            if optional and not value.HasField(name):
                return None
            value = getattr(value, name)
        return convert(value) if convert else value

    return pick


def _scope(name: str) -> Callable[[FigureRow], Value]:
    """Returns what picks a field of the scope; None if it is not set, or empty."""
    pick = _field(name, message=ScoreFilter.DESCRIPTOR)
    return lambda row: None if (value := pick(row.scope)) == "" else value


def _bankroll(row: RecordedPrediction) -> Value:
    if not row.HasField("market"):
        return None
    return row.market.bankroll if row.market.HasField("bankroll") else 1.0


PREDICTION_COLUMNS: tuple[Column[RecordedPrediction], ...] = (
    Column("sequence", ColumnType.INTEGER, _field("forecast.sequence")),
    Column("revision", ColumnType.INTEGER, _field("forecast.revision")),
    Column("superseded", ColumnType.FLAG, _field("superseded")),
    Column("game_id", ColumnType.TEXT, _field("forecast.game_id")),
    Column("home_team", ColumnType.TEXT, lambda row: row.forecast.home_team or None),
    Column("away_team", ColumnType.TEXT, lambda row: row.forecast.away_team or None),
    Column("horizon", ColumnType.TEXT, lambda row: horizon_name(row.forecast.horizon)),
    Column("elapsed_minutes", ColumnType.INTEGER, _field("forecast.elapsed_minutes")),
    Column("model_version", ColumnType.TEXT, _field("forecast.model_version")),
    Column("generated_time", ColumnType.TIME, _field("forecast.generated_time", time_of)),
    Column("alpha", ColumnType.REAL, _field("forecast.alpha")),
    Column("point_forecast", ColumnType.REAL, _field("forecast.point_forecast")),
    Column("interval_lower", ColumnType.REAL, _field("forecast.interval_lower")),
    Column("interval_upper", ColumnType.REAL, _field("forecast.interval_upper")),
    Column("home_lead_probability", ColumnType.REAL, _field("forecast.home_lead_probability")),
    Column("expected_margin", ColumnType.REAL, _field("forecast.expected_margin")),
    Column("last_differential", ColumnType.REAL, lambda row: row.pattern[-1] if row.pattern else None),
    Column("calibration_sequence", ColumnType.INTEGER, _field("forecast.calibration_sequence")),
    Column(
        "adaptation_mode",
        ColumnType.TEXT,
        _field("forecast.adaptation.mode", partial(enum_word, AdaptationMode.DESCRIPTOR)),
    ),
    Column("adapted_lower", ColumnType.REAL, _field("forecast.adaptation.adapted_lower")),
    Column("adapted_upper", ColumnType.REAL, _field("forecast.adaptation.adapted_upper")),
    Column("static_lower", ColumnType.REAL, _field("forecast.adaptation.static_lower")),
    Column("static_upper", ColumnType.REAL, _field("forecast.adaptation.static_upper")),
    Column("outcome", ColumnType.INTEGER, _field("outcome.differential")),
    Column("outcome_observed_time", ColumnType.TIME, _field("outcome.observed_time", time_of)),
    Column("outcome_sequence", ColumnType.INTEGER, _field("outcome.sequence")),
    Column("outcome_revision", ColumnType.INTEGER, _field("outcome.revision")),
    Column("error", ColumnType.REAL, _field("settlement.error")),
    Column("absolute_error", ColumnType.REAL, _field("settlement.absolute_error")),
    Column("persistence_absolute_error", ColumnType.REAL, _field("settlement.persistence_absolute_error")),
    Column("covered", ColumnType.FLAG, _field("settlement.covered")),
    Column("brier", ColumnType.REAL, _field("settlement.brier")),
    Column("crps", ColumnType.REAL, _field("settlement.crps")),
    Column("market_line", ColumnType.REAL, _field("market.line")),
    Column("market_bankroll", ColumnType.REAL, _bankroll),
    Column("market_home_odds", ColumnType.REAL, _field("market_answer.home.decimal_odds")),
    Column("market_away_odds", ColumnType.REAL, _field("market_answer.away.decimal_odds")),
    Column("market_home_win_probability", ColumnType.REAL, _field("market_answer.home.win_probability")),
    Column("market_away_win_probability", ColumnType.REAL, _field("market_answer.away.win_probability")),
    Column("market_push_probability", ColumnType.REAL, _field("market_answer.push_probability")),
    Column("market_home_expected_value", ColumnType.REAL, _field("market_answer.home.expected_value")),
    Column("market_away_expected_value", ColumnType.REAL, _field("market_answer.away.expected_value")),
    Column("market_side", ColumnType.TEXT, _field("market_answer.side", partial(enum_word, MarketSide.DESCRIPTOR))),
    Column("market_stake", ColumnType.REAL, _field("market_answer.stake")),
    Column("pattern", ColumnType.REALS, lambda row: list(row.pattern)),
    Column("distribution", ColumnType.REALS, lambda row: list(row.forecast.distribution) or None),
)
"""Columns of a recorded forecast. Times are in UTC, differentials and errors in points."""


FIGURE_COLUMNS: tuple[Column[FigureRow], ...] = (
    Column("rank", ColumnType.INTEGER, lambda row: row.rank),
    Column("model_version", ColumnType.TEXT, _scope("model_version")),
    Column("game_id", ColumnType.TEXT, _scope("game_id")),
    Column("team", ColumnType.TEXT, _scope("team")),
    Column("horizon", ColumnType.TEXT, lambda row: horizon_name(row.scope.horizon)),
    Column("from_date", ColumnType.TEXT, _scope("from_date")),
    Column("to_date", ColumnType.TEXT, _scope("to_date")),
    Column("min_minutes", ColumnType.INTEGER, _scope("min_minutes")),
    Column("max_minutes", ColumnType.INTEGER, _scope("max_minutes")),
    Column("min_confidence", ColumnType.REAL, _scope("min_confidence")),
    Column("figure", ColumnType.TEXT, lambda row: row.figure),
    Column("alpha", ColumnType.REAL, lambda row: row.alpha),
    Column("value", ColumnType.REAL, lambda row: row.value),
    Column("lower", ColumnType.REAL, lambda row: row.lower),
    Column("upper", ColumnType.REAL, lambda row: row.upper),
    Column("games", ColumnType.INTEGER, lambda row: row.games),
    Column("forecasts", ColumnType.INTEGER, lambda row: row.forecasts),
)
"""Columns of a metric of a scorecard or leaderboard."""

_FIGURES = ("mae", "persistence_mae", "mae_difference", "crps", "brier")
_MARKET_FIGURES = ("markets", "bets", "staked", "profit", "roi", "total_return", "sharpe", "max_drawdown")
_OPTIONAL = {"roi", "sharpe"}


def figure_rows(scope: ScoreFilter, scorecard: Scorecard, rank: int | None = None) -> Iterator[FigureRow]:
    """Yields a row for each metric of a scorecard; none if it has no games."""
    if not scorecard.games:
        return
    games, forecasts = scorecard.games, scorecard.forecasts
    for name in _FIGURES:
        if scorecard.HasField(name):  # type: ignore[arg-type]
            figure: Figure = getattr(scorecard, name)
            lower = figure.lower if figure.HasField("lower") else None
            upper = figure.upper if figure.HasField("upper") else None
            yield FigureRow(scope, name, figure.value, games, forecasts, lower, upper, rank=rank)
    yield FigureRow(scope, "ece", scorecard.ece, games, forecasts, rank=rank)
    for level in scorecard.coverage:
        counts = (level.games, level.forecasts)
        yield FigureRow(scope, "coverage", level.coverage, *counts, level.lower, level.upper, level.alpha, rank)
        yield FigureRow(scope, "mean_width", level.mean_width, *counts, alpha=level.alpha, rank=rank)
    if scorecard.HasField("market"):
        market = scorecard.market
        for name in _MARKET_FIGURES:
            if name not in _OPTIONAL or market.HasField(name):  # type: ignore[arg-type]
                yield FigureRow(scope, f"market_{name}", float(getattr(market, name)), games, forecasts, rank=rank)


def leaderboard_rows(scope: ScoreFilter, rows: Iterable[LeaderboardRow]) -> Iterator[FigureRow]:
    """Yields the metrics of every model version of a leaderboard, best first."""
    for row in rows:
        of_version = ScoreFilter()
        of_version.CopyFrom(scope)
        of_version.model_version = row.model_version
        yield from figure_rows(of_version, row.scorecard, row.rank)
