"""Chooses what models learn from the forecasts of a settled game.

The choice depends only on the reports up to the first report of the outcome, so no later report changes it, and only on
forecasts of the game's owner: any other caller could otherwise widen the intervals of all requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec, scored_values
from dejavu_ledger.entries.shadows import parse_shadow
from dejavu_ledger.scores.game_rows import Forecast, GameRows, in_time, superseded
from dejavu_models.scorecard.doubtful import contradictory_points
from dejavu_models.types import Forecast as MadeForecast
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import QUARTER_MIDPOINTS, quarter_of, static_score

_ENTRIES: Final = "SELECT sequence, canonical FROM entries WHERE sequence IN :sequences"


def neutral_site(forecasts: Sequence[Forecast], first: int) -> bool | None:
    """Return True if all forecasts of a game's owner in time say that it is at a neutral site; otherwise None.

    Args:
        forecasts: of both horizons.
        first: sequence of the first report of the outcome.
    """
    told = [each.neutral_site for each in forecasts if each.sequence < first and each.owned and in_time(each, first)]
    return True if told and all(told) else None


def observations(
    connection: Connection, settled: GameRows, horizon: Horizon, told: Mapping[int, float]
) -> list[tuple[str, int, float]]:
    """Return model, quarter and score of the forecasts to learn from, in this order.

    There is one for each model version and quarter, of the first forecast, or shadow, in this order of preference: no
    pregame_margin in the request, nearest to the quarter's middle minute, earlier minute, recorded earlier. Nothing is
    learned from a forecast whose margin is not near that of the ratings, nor from a minute whose total points fall, or
    exceed those of the outcome, by more than feeds are corrected: at least one is wrong.

    Args:
        connection: a connection.
        settled: the rows of the horizon.
        horizon: the horizon.
        told: points of both teams with which totals were forecast, by the sequences of these forecasts.

    Raises:
        ValueError: if an entry cannot be read back.
    """
    outcome = settled.outcomes[-1]
    replaced = superseded(settled.forecasts, outcome.first_sequence)
    usable = {
        each.sequence: each
        for each in settled.forecasts
        if each.owned and in_time(each, outcome.first_sequence) and each.sequence not in replaced
        if each.margin_plausible and not each.at_moment
    }
    made: list[tuple[Any, Forecast]] = [(each, each) for each in usable.values()]
    made += [(each, usable[each.forecast_sequence]) for each in settled.shadows if each.forecast_sequence in usable]
    known = scored_values.unpack([each.scored_values for each, _ in made]).has_quantiles
    made = [pair for pair, has in zip(made, known, strict=True) if has]
    wrong = _contradictory([of for each, of in made if each is of], told, outcome.total_points, horizon)
    chosen: dict[tuple[str, int], tuple[Any, ...]] = {}
    for each, of in made:
        if of.minute in wrong:
            continue
        quarter = quarter_of(of.minute)
        far = abs(of.minute - QUARTER_MIDPOINTS[quarter])
        choice = (of.pregame_margin is not None, far, of.minute, each.sequence, of)
        chosen[each.model_version, quarter] = min(chosen.get((each.model_version, quarter), choice), choice)
    entries: dict[int, str] = dict(sql.rows(connection, _ENTRIES, sequences=[each[3] for each in chosen.values()]))
    found: list[tuple[str, int, float]] = []
    for (model, quarter), (*_, sequence, of) in sorted(chosen.items()):
        forecast = _forecast(entries, sequence, of, horizon)
        score = static_score(forecast.distribution, forecast.static_scores, outcome.differential)
        found.append((model, quarter, score))
    return found


def _forecast(entries: Mapping[int, str], sequence: int, of: Forecast, horizon: Horizon) -> MadeForecast:
    """Return the forecast of an entry, which is that of a row, or a shadow beside it."""
    if sequence not in entries:
        raise ValueError(f"no entry with sequence {sequence}")
    if sequence == of.sequence:
        return codec.parse(entries[sequence], explanation=False).forecast
    return parse_shadow(entries[sequence], horizon, of.alpha).forecast


def _contradictory(
    forecasts: Sequence[Forecast], told: Mapping[int, float], total: int | None, horizon: Horizon
) -> set[int]:
    """Return the minutes with total points that contradict those of other forecasts, or of the outcome."""
    points = [(each.minute, told[each.sequence]) for each in forecasts if each.sequence in told]
    if points and total is not None:
        points.append((horizon.minutes, float(total)))
    minutes, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return set(minutes[contradictory_points(values, minutes, np.zeros(len(points), dtype=np.int64))].tolist())
