"""Scores of a game's forecasts as packed arrays, and the arrays of many games together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.teams import TEAMS
from dejavu_models.scorecard.settled import SettledForecasts, SettledMarket

TEAM_CODES: Final = {"": 0, **{team: 1 + index for index, team in enumerate(sorted(TEAMS))}}
"""Integers that represent teams in columns; 0 for none."""

FORECASTS: Final = np.dtype(
    [
        *((name, "<i8") for name in ("sequence", "game", "minute", "made_us", "exclusion")),
        *((name, "<i4") for name in ("day", "home", "away", "model", "caller")),
        *((name, "<f8") for name in ("elapsed_s", "alpha", "confidence", "differential", "lead", "error", "width")),
        *((name, "<f8") for name in ("probability", "crps", "margin", "pregame_total", "neutral_site")),
        *((name, "<f8") for name in ("missing_players", "total_points", "total_error", "total_pace_error")),
        *((name, "<f8") for name in ("total_width", "total_crps")),
        *((name, "?") for name in ("covered", "total_covered", "total_open", "other_teams", "in_league", "in_time")),
        *((name, "?") for name in ("owned", "revised", "replay", "outcome_doubtful", "corrected")),
    ]
)
"""A settled forecast: the columns of `SettledForecasts` except markets and order, and sequence, model, caller and
confidence. Model, caller and teams are indices into the texts of its game."""

_NO_FLOATS: Final = {"on_total": "?", "late": "?", "implausible": "?", "side": "<i8", "sequence": "<i8"}

MARKETS: Final = np.dtype(
    [("forecast", "<i4"), *((name, _NO_FLOATS.get(name, "<f8")) for name in SettledMarket._fields)]
)
"""A settled market, and the index of its forecast in its game."""

SHADOWS: Final = np.dtype(
    [
        ("forecast", "<i4"),
        ("model", "<i4"),
        ("covered", "?"),
        *((name, "<f8") for name in ("crps", "probability", "width")),
    ]
)
"""A settled shadow of a forecast that counts."""


class Texts:
    """Integers that represent texts in columns, numbered in order of appearance."""

    def __init__(self) -> None:
        self._codes: defaultdict[str, int] = defaultdict(lambda: len(self._codes))

    def codes(self, texts: Iterable[str]) -> NDArray[np.int32]:
        """Return the integers of texts; new texts get new ones."""
        return np.array([self._codes[text] for text in texts], dtype=np.int32)

    def find(self, text: str) -> int:
        """Return the integer of a text; −1 if it has none."""
        return self._codes.get(text, -1)

    def all(self) -> list[str]:
        """Return the texts by their integers."""
        return list(self._codes)


Columns = dict[str, NDArray[Any]]
"""Columns of `FORECASTS`, and markets, equal in length."""


class Game(NamedTuple):
    """The packed scores of a game and horizon.

    Attributes:
        texts: models, callers and teams.
        forecasts, markets: packed arrays.
    """

    texts: dict[str, list[str]]
    forecasts: bytes
    markets: bytes


def columns(games: Sequence[Game], models: Texts, callers: Texts) -> Columns:
    """Return the forecasts of games as columns, one game after another.

    Raises:
        ValueError: if the values of a game cannot be read.
    """
    parts = [np.frombuffer(game.forecasts, dtype=FORECASTS) for game in games]
    joined = np.concatenate([np.empty(0, dtype=FORECASTS), *parts])
    found: Columns = {name: np.ascontiguousarray(joined[name]) for name in FORECASTS.names or ()}
    found["markets"] = np.full(len(joined), None, dtype=np.object_)
    end = 0
    for game, part in zip(games, parts, strict=True):
        start, end = end, end + len(part)
        texts = game.texts
        teams = np.array([TEAM_CODES[team] for team in texts["teams"]], dtype=np.int32)
        codes = {"model": models.codes(texts["models"]), "caller": callers.codes(texts["callers"])}
        for name, code in (codes | {"home": teams, "away": teams}).items():
            found[name][start:end] = code[part[name]]
        for forecast, *market in np.frombuffer(game.markets, dtype=MARKETS).tolist():
            of_forecast = found["markets"][start + forecast] or ()
            found["markets"][start + forecast] = (*of_forecast, SettledMarket(*market))
    return found


def settled(columns: Columns) -> SettledForecasts:
    """Return the settled forecasts in columns."""
    given = columns | {"order": columns["game"]}
    return SettledForecasts(**{each.name: given[each.name] for each in fields(SettledForecasts)})
