"""Reads an evening's prices from a table: one row per market, numbers as books print them.

home,away,market,line,home_odds,away_odds,over_odds,under_odds,time,last
BOS,LAL,spread,-5.5,-110,-110,,,2026-11-28T01:12:30Z,
BOS,LAL,total,221.5,,,1.91,1.91,2026-11-28T01:12:28Z,
BOS,NYK,moneyline,,,,,,2026-11-28T01:12:29Z,0.63

`last` is an exchange's last trade, in place of odds: the price of home, or over, as a share of its payout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from dejavu_feed.errors import DataError
from dejavu_feed.files.tables import in_column, read_rows
from dejavu_feed.game_ids import game_id_of
from dejavu_feed.printed_numbers import decimal_of, is_american, number, price, spread
from dejavu_feed.teams import team_code

Kind = Literal["spread", "moneyline", "total"]

MOST: Final = 1_000_000
"""Largest size of a file, in bytes."""

MOST_ROWS: Final = 500
"""Maximum number of markets: fifteen games with every alternate line of a few books."""

_KINDS: Final[dict[str, Kind]] = {
    "spread": "spread",
    "handicap": "spread",
    "moneyline": "moneyline",
    "ml": "moneyline",
    "total": "total",
    "totals": "total",
    "over/under": "total",
}
_COLUMNS: Final = (
    *("game_id", "home", "away", "market", "line"),
    *("home_odds", "away_odds", "over_odds", "under_odds", "time", "last"),
)
_BOUNDS: Final[dict[Kind, tuple[float, float]]] = {"spread": (-100.0, 100.0), "total": (0.0, 500.0)}
"""Smallest and largest line, in points. The server accepts no others, so that a price could cost a forecast."""

_DECIMAL: Final = (1.001, 1_000.0)
"""Smallest and largest decimal odds: the server accepts no larger ones, and odds below are an error of their source."""

_LAST: Final = (0.001, 0.999)
"""Smallest and largest price of a trade: as decimal odds, the server accepts no others."""

_LONGEST_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class PricedMarket:
    """A market of a game.

    Attributes:
        row: number of its line in the file, or of its row.
        game_id: the NBA's id; empty if the row names the teams only.
        home, away: codes of the teams; empty if the row names the game only.
        kind: kind of the market.
        line: differential (home − away) or total at which the bet is a push, in points; 0 for a moneyline.
        first, second: prices of home and away, or of over and under: American as whole numbers from 100 or to −100,
            otherwise decimal.
        time: when the prices were offered, or the trade was made, aware; None if the row does not say.
        traded: whether the prices are those of an exchange's last trade.
    """

    row: int
    game_id: str
    home: str
    away: str
    kind: Kind
    line: float
    first: float
    second: float
    time: datetime | None = None
    traded: bool = False

    @property
    def traded_time(self) -> datetime | None:
        """When the trade was made; None for prices on offer."""
        return self.time if self.traded else None


def read_prices(path: Path) -> list[PricedMarket]:
    """Return the markets of a table, in its order; rows without any value are skipped.

    The line of a spread is the handicap of the home team as printed: −5.5 for a favorite.

    Raises:
        DataError: if the file can't be read, has no market or too many, one twice at the same time, or an invalid
            value; the message names line and column.
        FeedNotInstalled: if the file is parquet, and pyarrow is missing.
    """
    markets, rows = list[PricedMarket](), dict[PricedMarket, int]()
    for each in read_rows(path, ("market",), _COLUMNS, most=MOST):
        where, values = each.place(path), each.values
        row = {name: _text(values.get(name)) for name in _COLUMNS}
        if not any(row.values()):
            continue
        if len(markets) == MOST_ROWS:
            raise DataError(f"{where}: more than {MOST_ROWS} markets")
        if None in values:  # such as a decimal comma in a file with commas
            raise DataError(f"{where}: there are more values than columns")
        try:
            market = _market(row, each.line or each.number)
            before = rows.setdefault(replace(market, row=0, first=0.0, second=0.0), market.row)
            if before != market.row:
                raise ValueError(f"line {before} has the same market at the same time; expected one row for each")
            markets.append(market)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None
    if not markets:
        raise DataError(f"{path}: has no market; expected rows below the header")
    return markets


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()[:_LONGEST_SHOWN]


def _market(row: dict[str, str], number_of_row: int) -> PricedMarket:
    kind = _KINDS.get(row["market"].lower())
    if kind is None:
        raise ValueError(f"market: {row['market']!r}; expected spread, moneyline or total")
    home, away = (_team(row[name], name) for name in ("home", "away"))
    game_id = game_id_of(row["game_id"]) if row["game_id"] else ""
    if not game_id and not (home and away):
        raise ValueError("home and away: missing; expected both teams, or game_id")
    if home and home == away:
        raise ValueError(f"away: {row['away']!r} is the home team too")
    line = _number(row["line"], "line", kind)
    first, second = ("over_odds", "under_odds") if kind == "total" else ("home_odds", "away_odds")
    time, last = _time(row["time"]), row["last"]
    if last and (row[first] or row[second] or time is None):
        raise ValueError("last: expected a time, and no odds in the same row")
    prices = _trade(last) if last else (_price(row[first], first), _price(row[second], second))
    return PricedMarket(number_of_row, game_id, home, away, kind, line, *prices, time, bool(last))


def _team(text: str, column: str) -> str:
    try:
        return team_code(text) if text else ""
    except ValueError:
        raise ValueError(f"{column}: {text!r}; expected a team of the NBA, such as BOS or Celtics") from None


def _number(text: str, column: str, kind: Kind) -> float:
    if kind == "moneyline":
        if text and text not in {"0", "-"}:
            raise ValueError(f"{column}: {text!r}; expected nothing for a moneyline")
        return 0.0
    if not text:
        raise ValueError(f"{column}: missing; expected the handicap of the home team, or the total")
    line = 0.0 - in_column(column, spread, text) if kind == "spread" else in_column(column, number, text)
    least, most = _BOUNDS[kind]
    if not (least <= line <= most and (2 * line).is_integer()):
        raise ValueError(f"{column}: {text}; expected a multiple of 0.5 from {least:g} to {most:g}")
    return line


def _price(text: str, column: str) -> float:
    value = in_column(column, price, text)
    if value is None:
        raise ValueError(f"{column}: missing; expected a price such as -110 or 1.91")
    least, most = _DECIMAL
    if not least <= (decimal_of(value) if is_american(value) else value) <= most:
        raise ValueError(f"{column}: {text}; expected decimal odds from {least:g} to {most:,.0f}")
    return value


def _trade(text: str) -> tuple[float, float]:
    """Return the decimal odds of both sides of a trade."""
    value = in_column("last", number, text)
    least, most = _LAST
    if not least <= value <= most:
        raise ValueError(f"last: {text}; expected a share of the payout from {least:g} to {most:g}, such as 0.63")
    # Just below, as a whole number from 100 would be American odds.
    return math.nextafter(1.0 / value, 1.0), math.nextafter(1.0 / (1.0 - value), 1.0)


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise ValueError
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"time: {text!r}; expected a time with its zone, such as 2026-11-28T01:12:30Z") from None
