"""Requests of a poller to the server: its model, forecasts, recorded forecasts, and reports of outcomes.

A poller requests only what the model supports, and reports the limits once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from dejavu.v1.forecast_pb2 import (
    WARNING_REASON_IMPLAUSIBLE_DIFFERENCE,
    WARNING_REASON_RATINGS_OUTDATED,
    Forecast,
    Horizon,
)
from dejavu.v1.market_pb2 import MARKET_KIND_TOTAL, MARKET_RECORDING_RECORDED
from dejavu.v1.model_service_pb2 import Model
from dejavu.v1.prediction_service_pb2 import DESCRIPTOR, Lineups, PredictRequest
from dejavu.v1.record_service_pb2 import PlayerLine, ReportOutcomeResponse
from dejavu_client import errors
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError, NotFoundError
from dejavu_client.formatting import horizon_label
from dejavu_client.logs import get_logger
from dejavu_client.requests import FINAL, Conditions, predict_request
from dejavu_client.transport.servers import HealthStatus
from dejavu_common.tracing import span
from dejavu_feed import box_score
from dejavu_feed.game_ids import is_of_season
from dejavu_feed.live_inputs import from_message
from dejavu_feed.nba.live_payloads import GameState
from dejavu_feed.teams import team_code
from dejavu_poller.events import MinuteForecast
from dejavu_poller.horizons import overtimes_by
from dejavu_poller.inputs import ForecastInputs
from dejavu_poller.watched_game import DueForecast, DueMoment, PendingOutcome

_REFRESH_AFTER: Final = 300.0
"""Seconds until the model is fetched again: the server may switch models in the middle of an evening."""


def minutes_of(model: Model, horizon: Horizon.ValueType) -> range:
    """Return the minutes of play after which a model can forecast a horizon; an empty range if it can't."""
    supported = (each for each in model.horizons if each.horizon == horizon)
    return next((range(each.min_slots, each.max_slots + 1) for each in supported), range(0))


def unsupported(model: Model, requested: Mapping[Horizon.ValueType, range]) -> str:
    """Describe the requested horizons and minutes that a model does not support; "" if it supports all."""
    gaps = []
    for horizon, minutes in requested.items():
        supported = minutes_of(model, horizon)
        if not supported:
            gaps.append(f"the {horizon_label(horizon)} not at all")
        elif not all(minute in supported for minute in minutes):
            first, last = supported[0], supported[-1]
            span = f"minute {first}" if first == last else f"minutes {first} to {last}"
            gaps.append(f"the {horizon_label(horizon)} after {span} alone")
    return f"model {model.version} forecasts {', '.join(gaps)}; other forecasts are not requested" if gaps else ""


def advice(model: Model) -> str:
    """Return the server's warnings that ratings are too old to be used today, with the command that helps; or ""."""
    outdated = [each.text for each in model.warnings if each.reason == WARNING_REASON_RATINGS_OUTDATED]
    return "; ".join([*outdated, "run `dejavu-trainer refresh`"]) if outdated else ""


class CapabilityCache:
    """Caches the active model of the server and asks for it again every few minutes.

    Args:
        list_models: lists the models of the server; raises a `DejavuClientError` on failure.
        now: wall clock, timezone-aware.

    Attributes:
        known: the model last fetched; None before the first fetch.
    """

    def __init__(self, list_models: Callable[[], Awaitable[list[Model]]], now: Callable[[], datetime]) -> None:
        self.known: Model | None = None
        self._list_models = list_models
        self._now = now
        self._fetched: datetime | None = None
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Fetch again on the next use; called when the server refuses a supposedly supported request."""
        self._fetched = None

    async def get(self) -> Model:
        """Return the active model; the last known one if the server does not answer.

        Raises:
            DejavuClientError: if the server has never answered.
        """
        async with self._lock:  # the tasks of all games call this at the same time
            if (
                self.known is None
                or self._fetched is None
                or (self._now() - self._fetched).total_seconds() > _REFRESH_AFTER
            ):
                try:
                    active = next((each for each in await self._list_models() if each.active), None)
                    if active is None:
                        raise NotFoundError("the server has no active model")
                    self.known = active
                except DejavuClientError:
                    if self.known is None:
                        raise
                self._fetched = self._now()
            return self.known


OUTCOME_KNOWN: Final = "OUTCOME_KNOWN"
"""Reason of the error for a forecast whose outcome is already recorded."""
_NO_TOTALS: Final = "UNSUPPORTED_TOTALS"
"""Reason of the error for a price of the total where the model has none."""
ALPHA: Final = 0.05
"""The server's default miscoverage rate, which a poller always uses."""
_SERVICE: Final = DESCRIPTOR.services_by_name["PredictionService"].full_name
_PAGE: Final = 200
"""Page size."""

log = get_logger()


async def check_server(client: AsyncDejavuClient) -> None:
    """Check that the server makes forecasts.

    Raises:
        DejavuClientError: if it does not answer, or makes no forecasts.
    """
    try:
        status = await client.health(_SERVICE)
    except errors.UnimplementedError:  # a proxy before it forwards no health checks
        await client.list_models()
        return
    if status is not HealthStatus.SERVING:
        raise errors.UnavailableError(f"the server makes no forecasts: its health is {status.name}")


async def request_forecasts(
    client: AsyncDejavuClient,
    game: GameState,
    due: Sequence[DueForecast] | Sequence[DueMoment],
    inputs: ForecastInputs,
) -> list[Forecast | errors.DejavuClientError]:
    """Request a game's forecasts, of minutes or at moments, in one call.

    Args:
        client: makes the call.
        game: the game. Its teams are sent only if both are NBA teams: the model has no ratings for others.
        due: the forecasts to request.
        inputs: further inputs; takes what the server says of the prices. Prices are sent with forecasts of the end
            only, and of several moments with the newest: the earlier ones were not forecast when these prices came.

    Returns:
        The forecast for each item of `due`, or the error in its place.
    """
    requests = []
    newest = due[-1]
    last = newest.moment if isinstance(newest, DueMoment) else None
    for each in due:
        own: dict[str, Any]
        if isinstance(each, DueMoment):
            own = {"possession": each.possession, "moment": each.moment}
            priced, with_total = each.moment == last, False
        else:
            own = {**each.live.given(), "explain": True}  # records the steps from minute to minute, for viewers
            priced, with_total = True, each.live.total_points is not None
        if inputs.prices is not None and each.horizon == FINAL and priced:
            own |= inputs.prices.options(with_total=with_total)
        options = _options(game, len(each.pattern), inputs)
        requests.append(predict_request(each.pattern, horizon=each.horizon, **own, **options))
    return await _answers(client, game.game_id, requests, inputs)


def _options(game: GameState, minute: int, inputs: ForecastInputs) -> dict[str, Any]:
    """Return the options of a forecast that do not come from the plays, see `PredictOptions`."""
    home, away = team_codes(game)
    day = game.date
    if day is not None and not is_of_season(game.game_id, day):
        day = None  # the server would refuse the forecast
    seen = inputs.lineups.get(minute) if home else None
    return {
        "game_id": game.game_id,
        "home_team": home,
        "away_team": away,
        "game_date": day,
        "neutral_site": game.is_neutral or None,
        **({} if inputs.line is None else inputs.line.options()),
        "lineups": None if seen is None else Lineups(**seen._asdict()),
    }


async def _answers(
    client: AsyncDejavuClient, game_id: str, requests: Sequence[PredictRequest], inputs: ForecastInputs
) -> list[Forecast | errors.DejavuClientError]:
    """Return the answers; ask again without the prices for each forecast that was refused with them."""
    answers = await _answers_once(client, game_id, requests, inputs)
    priced = [
        index
        for index, (request, answer) in enumerate(zip(requests, answers, strict=True))
        if request.markets
        and isinstance(answer, errors.InvalidArgumentError | errors.FailedPreconditionError)
        and answer.reason != OUTCOME_KNOWN
    ]
    if priced:
        log.warning("poll.refused_with_prices", game_id=game_id, reason=str(answers[priced[0]]))
        refused = [_without_refused(requests[index], answers[index]) for index in priced]
        again = await _answers_once(client, game_id, refused, inputs)
        if any(isinstance(each, Forecast) for each in again):  # so the prices were the reason
            inputs.price_faults.append(f"refused: {answers[priced[0]]}")
        for index, answer in zip(priced, again, strict=True):
            answers[index] = answer
    return answers


def _without_refused(request: PredictRequest, refusal: object) -> PredictRequest:
    """Return a request without the prices that the server refuses: those of the total, if its model has no totals."""
    plain = PredictRequest()
    plain.CopyFrom(request)
    plain.ClearField("markets")
    if getattr(refusal, "reason", "") == _NO_TOTALS:
        plain.markets.extend(each for each in request.markets if each.kind != MARKET_KIND_TOTAL)
    return plain


async def _answers_once(
    client: AsyncDejavuClient, game_id: str, requests: Sequence[PredictRequest], inputs: ForecastInputs
) -> list[Forecast | errors.DejavuClientError]:
    try:
        with span("poll.forecast", game_id=game_id, forecasts=len(requests)):
            results = await client.predict_batch(requests)
    except errors.DejavuClientError as error:
        return [error] * len(requests)
    if len(results) != len(requests):
        mismatch = errors.InternalError(f"{len(requests)} forecasts requested, {len(results)} returned")
        return [mismatch] * len(requests)
    for market in (each for result in results for each in result.markets):
        inputs.recorded |= market.recording == MARKET_RECORDING_RECORDED
        implausible = (each for each in market.warnings if each.reason == WARNING_REASON_IMPLAUSIBLE_DIFFERENCE)
        inputs.price_faults.extend(each.text for each in implausible)
    return [each.forecast if each.HasField("forecast") else errors.from_predict_error(each.error) for each in results]


async def load_recorded(
    client: AsyncDejavuClient, game_id: str, model_version: str
) -> dict[Horizon.ValueType, dict[int, MinuteForecast]]:
    """Return the forecasts of minutes that a poller made or could have made: the newest of each horizon and minute.

    Args:
        client: reads the track record.
        game_id: id of the game.
        model_version: version of the model that made the forecasts.

    Raises:
        DejavuClientError: if the server does not answer.
    """
    recorded: dict[Horizon.ValueType, dict[int, MinuteForecast]] = {}
    conditions = Conditions(game_id=game_id, model_version=model_version, owners_only=True)
    async for each in client.list_predictions(page_size=_PAGE, **conditions):
        forecast, pattern = each.forecast, tuple(map(round, each.pattern))
        # Skip superseded and late forecasts, and those of other clients: they have another alpha, or half points.
        if (
            each.superseded
            or forecast.late
            or forecast.alpha != ALPHA
            or not pattern
            or pattern != tuple(each.pattern)
            or forecast.HasField("moment")
        ):
            continue
        of_horizon = recorded.setdefault(forecast.horizon, {})
        # The newest is first.
        of_horizon.setdefault(len(pattern), MinuteForecast(pattern, forecast, from_message(forecast)[0]))
    return recorded


async def report_outcome(
    client: AsyncDejavuClient, outcome: PendingOutcome, lines: Sequence[box_score.PlayerLine] = ()
) -> ReportOutcomeResponse:
    """Report an outcome, with the box score of its game if it is known.

    Raises:
        DejavuClientError: if the server does not accept it.
    """
    home, away = team_codes(outcome.game)
    game_id, differential, horizon = outcome.game.game_id, outcome.differential, outcome.horizon
    overtimes = overtimes_by(outcome.game.period) if horizon == FINAL else None
    report = partial(
        client.report_outcome,
        game_id,
        differential,
        horizon=horizon,
        home_team=home,
        away_team=away,
        overtimes=overtimes,
    )
    total = outcome.game.home_score + outcome.game.away_score
    players = [
        PlayerLine(
            player_id=line.player,
            home=line.home,
            seconds=line.seconds,
            plus_minus=line.plus_minus,
            started=line.started,
        )
        for line in lines
    ]
    try:
        return await report(observed_time=outcome.observed, total_points=total, players=players)
    except errors.InvalidArgumentError as error:
        # The clock of the feed or of this machine may be ahead of the server's: let the server set the time. The
        # differential must be reported even if the total contradicts a recorded one, or the box score is wrong.
        refused = {each.field.partition("[")[0] for each in error.field_violations}
        observed = None if "observed_time" in refused else outcome.observed
        accepted = None if "total_points" in refused else total
        if not refused or not refused <= {"observed_time", "total_points", "players"}:
            raise
        kept = () if "players" in refused else players
        return await report(observed_time=observed, total_points=accepted, players=kept)


def team_codes(game: GameState) -> tuple[str, str]:
    """Return the codes of the home and the away team; "" for both if either is not an NBA team."""
    try:
        return team_code(game.home), team_code(game.away)
    except ValueError:
        return "", ""
