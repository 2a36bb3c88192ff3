"""Parses the odds feed of the NBA into lines: what the bookmakers that it lists expect of each of today's games."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any, Final

from dejavu_feed.game_ids import is_game_id
from dejavu_feed.lines import MAX_MARGIN, Line, margin_of
from dejavu_feed.nba.live_payloads import MAX_GAMES
from dejavu_feed.nba.typed_fields import required_list
from dejavu_feed.printed_numbers import number, spread

ODDS_PATH: Final = "odds/odds_todaysGames.json"
MAX_BOOKS: Final = 200
"""Maximum number of bookmakers of a market that are read."""


def read_odds(document: object) -> dict[str, Line]:
    """Return the line of each game by its id; games without a usable spread or moneyline are left out.

    The margin is the median over distinct bookmakers of the home team's spread, with its sign reversed; or, without
    spreads, of what their moneylines imply. A bookmaker that the feed lists several times counts once. An unusable
    price costs its bookmaker.

    Raises:
        MalformedFeed: if the document is not one of odds.
    """
    games = required_list(document, "games", "odds", MAX_GAMES)
    lines: dict[str, Line] = {}
    for game in games:
        if not isinstance(game, Mapping) or not is_game_id(str(game.get("gameId", ""))):
            continue
        markets = [each for each in _listed(game.get("markets")) if isinstance(each, Mapping)]
        margins = [*_margins(markets, "spread", _spread)] or [*_margins(markets, "2way", _moneyline)]
        if margins:
            lines[str(game["gameId"])] = Line(float(median(margins)))
    return lines


def _margins(
    markets: list[Mapping[str, Any]], name: str, read: Callable[[Mapping[str, Any], Mapping[str, Any]], float]
) -> Iterator[float]:
    """Yield the margin of each bookmaker of the markets with a name."""
    books: dict[str, Mapping[str, Any]] = {}
    for market in markets:
        if market.get("name") == name:
            for book in _listed(market.get("books"))[:MAX_BOOKS]:
                if isinstance(book, Mapping):
                    books.setdefault(str(book.get("id", "")), book)
    for book in books.values():
        sides = {str(each.get("type")): each for each in _listed(book.get("outcomes")) if isinstance(each, Mapping)}
        try:
            margin = read(sides["home"], sides["away"])
        except (KeyError, ValueError):
            continue
        if abs(margin) <= MAX_MARGIN:
            yield margin


def _spread(home: Mapping[str, Any], away: Mapping[str, Any]) -> float:
    one, other = (spread(str(side["spread"])) for side in (home, away))
    if one != -other:
        raise ValueError(f"spreads of {one:g} and {other:g}")
    return -one + 0.0


def _moneyline(home: Mapping[str, Any], away: Mapping[str, Any]) -> float:
    one, other = (number(str(side["odds"])) for side in (home, away))
    if not (one > 1 and other > 1):
        raise ValueError(f"odds of {one:g} and {other:g}")
    return margin_of(one, other)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
