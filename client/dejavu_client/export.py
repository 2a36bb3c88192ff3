"""Exports of the track record: CSV, parquet and Arrow tables with the same columns; files are written atomically.

Names and types of columns are stable across releases; columns may be added at the end. Documented in docs/calls.md.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, Generic, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1.forecast_pb2 import (
    HORIZON_FINAL,
    HORIZON_HALFTIME,
    AdaptationMode,
    Forecast,
    Horizon,
    LateReason,
    MarginSource,
)
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, MarketKind, MarketSide
from dejavu.v1.record_pb2 import MarketResult, RecordedMarket, RecordedPrediction
from dejavu.v1.record_service_pb2 import LeaderboardRow, ScoreFilter
from dejavu.v1.scorecard_pb2 import Figure, MarketRecord, Scorecard, TotalScorecard
from dejavu_client.formatting import elapsed_seconds, enum_word, last_differential, recorded_market, warning_label
from dejavu_common.build import install
from dejavu_common.files import atomic_replace
from dejavu_common.shown_text import spreadsheet_cell
from dejavu_feed.live_inputs import LIVE_INPUTS, LiveInput

Value = str | int | float | bool | datetime | list[float] | None
RowT = TypeVar("RowT")

STANDARD_OUTPUT: Final = Path("-")
_ROWS_OF_A_GROUP: Final = 10_000
"""Number of rows per parquet row group, kept in memory while writing."""
_HORIZONS = {HORIZON_HALFTIME: "half", HORIZON_FINAL: "final"}


@dataclass(frozen=True, slots=True)
class ExportColumn(Generic[RowT]):
    """An export column.

    Attributes:
        kind: type of its values, each of which may be None; lists contain floats.
        pick: returns the value of a row; None if it is missing.
    """

    name: str
    kind: type[str | int | float | bool | datetime | list[float]]
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


def write_csv(path: Path, columns: Sequence[ExportColumn[RowT]], rows: Iterable[RowT]) -> int:
    """Write a CSV file (comma-separated, UTF-8, with a header line), or to standard output for `-`.

    Times are ISO 8601 in UTC, flags are `true` and `false`, lists are space-separated numbers, and missing values are
    empty. Texts that a spreadsheet would run as a formula are prefixed with '.

    Returns:
        Number of rows written.

    Raises:
        OSError: if the file cannot be written.
    """
    if path == STANDARD_OUTPUT:
        return write_csv_to(sys.stdout, columns, rows)
    with atomic_replace(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        return write_csv_to(file, columns, rows)


def write_parquet(path: Path, columns: Sequence[ExportColumn[RowT]], rows: Iterable[RowT]) -> int:
    """Write a parquet file. Times are UTC in microseconds; lists are lists of doubles.

    Returns:
        Number of rows written.

    Raises:
        OSError: if the file cannot be written.
        ImportError: if pyarrow is not installed.
    """
    with atomic_replace(path) as new, new.open("wb") as file:
        return write_parquet_to(file, columns, rows)


def write_parquet_to(file: IO[bytes], columns: Sequence[ExportColumn[RowT]], rows: Iterable[RowT]) -> int:
    """Write parquet to an open file, as `write_parquet` does; return the number of rows."""
    schema = arrow_schema(columns)
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(rows):
            writer.write_batch(arrow_batch(columns, schema, group))
            count += len(group)
    return count


def arrow_schema(columns: Sequence[ExportColumn[RowT]]) -> Any:
    """Return the pyarrow.Schema of columns. Times are UTC in microseconds; lists are lists of doubles.

    Raises:
        ImportError: if pyarrow is not installed; the message names the extra to install.
    """
    pa = pyarrow()
    types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", tz="UTC"),
        list: pa.list_(pa.float64()),
    }
    return pa.schema([(column.name, types[column.kind]) for column in columns])


def arrow_batch(columns: Sequence[ExportColumn[RowT]], schema: Any, rows: Sequence[RowT]) -> Any:
    """Return the rows as a pyarrow.RecordBatch with the schema of these columns; missing values are null."""
    pa = pyarrow()
    values = [[column.pick(row) for row in rows] for column in columns]
    return pa.record_batch(
        [pa.array(given, type=field.type) for given, field in zip(values, schema, strict=True)], schema=schema
    )


def write_csv_to(file: IO[str], columns: Sequence[ExportColumn[RowT]], rows: Iterable[RowT]) -> int:
    """Write CSV to an open file, as `write_csv` does; return the number of rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
        writer.writerow([_text(column.pick(row)) for column in columns])
    return count


def _text(value: Value) -> Any:
    match value:
        case str():
            return spreadsheet_cell(value)
        case bool():
            return "true" if value else "false"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        case list():
            return " ".join(f"{number:.15g}" for number in value)
        case _:
            return value  # csv writes None as an empty field and a float with a round-trip representation


def _groups(rows: Iterable[RowT]) -> Iterator[list[RowT]]:
    remaining = iter(rows)
    while group := list(itertools.islice(remaining, _ROWS_OF_A_GROUP)):
        yield group


def horizon_name(horizon: Horizon.ValueType) -> str:
    """Return a horizon's name on the command line and in files: "half" or "final"; "both" if it is unspecified."""
    return _HORIZONS.get(horizon, "both")


def time_of(timestamp: Timestamp) -> datetime:
    """Convert a timestamp to an aware datetime in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


def _field(
    path: str, convert: Callable[[Any], Value] | None = None, *, message: Descriptor = RecordedPrediction.DESCRIPTOR
) -> Callable[[Any], Value]:
    """Return a getter of the field at a dotted path; None if the field, or a message on the path, is not set."""
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


def _live_columns(each: LiveInput) -> Iterator[ExportColumn[RecordedPrediction]]:
    """Yield the columns of a live input, one for each of its parts."""
    for part, name, field in zip(each.parts, each.columns, each.fields, strict=True):
        path = f"forecast.{field}"
        if not part.is_enum:
            yield ExportColumn(name, part.kind, _field(path))
            continue
        of_contract: Any = Forecast.DESCRIPTOR.fields_by_name[each.name]
        if part.name:
            of_contract = of_contract.message_type.fields_by_name[part.name]
        yield ExportColumn(name, str, _field(path, partial(enum_word, of_contract.enum_type)))


def _scope(name: str) -> Callable[[FigureRow], Value]:
    """Return a getter of a field of the scope; it returns None if the field is not set, or empty."""
    pick = _field(name, message=ScoreFilter.DESCRIPTOR)
    return lambda row: None if (value := pick(row.scope)) == "" else value


def _warnings(forecast: Forecast) -> str:
    return ", ".join(warning_label(each.reason) for each in forecast.warnings)


def _market_columns(
    name: str, kind: MarketKind.ValueType, sides: tuple[str, str], settlement: str
) -> Iterator[ExportColumn[RecordedPrediction]]:
    """Yield the columns of a market, its evaluation and the result of the bet.

    Args:
        name: first part of the columns' names.
        kind: kind of the market.
        sides: names of the sides that win above and below the line.
        settlement: path of the message with the result.
    """

    def of_market(path: str, convert: Callable[[Any], Value] | None = None) -> Callable[[RecordedPrediction], Value]:
        pick = _field(path, convert, message=RecordedMarket.DESCRIPTOR)
        return lambda row: None if (market := recorded_market(row, kind)) is None else pick(market)

    def bankroll(row: RecordedPrediction) -> Value:
        recorded = recorded_market(row, kind)
        if recorded is None:
            return None
        return recorded.market.bankroll if recorded.market.HasField("bankroll") else 1.0

    both = tuple(zip(sides, ("above", "below"), strict=True))
    yield ExportColumn(f"{name}_line", float, of_market("market.line"))
    yield ExportColumn(f"{name}_bankroll", float, bankroll)
    for side, field in both:
        yield ExportColumn(f"{name}_{side}_american", int, of_market(f"market.{field}.american"))
    for column, value in (
        ("odds", "decimal_odds"),
        ("win_probability", "win_probability"),
        ("fair_probability", "fair_probability"),
        ("staking_probability", "staking_probability"),
        ("expected_value", "expected_value"),
    ):
        for side, field in both:
            yield ExportColumn(f"{name}_{side}_{column}", float, of_market(f"answer.{field}.{value}"))
    yield ExportColumn(f"{name}_push_probability", float, of_market("answer.push_probability"))
    yield ExportColumn(f"{name}_side", str, of_market("answer.side", partial(enum_word, MarketSide.DESCRIPTOR)))
    yield ExportColumn(f"{name}_stake", float, of_market("answer.stake"))
    result = partial(enum_word, MarketResult.DESCRIPTOR)
    yield ExportColumn(f"{name}_result", str, _field(f"{settlement}.market_result", result))
    yield ExportColumn(f"{name}_profit", float, _field(f"{settlement}.market_profit"))


PREDICTION_COLUMNS: tuple[ExportColumn[RecordedPrediction], ...] = (
    ExportColumn("sequence", int, _field("forecast.sequence")),
    ExportColumn("revision", int, _field("forecast.revision")),
    ExportColumn("superseded", bool, _field("superseded")),
    ExportColumn("game_id", str, _field("forecast.game_id")),
    ExportColumn("home_team", str, lambda row: row.forecast.home_team or None),
    ExportColumn("away_team", str, lambda row: row.forecast.away_team or None),
    ExportColumn("horizon", str, lambda row: horizon_name(row.forecast.horizon)),
    ExportColumn("elapsed_minutes", int, _field("forecast.elapsed_minutes")),
    ExportColumn("elapsed_seconds", float, lambda row: elapsed_seconds(row.forecast)),
    ExportColumn("at_moment", bool, lambda row: row.forecast.HasField("moment")),
    ExportColumn("free_throws", int, _field("forecast.moment.free_throws")),
    ExportColumn("model_version", str, _field("forecast.model_version")),
    ExportColumn("generated_time", datetime, _field("forecast.generated_time", time_of)),
    ExportColumn("alpha", float, _field("forecast.alpha")),
    ExportColumn("point_forecast", float, _field("forecast.point_forecast")),
    ExportColumn("interval_lower", float, _field("forecast.interval_lower")),
    ExportColumn("interval_upper", float, _field("forecast.interval_upper")),
    ExportColumn("home_lead_probability", float, _field("forecast.home_lead_probability")),
    ExportColumn("expected_margin", float, _field("forecast.expected_margin")),
    ExportColumn("margin_source", str, _field("forecast.margin_source", partial(enum_word, MarginSource.DESCRIPTOR))),
    ExportColumn("margin_time", datetime, _field("forecast.margin_time", time_of)),
    ExportColumn("last_differential", float, last_differential),
    ExportColumn("calibration_sequence", int, _field("forecast.calibration_sequence")),
    ExportColumn(
        "adaptation_mode",
        str,
        _field("forecast.adaptation.mode", partial(enum_word, AdaptationMode.DESCRIPTOR)),
    ),
    ExportColumn("adapted_lower", float, _field("forecast.adaptation.adapted_lower")),
    ExportColumn("adapted_upper", float, _field("forecast.adaptation.adapted_upper")),
    ExportColumn("static_lower", float, _field("forecast.adaptation.static_lower")),
    ExportColumn("static_upper", float, _field("forecast.adaptation.static_upper")),
    ExportColumn("outcome", int, _field("outcome.differential")),
    ExportColumn("outcome_observed_time", datetime, _field("outcome.observed_time", time_of)),
    ExportColumn("outcome_sequence", int, _field("outcome.sequence")),
    ExportColumn("outcome_revision", int, _field("outcome.revision")),
    ExportColumn("error", float, _field("settlement.error")),
    ExportColumn("absolute_error", float, _field("settlement.absolute_error")),
    ExportColumn("persistence_absolute_error", float, _field("settlement.persistence_absolute_error")),
    ExportColumn("covered", bool, _field("settlement.covered")),
    ExportColumn("brier", float, _field("settlement.brier")),
    ExportColumn("crps", float, _field("settlement.crps")),
    *_market_columns("market", MARKET_KIND_LEAD, ("home", "away"), "settlement"),
    ExportColumn("late", str, _field("forecast.late", partial(enum_word, LateReason.DESCRIPTOR))),
    ExportColumn("game_date", str, lambda row: row.forecast.game_date or None),
    ExportColumn("ratings_date", str, lambda row: row.forecast.ratings_date or None),
    ExportColumn("finals_since", int, _field("forecast.finals_since")),
    ExportColumn("warnings", str, lambda row: _warnings(row.forecast) or None),
    ExportColumn("pattern", list, lambda row: list(row.pattern)),
    ExportColumn("distribution", list, lambda row: list(row.forecast.distribution) or None),
    *(column for each in LIVE_INPUTS for column in _live_columns(each)),
    ExportColumn("total_forecast", float, _field("forecast.total.point_forecast")),
    ExportColumn("total_lower", float, _field("forecast.total.interval_lower")),
    ExportColumn("total_upper", float, _field("forecast.total.interval_upper")),
    ExportColumn("expected_total", float, _field("forecast.total.expected_total")),
    ExportColumn("total_outcome", int, _field("outcome.total_points")),
    ExportColumn("total_error", float, _field("settlement.total.error")),
    ExportColumn("total_pace_absolute_error", float, _field("settlement.total.pace_absolute_error")),
    ExportColumn("total_covered", bool, _field("settlement.total.covered")),
    ExportColumn("total_crps", float, _field("settlement.total.crps")),
    *_market_columns("total_market", MARKET_KIND_TOTAL, ("over", "under"), "settlement.total"),
    ExportColumn("overtimes", int, _field("outcome.overtimes")),
)
"""Columns of a recorded forecast. Times are in UTC, differentials and errors in points."""


FIGURE_COLUMNS: tuple[ExportColumn[FigureRow], ...] = (
    ExportColumn("rank", int, lambda row: row.rank),
    ExportColumn("model_version", str, _scope("model_version")),
    ExportColumn("game_id", str, _scope("game_id")),
    ExportColumn("team", str, _scope("team")),
    ExportColumn("horizon", str, lambda row: horizon_name(row.scope.horizon)),
    ExportColumn("from_date", str, _scope("from_date")),
    ExportColumn("to_date", str, _scope("to_date")),
    ExportColumn("min_minutes", int, _scope("min_minutes")),
    ExportColumn("max_minutes", int, _scope("max_minutes")),
    ExportColumn("complete_minutes", bool, _scope("complete_minutes")),
    ExportColumn("min_confidence", float, _scope("min_confidence")),
    ExportColumn("min_difference", float, _scope("min_difference")),
    ExportColumn("figure", str, lambda row: row.figure),
    ExportColumn("alpha", float, lambda row: row.alpha),
    ExportColumn("value", float, lambda row: row.value),
    ExportColumn("lower", float, lambda row: row.lower),
    ExportColumn("upper", float, lambda row: row.upper),
    ExportColumn("games", int, lambda row: row.games),
    ExportColumn("forecasts", int, lambda row: row.forecasts),
)
"""Columns of a metric of a scorecard or leaderboard."""

_NO_FIGURES = {"games", "notice", "roi_lower", "roi_upper"}
_MARKET_FIGURES = [
    each for each in MarketRecord.DESCRIPTOR.fields if each.message_type is None and each.name not in _NO_FIGURES
]
"""Fields of the record of a market that have a row of their own each, beside those that are a `Figure`."""

_BEWARE = (
    "withdrawn_games",
    "corrected_games",
    "unsettled_games",
    "unsettled_totals",
    "doubtful_games",
    "revised_late",
)


def figure_rows(scope: ScoreFilter, scorecard: Scorecard, rank: int | None = None) -> Iterator[FigureRow]:
    """Yield a row for each metric of a scorecard, and for each nonzero count of left-out or doubtful games."""
    row = partial(FigureRow, scope, rank=rank)
    of_all = partial(row, games=scorecard.games, forecasts=scorecard.forecasts)
    for field, count in scorecard.left_out.ListFields():
        yield of_all(f"left_out_{field.name}", float(count))
    for name in _BEWARE:
        if count := getattr(scorecard, name):
            yield of_all(name, float(count))
    if not scorecard.games:
        return
    yield from _means(of_all, scorecard)
    yield of_all("ece", scorecard.ece)
    yield from _levels(row, scorecard)
    if scorecard.HasField("total"):
        total = scorecard.total
        yield from _means(partial(row, games=total.games, forecasts=total.forecasts), total, "total_")
        yield from _levels(row, total, "total_")
    if scorecard.HasField("market"):
        market = scorecard.market
        for field in _MARKET_FIGURES:
            name = field.name
            if not field.has_presence or market.HasField(name):  # type: ignore[arg-type]
                ends = _ends(market, "roi_") if name == "roi" else {}
                yield of_all(f"market_{name}", float(getattr(market, name)), **ends)
        yield from _means(of_all, market, "market_")


def _means(
    row: Callable[..., FigureRow], card: Scorecard | TotalScorecard | MarketRecord, prefix: str = ""
) -> Iterator[FigureRow]:
    """Yield the figures that a message has, in the order of the contract."""
    for field, figure in card.ListFields():
        if isinstance(figure, Figure):
            yield row(prefix + field.name, figure.value, **_ends(figure))


def _ends(card: Any, prefix: str = "") -> dict[str, float]:
    """Return the bounds of a confidence interval, as far as there are any."""
    return {name: getattr(card, prefix + name) for name in ("lower", "upper") if card.HasField(prefix + name)}


def _levels(row: Callable[..., FigureRow], card: Scorecard | TotalScorecard, prefix: str = "") -> Iterator[FigureRow]:
    for each in card.coverage:
        of_level = partial(row, games=each.games, forecasts=each.forecasts, alpha=each.alpha)
        yield of_level(f"{prefix}coverage", each.coverage, lower=each.lower, upper=each.upper)
        yield of_level(f"{prefix}mean_width", each.mean_width)


def leaderboard_rows(scope: ScoreFilter, rows: Iterable[LeaderboardRow]) -> Iterator[FigureRow]:
    """Yield the metrics of every model version of a leaderboard, best first."""
    for row in rows:
        of_version = ScoreFilter()
        of_version.CopyFrom(scope)
        of_version.model_version = row.model_version
        yield from figure_rows(of_version, row.scorecard, row.rank)


def pyarrow() -> Any:
    """Return the module pyarrow.

    Raises:
        ImportError: if it is not installed; the message names the extra to install.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing_extra("pyarrow", "arrow") from error
    return pa


@cache
def has_pyarrow() -> bool:
    """Return whether pyarrow is installed, without importing it."""
    return find_spec("pyarrow") is not None


def missing_extra(package: str, extra: str) -> ImportError:
    """Return the error for a package that is not installed, with the extra to install."""
    return ImportError(f"{package} is not installed; install the extra: {install(extra)}")
