"""Games of a day, and one game with its history, from the results of ListPredictions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable
from datetime import UTC, date, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, Forecast, Horizon
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu_client import AsyncDejavuClient, DejavuClientError
from dejavu_client.formatting import elapsed_seconds, last_differential
from dejavu_common.clock import game_day, parse_day, utc_now
from dejavu_feed.game_ids import FIRST_DAY, LAST_DAY, is_replay
from dejavu_gateway.api.context import GatewayContext, context_of, turn
from dejavu_gateway.api.shared_answers import SharedAnswers
from dejavu_gateway.http.answers import Content, json_response
from dejavu_gateway.live.games import is_priced
from dejavu_gateway.messages.decode import check_flag, check_game_id, check_names
from dejavu_gateway.messages.encode import JsonObject, dump, to_dict
from dejavu_gateway.messages.errors import RequestRefused, invalid_field

PAGE_SIZE: Final = 500
LIST_TIMEOUT: Final = 10.0
MAX_FORECASTS: Final = 20_000
"""Maximum number of forecasts behind one answer; an evening of 15 games has 1,300, and some 2,000 at moments."""

MAX_OF_GAME: Final = 1000
"""Maximum number of forecasts of one game in an answer, the newest ones; each takes 30 kB of memory with its
explanation. A game with a revision of every minute has 200, and some 150 at moments."""

_HORIZONS: Final = (("half", HORIZON_HALFTIME), ("final", HORIZON_FINAL))


class GameEndpoints:
    """Answers requests for games."""

    def __init__(self) -> None:
        self._shared = SharedAnswers()

    async def day(self, request: Request) -> Response:
        """GET /api/games: the games of a day."""
        context = context_of(request)
        check_names(request.query_params, ("date", "includeReplays"))
        day = _day(request.query_params.get("date"), context.feed.evening)
        default = "1" if context.settings.demo else "0"
        replays = check_flag(request.query_params.get("includeReplays", default), "includeReplays")
        return await self._answer(request, ("day", day, replays), lambda: _day_answer(context, day, replays))

    async def warm(self, context: GatewayContext) -> None:
        """Make the answer for the page's list of games once the server streams, before the first browser needs it.

        The first answer is slow: its connections are new, its code has not run yet, and the parts of the ledger that it
        reads are not in memory.
        """
        await context.feed.begun.wait()
        day = context.feed.evening
        with contextlib.suppress(DejavuClientError):
            await self._shared.get(("day", day, True), lambda: _day_answer(context, day, True), context.feed)

    async def game(self, request: Request) -> Response:
        """GET /api/games/{gameId}: one game with all its forecasts."""
        context = context_of(request)
        check_names(request.query_params, ())
        game_id = check_game_id(str(request.path_params["gameId"]))
        return await self._answer(request, ("game", game_id), lambda: _game_answer(context, game_id))

    async def _answer(
        self, request: Request, key: Hashable, make: Callable[[], Coroutine[Any, Any, Content]]
    ) -> Response:
        """Answer from memory, or make the answer when the request's address has its turn.

        If the server does not answer, that is the last answer: the status says so, and the live stream goes on from it.
        """
        feed = context_of(request).feed
        answer = self._shared.kept(key, feed)
        if answer is None:
            async with turn(request, context_of(request).reads):
                try:
                    answer = await self._shared.get(key, make, feed)
                except DejavuClientError:
                    answer = self._shared.last(key)
                    if answer is None:
                        raise
        return await json_response(request, answer)


async def game_history(client: AsyncDejavuClient, game_id: str, *, explain: bool) -> list[RecordedPrediction]:
    """Return the forecasts of a game's owners, with revisions, in the order of the ledger; if too many, the newest.

    Raises:
        DejavuClientError: if the server does not answer.
    """
    request = ListPredictionsRequest(
        game_id=game_id,
        include_superseded=True,
        include_replays=True,
        owners_only=True,
        return_explanation=explain,
        page_size=PAGE_SIZE,
    )
    found = [each async for each in pages(client, request, MAX_OF_GAME)]
    found.reverse()
    return found


async def pages(
    client: AsyncDejavuClient, request: ListPredictionsRequest, most: int = MAX_FORECASTS
) -> AsyncIterator[RecordedPrediction]:
    """Yield the forecasts of a list, page by page, until at least `most` were yielded.

    Raises:
        DejavuClientError: if the server does not answer.
    """
    count = 0
    while True:
        page = await client.call(request, timeout=LIST_TIMEOUT)
        for each in page.predictions:
            yield each
        count += len(page.predictions)
        if not page.next_page_token or count >= most:
            return
        request.page_token = page.next_page_token


def _day(text: str | None, tonight: date) -> date:
    if text is None:
        return tonight
    try:
        day = parse_day(text)
    except ValueError:
        raise invalid_field("date", f"{text[:60]!r}; expected a day as 2024-05-06") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise invalid_field("date", f"{text}; expected a day from {FIRST_DAY} to {LAST_DAY}")
    return day


async def _day_answer(context: GatewayContext, day: date, replays: bool) -> Content:
    request = ListPredictionsRequest(
        from_date=day.isoformat(),
        to_date=day.isoformat(),
        include_replays=replays,
        owners_only=True,
        page_size=PAGE_SIZE,
    )
    # Taken before anything is read, so that a stream that resumes from here sends again whatever is recorded meanwhile.
    feed = context.feed
    evening, known = feed.evening, feed.log.days()
    token = feed.log.token if day == evening and feed.board.report.streaming else ""
    games: dict[str, list[RecordedPrediction]] = {}
    async for each in pages(context.client, request):  # newest first
        games.setdefault(each.forecast.game_id, []).append(each)
    previous = await _newest_day(context.client, None, day - timedelta(days=1), replays)
    following = await _first_day_after(context.client, day, replays)
    states = {
        state.game_id: state
        for state in feed.games.of_day(day, evening, known)
        if replays or not is_replay(state.game_id)
    }
    for game_id in games:
        if (state := feed.games.of(game_id)) is not None:
            states[game_id] = state
    seen = {game_id: feed.log.explained(game_id) for game_id in games} if day == evening else {}
    return await asyncio.to_thread(_dump_day, day, games, states, seen, (previous, following), token)


def _dump_day(
    day: date,
    games: dict[str, list[RecordedPrediction]],
    states: dict[str, Game],
    seen: dict[str, list[Forecast]],
    neighbours: tuple[date | None, date | None],
    token: str,
) -> Content:
    previous, following = neighbours
    known = sorted(games.keys() | states.keys())
    answer = dump(
        {
            "date": day.isoformat(),
            "games": [
                summary(game_id, games.get(game_id, []), states.get(game_id), seen.get(game_id, ()))
                for game_id in known
            ],
            "dates": {"previous": previous and previous.isoformat(), "next": following and following.isoformat()},
            "resumeToken": token,
        }
    )
    return Content(answer)


def summary(
    game_id: str, forecasts: list[RecordedPrediction], state: Game | None = None, explained: Iterable[Forecast] = ()
) -> JsonObject:
    """Return a game of a day. Its newest forecasts omit their distributions, which are two thirds of their bytes.

    Args:
        game_id: the game.
        forecasts: its forecasts, newest first; none before its sixth minute.
        state: what the feed shows of it; None if that is not known.
        explained: its newest forecasts that came with their explanation.
    """
    recorded = _teams(forecasts)
    state = of_teams(state, recorded)
    teams = recorded or state
    newest = {
        name: latest(each for each in forecasts if each.forecast.horizon == horizon) for name, horizon in _HORIZONS
    }
    priced = next(filter(is_priced, forecasts), None)
    return {
        "gameId": game_id,
        "homeTeam": teams.home_team if teams else "",
        "awayTeam": teams.away_team if teams else "",
        "newest": {name: each and _brief(each) for name, each in newest.items()},
        "priced": priced and _brief(priced),
        "outcomes": [to_dict(each) for each in _outcomes(forecasts)],
        "held": {name: _held(forecasts, horizon) for name, horizon in _HORIZONS},
        "forecasts": len(forecasts),
        "course": _course(forecasts),
        "state": state and to_dict(state),
        "seen": _seen(explained),
    }


def _seen(explained: Iterable[Forecast]) -> JsonObject | None:
    """Return the newest forecast, of the end if both horizons have one, that names similar games.

    Forecasts of moments name none, so the newest one of a game seldom does.
    """
    named = [each for each in explained if each.explanation.similar_games]
    newest = max(named, key=lambda each: (each.elapsed_minutes, each.horizon == HORIZON_FINAL), default=None)
    if newest is None:
        return None
    brief = Forecast()
    brief.CopyFrom(newest)
    brief.ClearField("distribution")
    for each in brief.explanation.similar_games:
        each.ClearField("course")
    return to_dict(brief)


def _teams(forecasts: Iterable[RecordedPrediction]) -> Forecast | None:
    """Return the newest forecast that names both teams, for its teams; None without one."""
    return next((each.forecast for each in forecasts if each.forecast.home_team and each.forecast.away_team), None)


def is_of_teams(forecast: Forecast, teams: Forecast | None) -> bool:
    """Return whether a forecast is of the same home and away team as another, or one of them names none."""
    if teams is None or not forecast.home_team:
        return True
    return (forecast.home_team, forecast.away_team) == (teams.home_team, teams.away_team)


def of_teams(state: Game | None, teams: Forecast | None) -> Game | None:
    """Return a state unless it is of other teams than the recorded forecasts: the record's teams stand."""
    if state is None or teams is None:
        return state
    return state if (state.home_team, state.away_team) == (teams.home_team, teams.away_team) else None


def latest(forecasts: Iterable[RecordedPrediction]) -> RecordedPrediction | None:
    """Return the forecast of the latest time of play, in its newest revision; None without forecasts.

    It need not be the last one recorded: a correction of an earlier minute comes later. Late forecasts do not count, so
    one is returned only if there is no other.
    """

    def place(each: RecordedPrediction) -> tuple[bool, float, int]:
        return not each.forecast.late, time_of_play(each), each.forecast.sequence

    return max(forecasts, key=place, default=None)


def time_of_play(prediction: RecordedPrediction) -> float:
    """Return the minutes since tip-off of a forecast: whole after a complete minute, with a fraction at a moment.

    Four decimals tell hundredths of a second apart.
    """
    return round(elapsed_seconds(prediction.forecast) / 60, 4)


def lead(prediction: RecordedPrediction) -> float:
    """Return the differential from which a forecast was made, in points."""
    return last_differential(prediction) or 0.0


def _brief(prediction: RecordedPrediction) -> JsonObject:
    prediction.forecast.ClearField("distribution")
    return to_dict(prediction)


def _course(forecasts: list[RecordedPrediction]) -> list[JsonObject]:
    """Return the course of a game, by time of play: the lead, and the probability that the home team wins.

    Args:
        forecasts: its forecasts, newest first; late ones do not count, nor those with other teams than the newest.
    """
    points: dict[float, JsonObject] = {}
    teams = _teams(forecasts)
    for each in forecasts:
        forecast = each.forecast
        if forecast.horizon == HORIZON_FINAL and not forecast.late and is_of_teams(forecast, teams):
            minute, chance = time_of_play(each), forecast.home_lead_probability
            points.setdefault(minute, {"elapsedMinutes": minute, "lead": lead(each), "homeLeadProbability": chance})
    return [points[minute] for minute in sorted(points)]


def _held(forecasts: Iterable[RecordedPrediction], horizon: Horizon.ValueType) -> JsonObject | None:
    """Return how many intervals of minutes held, of how many; None without an outcome or without such minutes.

    Forecasts of moments, of which most are made seconds before the end, say little.
    """
    settled = {
        each.forecast.elapsed_minutes: each.settlement.covered
        for each in forecasts
        if each.forecast.horizon == horizon
        and each.HasField("settlement")
        and not (each.superseded or each.forecast.late or each.forecast.HasField("moment"))
    }
    return {"held": sum(settled.values()), "of": len(settled)} if settled else None


def _outcomes(forecasts: Iterable[RecordedPrediction]) -> list[Outcome]:
    """Return the current outcomes, at most one for each horizon."""
    found = {each.outcome.horizon: each.outcome for each in forecasts if each.HasField("outcome")}
    return [found[horizon] for _, horizon in _HORIZONS if horizon in found]


async def _newest_day(client: AsyncDejavuClient, first: date | None, last: date | None, replays: bool) -> date | None:
    """Return the newest day with forecasts from `first` to `last`; None if there is none."""
    request = ListPredictionsRequest(
        from_date=first.isoformat() if first else "",
        to_date=last.isoformat() if last else "",
        include_replays=replays,
        owners_only=True,
        page_size=1,
    )
    async for each in pages(client, request):
        made = game_day(each.forecast.generated_time.ToDatetime(tzinfo=UTC))
        return min(made, date.fromisoformat(each.forecast.game_date or made.isoformat()))
    return None


async def _first_day_after(client: AsyncDejavuClient, day: date, replays: bool) -> date | None:
    """Return the first day with forecasts after a day.

    Lists are newest first, so search in doubling windows, then by halving.
    """
    first, last, today, span = day + timedelta(days=1), day, game_day(utc_now()), 1
    if first > today:
        return None
    while (found := await _newest_day(client, first, min(day + timedelta(days=span), today), replays)) is None:
        last = day + timedelta(days=span)
        if last >= today:
            return None
        span *= 2
    while (found - last).days > 1:  # none up to `last`, some up to `found`
        middle = last + (found - last) // 2
        earlier = await _newest_day(client, first, middle, replays)
        if earlier is None:
            last = middle
        else:
            found = earlier
    return found


async def _game_answer(context: GatewayContext, game_id: str) -> Content:
    history = await game_history(context.client, game_id, explain=True)
    streamed = {each.sequence: each.explanation for each in context.feed.log.explained(game_id)}
    for each in history:
        if each.forecast.sequence in streamed:  # with the courses of similar games, which lists lack
            each.forecast.explanation.CopyFrom(streamed[each.forecast.sequence])
    state = context.feed.games.of(game_id)
    if not history and state is None:
        raise RequestRefused("NOT_RECORDED", f"no forecast of the game {game_id} is recorded")
    state = of_teams(state, _teams(reversed(history)))
    return await asyncio.to_thread(_dump_game, game_id, history, state)


def _dump_game(game_id: str, history: list[RecordedPrediction], state: Game | None) -> Content:
    answer = dump(
        {
            "gameId": game_id,
            "predictions": [to_dict(each) for each in history],
            "outcomes": [to_dict(each) for each in _outcomes(history)],
            "state": state and to_dict(state),
        }
    )
    return Content(answer)
