"""Reads the rows of a game that its scores are computed from."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection

# Rows as they are stored, by the names of their columns (database/schema.sql).
Outcome = namedtuple(
    "Outcome",
    "sequence first_sequence horizon differential home_team away_team observed_us day replay withdrawn void"
    " total_points overtimes",
)
Forecast = namedtuple(
    "Forecast",
    "sequence key revision horizon generated_us day home_team away_team model_version minute elapsed_s at_moment alpha"
    " confidence pregame_margin margin_plausible pregame_total neutral_site missing_players late hindsight"
    " scored_values total_values recorded_by owned",
)
Shadow = namedtuple("Shadow", "sequence forecast_sequence model_version scored_values")
Market = namedtuple("Market", "sequence forecast_sequence hindsight canonical")

_OF_GAME: Final = "WHERE f.game_id = :game_id ORDER BY 1"
_QUERIES: Final = {
    Outcome: f"SELECT {', '.join(Outcome._fields)} FROM outcomes f {_OF_GAME}",  # noqa: S608
    Forecast: f"SELECT {', '.join(Forecast._fields)} FROM forecasts f {_OF_GAME}",  # noqa: S608
    Shadow: f"""
        SELECT s.sequence, s.forecast_sequence, s.model_version, s.scored_values
        FROM forecasts f JOIN shadows s ON s.forecast_sequence = f.sequence {_OF_GAME}""",  # noqa: S608
    Market: f"""
        SELECT m.sequence, m.forecast_sequence, m.hindsight, e.canonical FROM forecasts f
        JOIN markets m ON m.forecast_sequence = f.sequence JOIN entries e ON e.sequence = m.sequence {_OF_GAME}
    """,  # noqa: S608
}


class GameRows(NamedTuple):
    """Rows of a game, or of one horizon of it, in the order of the ledger."""

    outcomes: list[Outcome]
    forecasts: list[Forecast]
    shadows: list[Shadow]
    markets: list[Market]

    @classmethod
    def read(cls, connection: Connection, game_id: str) -> GameRows:
        """Read the rows of a game."""
        found: list[list[Any]] = [
            [kind(*row) for row in sql.rows(connection, query, game_id=game_id)] for kind, query in _QUERIES.items()
        ]
        return cls(*found)

    def settled(self, horizon: str) -> GameRows:
        """Return the rows of a horizon, without those after its newest outcome: they were never settled."""
        outcomes = [each for each in self.outcomes if each.horizon == horizon]
        last = outcomes[-1].sequence if outcomes else 0
        forecasts = [each for each in self.forecasts if each.horizon == horizon and each.sequence < last]
        of = {each.sequence for each in forecasts}
        shadows = [each for each in self.shadows if each.forecast_sequence in of]
        return GameRows(outcomes, forecasts, shadows, [each for each in self.markets if each.forecast_sequence in of])


def in_time(forecast: Forecast, up_to: float = math.inf) -> bool:
    """Return whether a forecast is not late, by the entries up to a sequence."""
    return not forecast.late and (forecast.hindsight is None or forecast.hindsight > up_to)


def superseded(forecasts: Sequence[Forecast], up_to: float = math.inf) -> set[int]:
    """Return the sequences of the forecasts that a later revision in time replaces, by the entries up to a sequence."""
    newest: dict[str, int] = {}
    for each in forecasts:
        if in_time(each, up_to):
            newest[each.key] = max(each.revision, newest.get(each.key, 0))
    return {each.sequence for each in forecasts if each.revision < newest.get(each.key, 0)}
