"""Builds track record requests from plain Python values, for both clients."""

from __future__ import annotations

from datetime import date
from typing import Any, TypedDict, Unpack

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Horizon
from dejavu.v1.record_service_pb2 import (
    PREDICTION_VIEW_FULL,
    PREDICTION_VIEW_UNSPECIFIED,
    ListPredictionsRequest,
    ScoreFilter,
)


class CommonConditions(TypedDict, total=False):
    """Conditions on recorded forecasts that lists and scores share; a forecast must match all conditions given.

    Attributes:
        game_id: NBA game id, ten digits.
        from_date, to_date: first and last local date of the games, inclusive.
        team: NBA code or alias of the home or away team.
        horizon: `HALFTIME` or `FINAL`; by default lists have both, scores only `HALFTIME`.
        min_confidence: minimum probability of the likelier side, in [0.5, 1].
        include_replays: include games of replays and simulated seasons.
    """

    game_id: str
    from_date: date | None
    to_date: date | None
    team: str
    horizon: Horizon.ValueType
    min_confidence: float | None
    include_replays: bool


class Conditions(CommonConditions, total=False):
    """Filter of the recorded forecasts to list.

    Attributes:
        settled: True for forecasts with a known outcome only, False for the others only.
        model_version: version of the model that made the forecasts.
        elapsed_minutes: minute of play after which the forecasts were made.
        include_superseded: include earlier revisions.
    """

    settled: bool | None
    model_version: str
    elapsed_minutes: int | None
    include_superseded: bool


class Scope(CommonConditions, total=False):
    """Filter of the settled forecasts to score.

    Attributes:
        min_minutes, max_minutes: first and last minute of play after which the forecasts were made, inclusive.
    """

    min_minutes: int | None
    max_minutes: int | None


class ModelScope(Scope, total=False):
    """A scope that can be limited to one model version.

    Attributes:
        model_version: version of the model that made the forecasts; any by default.
    """

    model_version: str


def predictions_request(
    page_size: int = 0, *, explain: bool = False, **conditions: Unpack[Conditions]
) -> ListPredictionsRequest:
    """Builds a request for the first page of recorded forecasts.

    Args:
        page_size: maximum number of forecasts per page, 1 to 500; 0 for the server's default.
        explain: whether to return the explanations.
        conditions: see `Conditions`.
    """
    view = PREDICTION_VIEW_FULL if explain else PREDICTION_VIEW_UNSPECIFIED
    return ListPredictionsRequest(page_size=page_size, view=view, **_with_iso_dates(conditions))


def score_filter(**scope: Unpack[ModelScope]) -> ScoreFilter:
    """Builds the filter of the forecasts to score; see `ModelScope`."""
    return ScoreFilter(**{"horizon": HORIZON_HALFTIME, **_with_iso_dates(scope)})


def _with_iso_dates(conditions: CommonConditions) -> dict[str, Any]:
    """Returns the conditions as the fields of a request."""
    dates = {"from_date": _iso(conditions.get("from_date")), "to_date": _iso(conditions.get("to_date"))}
    return {**conditions, **dates}


def _iso(day: date | None) -> str:
    """Formats a date as YYYY-MM-DD, or None as an empty string; of a datetime only the date is used."""
    return "" if day is None else f"{day:%Y-%m-%d}"
