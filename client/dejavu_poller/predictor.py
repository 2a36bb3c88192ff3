"""Requests of a poller to the server: forecasts of a game in one call, recorded forecasts, and reports of outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from dejavu.v1.forecast_pb2 import WARNING_REASON_IMPLAUSIBLE_DIFFERENCE, Forecast, Horizon
from dejavu.v1.market_pb2 import MARKET_KIND_TOTAL, MARKET_RECORDING_RECORDED
from dejavu.v1.prediction_service_pb2 import DESCRIPTOR, Lineups, PredictRequest
from dejavu.v1.record_service_pb2 import PlayerLine, ReportOutcomeResponse
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import (
    DejavuClientError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
    UnimplementedError,
    from_predict_error,
)
from dejavu_client.logs import get_logger
from dejavu_client.requests import FINAL, predict_request
from dejavu_client.transport.servers import HealthStatus
from dejavu_common.tracing import span
from dejavu_feed import box_score
from dejavu_feed.game_ids import is_of_season
from dejavu_feed.live_inputs import from_message
from dejavu_feed.nba.live_payloads import GameState
from dejavu_feed.teams import team_code
from dejavu_poller.events import MinuteForecast
from dejavu_poller.horizons import overtimes_by
from dejavu_poller.lines import GameLine
from dejavu_poller.prices import GamePrices
from dejavu_poller.transition import DueForecast
from dejavu_poller.watched_game import DueMoment, PendingOutcome

OUTCOME_KNOWN: Final = "OUTCOME_KNOWN"
"""Reason of the error for a forecast whose outcome is already recorded."""
_NO_TOTALS: Final = "UNSUPPORTED_TOTALS"
"""Reason of the error for a price of the total where the model has none."""
_ALPHA: Final = 0.05
"""The server's default miscoverage rate, which a poller always uses."""
_SERVICE: Final = DESCRIPTOR.services_by_name["PredictionService"].full_name
_PAGE: Final = 200
"""Page size; more than a poller's forecasts of any game, so that one page is enough."""

log = get_logger()


@dataclass(slots=True)
class SentPrices:
    """Prices that are sent with forecasts, and what the server says of them.

    Attributes:
        prices: the prices of a game; None: none are sent.
        faults: why it refused prices, or found them further from the model than is plausible.
        recorded: whether it recorded a market.
    """

    prices: GamePrices | None
    faults: list[str] = field(default_factory=list)
    recorded: bool = False


async def check_server(client: AsyncDejavuClient) -> None:
    """Check that the server makes forecasts.

    Raises:
        DejavuClientError: if it does not answer, or makes no forecasts.
    """
    try:
        status = await client.health(_SERVICE)
    except UnimplementedError:  # a proxy before it forwards no health checks
        await client.list_models()
        return
    if status is not HealthStatus.SERVING:
        raise UnavailableError(f"the server makes no forecasts: its health is {status.name}")


async def request_forecasts(
    client: AsyncDejavuClient,
    game: GameState,
    due: Sequence[DueForecast],
    line: GameLine | None = None,
    lineups: Mapping[int, box_score.Lineups] | None = None,
    sent: SentPrices | None = None,
) -> list[Forecast | DejavuClientError]:
    """Request a game's forecasts in one call.

    Args:
        client: makes the call.
        game: the game. Its teams are sent only if both are NBA teams: the model has no ratings for others.
        due: the forecasts to request.
        line: the line of the game; None if it has none: the server uses the ratings of the teams.
        lineups: players who had been on court, by the minute of a forecast; sent only with the teams.
        sent: current prices of the whole game, to record beside the forecasts of its end, and takes what the server
            says of them; None: none.

    Returns:
        The forecast for each item of `due`, or the error in its place.
    """
    requests = [
        predict_request(
            each.pattern,
            horizon=each.horizon,
            **each.live.given(),
            **_options(game, len(each.pattern), line, lineups),
            **_prices(each.horizon, sent, with_total=each.live.total_points is not None),
            explain=True,  # records the steps from minute to minute, which viewers see
        )
        for each in due
    ]
    return await _answers(client, game.game_id, requests, sent or SentPrices(None))


async def request_moments(
    client: AsyncDejavuClient,
    game: GameState,
    due: Sequence[DueMoment],
    line: GameLine | None = None,
    lineups: Mapping[int, box_score.Lineups] | None = None,
    sent: SentPrices | None = None,
) -> list[Forecast | DejavuClientError]:
    """Request the forecasts of a game at moments in one call; arguments and result are as of `request_forecasts`.

    Prices are sent for the newest moment only: the earlier ones were not forecast when these prices came.
    """
    newest = due[-1].moment
    requests = [
        predict_request(
            each.pattern,
            horizon=each.horizon,
            possession=each.possession,
            moment=each.moment,
            **_options(game, len(each.pattern), line, lineups),
            **_prices(each.horizon, sent if each.moment == newest else None, with_total=False),
        )
        for each in due
    ]
    return await _answers(client, game.game_id, requests, sent or SentPrices(None))


def _prices(horizon: Horizon.ValueType, sent: SentPrices | None, *, with_total: bool) -> dict[str, Any]:
    prices = None if sent is None else sent.prices
    return prices.options(with_total=with_total) if prices is not None and horizon == FINAL else {}


def _options(
    game: GameState, minute: int, line: GameLine | None, lineups: Mapping[int, box_score.Lineups] | None
) -> dict[str, Any]:
    """Return the options of a forecast that do not come from the plays, see `PredictOptions`."""
    home, away = team_codes(game)
    day = game.date
    if day is not None and not is_of_season(game.game_id, day):
        day = None  # the server would refuse the forecast
    return {
        "game_id": game.game_id,
        "home_team": home,
        "away_team": away,
        "game_date": day,
        "neutral_site": game.is_neutral or None,
        **({} if line is None else line.options()),
        "lineups": _lineups(lineups.get(minute) if lineups and home else None),
    }


async def _answers(
    client: AsyncDejavuClient, game_id: str, requests: Sequence[PredictRequest], sent: SentPrices
) -> list[Forecast | DejavuClientError]:
    """Return the answers; ask again without the prices for each forecast that was refused with them."""
    answers = await _answers_once(client, game_id, requests, sent)
    priced = [
        index
        for index, (request, answer) in enumerate(zip(requests, answers, strict=True))
        if request.markets
        and isinstance(answer, InvalidArgumentError | FailedPreconditionError)
        and answer.reason != OUTCOME_KNOWN
    ]
    if priced:
        log.warning("poll.refused_with_prices", game_id=game_id, reason=str(answers[priced[0]]))
        refused = [_without_refused(requests[index], answers[index]) for index in priced]
        again = await _answers_once(client, game_id, refused, sent)
        if any(isinstance(each, Forecast) for each in again):  # so the prices were the reason
            sent.faults.append(f"refused: {answers[priced[0]]}")
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
    client: AsyncDejavuClient, game_id: str, requests: Sequence[PredictRequest], sent: SentPrices
) -> list[Forecast | DejavuClientError]:
    try:
        with span("poll.forecast", game_id=game_id, forecasts=len(requests)):
            results = await client.predict_batch(requests)
    except DejavuClientError as error:
        return [error] * len(requests)
    if len(results) != len(requests):
        mismatch = InternalError(f"{len(requests)} forecasts requested, {len(results)} returned")
        return [mismatch] * len(requests)
    for market in (each for result in results for each in result.markets):
        sent.recorded |= market.recording == MARKET_RECORDING_RECORDED
        implausible = (each for each in market.warnings if each.reason == WARNING_REASON_IMPLAUSIBLE_DIFFERENCE)
        sent.faults.extend(each.text for each in implausible)
    return [each.forecast if each.HasField("forecast") else from_predict_error(each.error) for each in results]


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
    async for each in client.list_predictions(page_size=_PAGE, game_id=game_id, model_version=model_version):
        forecast, pattern = each.forecast, tuple(map(round, each.pattern))
        # Skip superseded and late forecasts, and those of other clients: they have another alpha, or half points.
        if (
            each.superseded
            or forecast.late
            or forecast.alpha != _ALPHA
            or not pattern
            or pattern != tuple(each.pattern)
            or forecast.HasField("moment")
        ):
            continue
        of_horizon = recorded.setdefault(forecast.horizon, {})
        # The newest is first.
        of_horizon.setdefault(len(pattern), MinuteForecast(pattern, forecast, from_message(forecast)[0]))
    return recorded


def _lineups(seen: box_score.Lineups | None) -> Lineups | None:
    return None if seen is None else Lineups(**seen._asdict())


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
    except InvalidArgumentError as error:
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
