"""Parses the odds feed of the NBA into lines: the expectation of the listed bookmakers for each of today's games."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any, Final

from dejavu_feed.game_ids import game_id_of, is_game_id
from dejavu_feed.lines import MAX_MARGIN, Line, SidedLine, fair_share, margin_of
from dejavu_feed.nba.live_payloads import MAX_GAMES
from dejavu_feed.nba.typed_fields import required_list
from dejavu_feed.printed_numbers import number, spread
from dejavu_feed.teams import CODES

ODDS_PATH: Final = "odds/odds_todaysGames.json"
MAX_BOOKS: Final = 200
"""Maximum number of bookmakers of a market that are read."""
_EVEN: Final = 0.05
"""Largest distance from even, as a probability, of the two prices of a main spread: about a point and a half.

Books move their main spread by half points until its prices are about even: those of the real odds in the tests are
within 2.1 % of even. A handicap further off is an alternate one, for example one of them at 5.000 and 1.182, which is
31 % off.
"""
_LONGEST_NUMBER: Final = 20
"""Maximum length of a team's number in characters; the NBA's have ten digits."""


def read_odds(document: object) -> dict[str, SidedLine]:
    """Return the odds of each game by its id; games without a usable spread or moneyline are left out.

    The margin is the median over distinct bookmakers of the home team's spread, with its sign reversed; or, without
    spreads, of the margins that their moneylines imply. A bookmaker that the feed lists several times counts once. One
    with an unusable or missing price, or an alternate handicap (its two prices are not about even), does not count.

    Raises:
        MalformedFeed: if the document is not one of odds.
    """
    games = required_list(document, "games", "odds", MAX_GAMES)
    odds: dict[str, SidedLine] = {}
    for game in games:
        if not isinstance(game, Mapping) or not is_game_id(game_id := game_id_of(game.get("gameId", ""))):
            continue
        markets = [each for each in _listed(game.get("markets")) if isinstance(each, Mapping)]
        margins = [*_margins(markets, "spread", _spread)] or [*_margins(markets, "2way", _moneyline)]
        if margins:
            home, away = (_team(game.get(name)) for name in ("homeTeamId", "awayTeamId"))
            odds[game_id] = SidedLine(Line(float(median(margins))), home, away)
    return odds


def _team(number: object) -> str:
    """Return the code of a team by its number; "" without a number, and the number itself if it is unknown."""
    if number is None or number == "":
        return ""
    text = str(number)[:_LONGEST_NUMBER]
    return CODES.get(int(text), text) if text.isdecimal() else text


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
    if abs(fair_share(*_prices(home, away)) - 0.5) > _EVEN:
        raise ValueError(f"an alternate handicap of {one:g}")
    return -one + 0.0


def _moneyline(home: Mapping[str, Any], away: Mapping[str, Any]) -> float:
    return margin_of(*_prices(home, away))


def _prices(home: Mapping[str, Any], away: Mapping[str, Any]) -> tuple[float, float]:
    one, other = (number(str(side["odds"])) for side in (home, away))
    if not (one > 1 and other > 1):
        raise ValueError(f"odds of {one:g} and {other:g}")
    return one, other


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
