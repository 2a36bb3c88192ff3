"""Requests made of plain Python values: the same for both clients."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, Horizon
from dejavu.v1.prediction_service_pb2 import PredictRequest

HALFTIME = HORIZON_HALFTIME
FINAL = HORIZON_FINAL


def predict_request(
    pattern: Sequence[float],
    *,
    game_id: str = "",
    alpha: float | None = None,
    horizon: Horizon.ValueType = HALFTIME,
    home_team: str = "",
    away_team: str = "",
    pregame_margin: float | None = None,
    model_version: str = "",
    explain: bool = False,
    quantile_levels: Sequence[float] = (),
) -> PredictRequest:
    """A request for one forecast; what is wrong with its values, the server says.

    Args:
        pattern: score differentials (home − away, in points) at the end of each minute, from the first on; 1 to 47, for
            the half at most 23.
        game_id: the NBA's id, ten digits; empty for a what-if, which is not recorded.
        alpha: miscoverage rate of the interval, in (0, 1); None for the server's default, 0.05.
        horizon: `HALFTIME` or `FINAL`.
        home_team: NBA code of the home team, or a common alias; with both teams their strength counts.
        away_team: the same of the away team.
        pregame_margin: expected final differential before the game, in points; in place of the teams' ratings.
        model_version: the model to ask; empty for the active one.
        explain: whether the forecast shall say what it rests on.
        quantile_levels: levels in (0, 1), at most 99, of quantiles that the forecast shall have.

    Raises:
        TypeError: if a value has not the type of its field.
    """
    return PredictRequest(
        game_id=game_id,
        pattern=pattern,
        alpha=alpha,
        return_explanation=explain,
        horizon=horizon,
        home_team=home_team,
        away_team=away_team,
        pregame_margin=pregame_margin,
        model_version=model_version,
        quantile_levels=quantile_levels,
    )
