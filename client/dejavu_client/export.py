"""Exports of the track record: CSV, parquet and Arrow tables with the same columns; files are written atomically.

Names and types of columns are stable across releases; columns may be added at the end. Documented in docs/calls.md.

Also lists of recorded forecasts: read one by one, page after page, or as one table.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, Forecast, Horizon
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, MarketKind
from dejavu.v1.record_pb2 import RecordedMarket, RecordedPrediction
from dejavu.v1.record_service_pb2 import LeaderboardRow, ListPredictionsResponse, ScoreFilter
from dejavu.v1.scorecard_pb2 import Figure, MarketRecord, Scorecard, TotalScorecard
from dejavu_client.formatting import elapsed_seconds, enum_word, last_differential, recorded_market, warning_label
from dejavu_common.build import install
from dejavu_common.files import atomic_replace
from dejavu_common.shown_text import spreadsheet_cell
from dejavu_feed.live_inputs import LIVE_INPUTS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Value = str | int | float | bool | datetime | list[float] | None
RowT = TypeVar("RowT")

STANDARD_OUTPUT: Final = Path("-")
_ROWS_OF_A_BATCH: Final = 10_000
"""Number of rows per batch of Arrow and per row group of parquet; only these are held as messages at a time."""
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
        for batch in _batches(columns, schema, rows):
            writer.write_batch(batch)
            count += batch.num_rows
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


def _batch(columns: Sequence[ExportColumn[RowT]], schema: Any, rows: Sequence[RowT]) -> Any:
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


def _batches(columns: Sequence[ExportColumn[RowT]], schema: Any, rows: Iterable[RowT]) -> Iterator[Any]:
    remaining = iter(rows)
    while batch := list(itertools.islice(remaining, _ROWS_OF_A_BATCH)):
        yield _batch(columns, schema, batch)


def horizon_name(horizon: Horizon.ValueType) -> str:
    """Return a horizon's name on the command line and in files: "half" or "final"; "both" if it is unspecified."""
    return _HORIZONS.get(horizon, "both")


def time_of(timestamp: Timestamp) -> datetime:
    """Convert a timestamp to an aware datetime in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


_KINDS: Final = {
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_DOUBLE: float,
    FieldDescriptor.CPPTYPE_STRING: str,
}
"""Types of a column by those of a field; other numbers are whole."""


def _field(
    name: str,
    path: str,
    message: Descriptor = RecordedPrediction.DESCRIPTOR,
    message_of: Callable[[Any], Any] = lambda row: row,
) -> ExportColumn[Any]:
    """Return the column of a field: its value, the last word of an enum's name, or the time of a timestamp.

    A value is missing if its field, or a message on the path, is not set, or if it is an empty text.

    Args:
        name: name of the column.
        path: dotted path of the field.
        message: description of the message in which the path begins.
        message_of: returns this message of a row; None if it has none.
    """
    fields = list[FieldDescriptor]()
    for step in path.split("."):
        fields.append(message.fields_by_name[step])
        message = fields[-1].message_type or message
    steps, field = [(each.name, each.has_presence) for each in fields], fields[-1]
    kind: Any = _KINDS.get(field.cpp_type, int)
    convert: Callable[[Any], Value] | None = None
    if field.enum_type is not None:
        kind, convert = str, partial(enum_word, field.enum_type)
    elif field.message_type is not None:
        kind, convert = datetime, time_of

    def pick(row: Any) -> Value:
        value = message_of(row)
        for step, optional in steps:
            if value is None or (optional and not value.HasField(step)):
                return None
            value = getattr(value, step)
        if convert is not None:
            return convert(value)
        return None if value == "" else value

    return ExportColumn(name, kind, pick)


def _fields(path: str, *names: str, prefix: str = "") -> Iterator[ExportColumn[RecordedPrediction]]:
    """Yield columns of fields of one message, each with the name of its field after a prefix."""
    for name in names:
        yield _field(prefix + name, f"{path}.{name}")


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

    def of_market(column: str, path: str) -> ExportColumn[RecordedPrediction]:
        return _field(f"{name}_{column}", path, RecordedMarket.DESCRIPTOR, lambda row: recorded_market(row, kind))

    def bankroll(row: RecordedPrediction) -> Value:
        recorded = recorded_market(row, kind)
        if recorded is None:
            return None
        return recorded.market.bankroll if recorded.market.HasField("bankroll") else 1.0

    both = tuple(zip(sides, ("above", "below"), strict=True))
    yield of_market("line", "market.line")
    yield ExportColumn(f"{name}_bankroll", float, bankroll)
    for side, field in both:
        yield of_market(f"{side}_american", f"market.{field}.american")
    yield from (of_market(f"{side}_odds", f"answer.{field}.decimal_odds") for side, field in both)
    for value in ("win_probability", "fair_probability", "staking_probability", "expected_value"):
        yield from (of_market(f"{side}_{value}", f"answer.{field}.{value}") for side, field in both)
    for value in ("push_probability", "side", "stake"):
        yield of_market(value, f"answer.{value}")
    yield _field(f"{name}_result", f"{settlement}.market_result")
    yield _field(f"{name}_profit", f"{settlement}.market_profit")


PREDICTION_COLUMNS: tuple[ExportColumn[RecordedPrediction], ...] = (
    *_fields("forecast", "sequence", "revision"),
    _field("superseded", "superseded"),
    *_fields("forecast", "game_id", "home_team", "away_team"),
    ExportColumn("horizon", str, lambda row: horizon_name(row.forecast.horizon)),
    _field("elapsed_minutes", "forecast.elapsed_minutes"),
    ExportColumn("elapsed_seconds", float, lambda row: elapsed_seconds(row.forecast)),
    ExportColumn("at_moment", bool, lambda row: row.forecast.HasField("moment")),
    _field("free_throws", "forecast.moment.free_throws"),
    *_fields("forecast", "model_version", "generated_time", "alpha", "point_forecast", "interval_lower"),
    *_fields("forecast", "interval_upper", "home_lead_probability", "expected_margin", "margin_source", "margin_time"),
    ExportColumn("last_differential", float, last_differential),
    _field("calibration_sequence", "forecast.calibration_sequence"),
    _field("adaptation_mode", "forecast.adaptation.mode"),
    *_fields("forecast.adaptation", "adapted_lower", "adapted_upper", "static_lower", "static_upper"),
    _field("outcome", "outcome.differential"),
    *_fields("outcome", "observed_time", "sequence", "revision", prefix="outcome_"),
    *_fields("settlement", "error", "absolute_error", "persistence_absolute_error", "covered", "brier", "crps"),
    *_market_columns("market", MARKET_KIND_LEAD, ("home", "away"), "settlement"),
    *_fields("forecast", "late", "game_date", "ratings_date", "finals_since"),
    ExportColumn("warnings", str, lambda row: _warnings(row.forecast) or None),
    ExportColumn("pattern", list, lambda row: list(row.pattern)),
    ExportColumn("distribution", list, lambda row: list(row.forecast.distribution) or None),
    *(
        _field(column, f"forecast.{field}")
        for each in LIVE_INPUTS
        for column, field in zip(each.columns, each.fields, strict=True)
    ),
    _field("total_forecast", "forecast.total.point_forecast"),
    _field("total_lower", "forecast.total.interval_lower"),
    _field("total_upper", "forecast.total.interval_upper"),
    _field("expected_total", "forecast.total.expected_total"),
    _field("total_outcome", "outcome.total_points"),
    *_fields("settlement.total", "error", "pace_absolute_error", "covered", "crps", prefix="total_"),
    *_market_columns("total_market", MARKET_KIND_TOTAL, ("over", "under"), "settlement.total"),
    _field("overtimes", "outcome.overtimes"),
)
"""Columns of a recorded forecast. Times are in UTC, differentials and errors in points."""


def _scope(name: str) -> ExportColumn[FigureRow]:
    return _field(name, name, ScoreFilter.DESCRIPTOR, lambda row: row.scope)


FIGURE_COLUMNS: tuple[ExportColumn[FigureRow], ...] = (
    ExportColumn("rank", int, lambda row: row.rank),
    *map(_scope, ("model_version", "game_id", "team")),
    ExportColumn("horizon", str, lambda row: horizon_name(row.scope.horizon)),
    *map(_scope, ("from_date", "to_date", "min_minutes", "max_minutes", "complete_minutes")),
    *map(_scope, ("min_confidence", "min_difference")),
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


class RecordedPredictions(Iterator[RecordedPrediction]):
    """Recorded forecasts, newest first; each page is fetched when it is reached."""

    def __init__(self, pages: Generator[RecordedPrediction, None, None]) -> None:
        self._pages = pages

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RecordedPrediction:
        return next(self._pages)

    def close(self) -> None:
        """End the iteration."""
        self._pages.close()

    def to_arrow(self) -> pa.Table:
        """Read all remaining forecasts into a table with the columns of docs/calls.md; missing values are null.

        Raises:
            ImportError: if pyarrow is not installed; the message names the extra to install.
        """
        schema = arrow_schema(PREDICTION_COLUMNS)
        return pyarrow().Table.from_batches(_batches(PREDICTION_COLUMNS, schema, self), schema)

    def to_pandas(self) -> pd.DataFrame:
        """Read all remaining forecasts into a data frame with the columns of `to_arrow` and nullable types.

        Raises:
            ImportError: if pandas or pyarrow is not installed; the message names the extra to install.
        """
        _check_pandas()
        return _data_frame(self.to_arrow())


class AsyncRecordedPredictions(AsyncIterator[RecordedPrediction]):
    """Recorded forecasts, newest first; each page is fetched when it is reached.

    Attributes:
        pages: the pages; read either these or the forecasts.
    """

    def __init__(self, pages: AsyncGenerator[ListPredictionsResponse, None]) -> None:
        self.pages = pages
        self._predictions = (each async for page in pages for each in page.predictions)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordedPrediction:
        return await anext(self._predictions)

    async def aclose(self) -> None:
        """End the iteration."""
        await self._predictions.aclose()

    async def to_arrow(self) -> pa.Table:
        """Read all remaining forecasts into a table; see `RecordedPredictions.to_arrow`."""
        schema, batches, rows = arrow_schema(PREDICTION_COLUMNS), list[Any](), list[RecordedPrediction]()
        async for prediction in self:
            rows.append(prediction)
            if len(rows) == _ROWS_OF_A_BATCH:
                batches += _batches(PREDICTION_COLUMNS, schema, rows)
                rows.clear()
        batches += _batches(PREDICTION_COLUMNS, schema, rows)
        return pyarrow().Table.from_batches(batches, schema)

    async def to_pandas(self) -> pd.DataFrame:
        """Read all remaining forecasts into a data frame; see `RecordedPredictions.to_pandas`."""
        _check_pandas()
        return _data_frame(await self.to_arrow())


def _check_pandas() -> None:
    try:
        import pandas as pd  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing_extra("pandas", "pandas") from error


def _data_frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - an extra
    import pyarrow as pa  # noqa: PLC0415

    # By default, whole numbers and flags with missing values would become floats and objects.
    types = {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
    }
    return table.to_pandas(types_mapper=types.get)
