"""The life of a watched game as one pure function: `step(game, observation, knowledge) → (game, effects)`.

A read of the plays runs through these stages; each arrow with a name is a request and waits for its observation:

    PlaysRead → [ReadModel → ReadHistory →] missed minutes of what is over → [ReadModel →] due forecasts
              → [RequestForecasts →] comparison with outcomes → [ReportOutcome → …] or [RequestForecasts]

The function reads no clock and calls nothing: property tests run whole evenings on a stepped clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu_client.errors import DejavuClientError
from dejavu_client.requests import FINAL
from dejavu_feed.errors import FeedError, MalformedFeed, StaleFeed
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play, completed_minutes, last_change, periods_over
from dejavu_feed.nba.sides import contradiction
from dejavu_feed.pattern import elapsed_seconds, period_seconds
from dejavu_poller import forecasting, reporting
from dejavu_poller.capabilities import ModelCapabilities
from dejavu_poller.events import Fault, FaultKind, GameChanged, fault_of
from dejavu_poller.horizons import overtimes_by, scores_at_end
from dejavu_poller.moments import due_moments, newest_moments
from dejavu_poller.transition import (
    MAY_PASS,
    DueForecast,
    Effect,
    EffectFailed,
    ForecastsAnswered,
    HistoryRead,
    Knowledge,
    ModelRead,
    Observation,
    OutcomeAnswered,
    PlaysRead,
    Read,
    ReadHistory,
    ReportOutcome,
    RequestForecasts,
    StateRead,
    Transition,
    TurnStarted,
)
from dejavu_poller.watched_game import DueMoment, PlaysInProgress, PollBackoff, WatchedGame, watched_horizons

SCOREBOARD: Final = "scoreboard"
"""Source of the faults of the scoreboard."""
_HISTORY_ATTEMPTS: Final = 5
"""Attempts to load a game's recorded forecasts while the server does not answer."""
_IDLE_TURNS: Final = 9
"""Turns skipped between two reads of a game once no horizon is open; only the result is still needed."""
_MAX_PLAY_FAILURES: Final = 12
"""Consecutive failures after which the plays of a final game are no longer read."""
_LEEWAY: Final = 60.0
"""Maximum game seconds by which a state may be behind an earlier one without being stale: scoreboards lag a little, and
clocks are set back."""
_MOST_AHEAD: Final = 120.0
"""Maximum game seconds by which plays may be ahead of the scoreboard: forecasts of a second of play before
that of another one count as late."""
_READS_AHEAD: Final = 3
"""Reads after which plays further ahead are accepted, if each had later plays than the one before, by no more than the
time between them."""
_ACCEPT_OLDER_AFTER: Final = 300.0
"""Seconds after which an older state is accepted as a correction; outdated caches expire sooner."""

Result = tuple[WatchedGame, list[Effect]]


def first_seen(
    state: GameState, knowledge: Knowledge, *, day: str, minutes: Mapping[Horizon.ValueType, range], to_report: bool
) -> Result:
    """Start to watch a game.

    Args:
        state: the game's state, as the scoreboard shows it.
        knowledge: facts known now.
        day: the scoreboard's date.
        minutes: for each horizon, the minutes after which to forecast it.
        to_report: whether to report the outcomes.

    Returns:
        The game, and the effects to perform now.
    """
    # Before its tip-off there are no recorded forecasts to load.
    attempts = 0 if state.status is GameStatus.SCHEDULED else _HISTORY_ATTEMPTS
    horizons = watched_horizons(minutes)
    game = WatchedGame(state, knowledge.now, day=day, horizons=horizons, to_report=to_report, history_attempts=attempts)
    transition = Transition(game, knowledge)
    _state_changed(transition, busy=False)
    return transition.game, transition.effects


def step(game: WatchedGame, observation: Observation, knowledge: Knowledge) -> Result:
    """Return the game after an observation, and the effects in order; at most one of them waits for an answer.

    Args:
        game: the game before.
        observation: answer of the feed or the server, or the beginning of a turn.
        knowledge: facts known at this time.
    """
    transition = Transition(game, knowledge)
    match observation:
        case TurnStarted():
            _start_turn(transition, observation)
        case StateRead():
            _read_state(transition, observation)
        case PlaysRead():
            _read_plays(transition, observation)
        case ForecastsAnswered(due, answers) if moments := [each for each in due if isinstance(each, DueMoment)]:
            _take_moments(transition, moments, answers)
        case ModelRead() | HistoryRead() | ForecastsAnswered():
            _continue(transition, observation)
        case OutcomeAnswered():
            reporting.take_report(transition, observation.outcome, observation.answer)
        case EffectFailed(Read.PLAYS, error):
            _fail(transition, error)
        case EffectFailed(effect, error):
            if effect is Read.BOX_SCORE:
                backoff = game.box_backoff.failed()
                transition.game = replace(game, box_backoff=backoff)
            else:
                backoff = game.report_backoff.failed()
                transition.game = replace(game, report_backoff=backoff)
            transition.add(fault_of(game.state.game_id, error, backoff.failures))
    return transition.game, transition.effects


def _start_turn(transition: Transition, turn: TurnStarted) -> None:
    game = transition.game
    if not turn.busy:
        if game.needs_plays and not game.backoff.skip:
            transition.add(Read.PLAYS)
        else:
            if game.needs_plays:
                transition.game = replace(game, backoff=game.backoff.waited())
            reporting.report_next(transition, this_turn=True)
    game = transition.game
    # The scoreboard may switch to the next day while a long game is still live.
    if turn.hidden and not turn.looking_up and game.needs_box_score(transition.known.now):
        if game.box_backoff.skip:
            transition.game = replace(game, box_backoff=game.box_backoff.waited())
        else:
            transition.add(Read.BOX_SCORE)


def _read_state(transition: Transition, read: StateRead) -> None:
    """Accept a state of the feed unless it is stale.

    A cache may serve a scoreboard that is some minutes old. But the NBA also withdraws states: an older state is
    accepted if the feed shows nothing newer for `_ACCEPT_OLDER_AFTER`.
    """
    game, state, now = transition.game, read.state, transition.known.now
    before, behind_since = game.state, game.behind_since
    if read.in_box_score:
        state = replace(state, is_neutral=before.is_neutral)  # box scores lack this
        game = replace(game, box_backoff=PollBackoff())
    latest, known = _elapsed(state, 0.0), _elapsed(before)
    reverted = state.status < before.status and latest <= known  # a continued final, or a withdrawn tip-off
    behind = latest < known - _LEEWAY or reverted
    if behind:
        since = behind_since or now
        game = replace(game, behind_since=since)
        if (now - since).total_seconds() < _ACCEPT_OLDER_AFTER:
            transition.game = game
            if behind_since is None:
                old = f"{state.away} @ {state.home} is shown in an older state: {state.text}"
                transition.add(Fault(SCOREBOARD, old, kind=FaultKind.STALE))
            return
    seen = now if latest >= game.played - _LEEWAY else game.state_time
    transition.game = replace(game, state=state, state_time=seen, behind_since=game.behind_since if behind else None)
    _state_changed(transition, before, busy=read.busy)


def _state_changed(transition: Transition, before: GameState | None = None, *, busy: bool) -> None:
    state = transition.game.state
    changed = before is None or before.status is not state.status
    if changed:
        if state.status is GameStatus.LIVE:  # the game tipped off, or was shown as final too early
            _reopen(transition)
        backoff = replace(transition.game.backoff, skip=0)  # if a read is in progress, read again in the next turn
        transition.game = replace(transition.game, backoff=backoff)
        transition.add(GameChanged(state))
    elif before is not None and before.score != state.score:  # the score of a final game was corrected after the buzzer
        transition.game = replace(transition.game, read_to_end=False)
    begins = before is not None and not overtimes_by(before.period) and overtimes_by(state.period)
    if begins and state.status is GameStatus.LIVE:
        transition.add(GameChanged(state))  # overtime begins
    game = transition.game
    # Before the first read of its plays, recorded forecasts may still be loaded.
    if not busy and (not game.history_attempts or game.backoff.failures):
        for watched in game.horizons.values():
            if not watched.forecasts and not watched.result_known and watched.is_over_by_state(state):
                forecasting.close(transition, watched)
    if changed and not busy and transition.game.needs_plays:
        transition.add(Read.PLAYS)


def _reopen(transition: Transition) -> None:
    """Mark the game as live again, from any state."""
    game = transition.game
    transition.game = replace(
        game, read_to_end=False, backoff=PollBackoff(), plays_time=game.plays_time or transition.known.now
    )
    for watched in game.horizons.values():
        transition.set_horizon(replace(watched, result_known=False))


def _read_plays(transition: Transition, read: PlaysRead) -> None:
    """Accept plays unless they are stale, or contradict the sides of the scoreboard, and follow them."""
    game, plays, now = transition.game, read.plays, transition.known.now
    if fault := _take_lead(transition, plays):
        _fail(transition, StaleFeed(fault))
        return
    game = transition.game
    changed = newest = last_change(plays, now)
    regulation = game.state.status is not GameStatus.FINAL and game.state.period <= 4
    if changed is not None and regulation:
        # A `last_change` after `now` was read before this machine's clock was set back.
        if game.last_change is not None and changed < game.last_change <= now:
            old, newer = f"{changed:%H:%M:%S} UTC", f"{game.last_change:%H:%M:%S} UTC"
            _fail(transition, StaleFeed(f"plays until {old}, but an earlier read had {newer}"))
            return
    else:
        changed = game.last_change
    if fault := contradiction(game.state, plays):
        _fail(transition, MalformedFeed(fault))
        return
    completed = completed_minutes(plays)
    too_early = all(completed < watched.minutes.start for watched in game.horizons.values())
    attempts = 0 if too_early else game.history_attempts
    waiting = PlaysInProgress(plays, periods_over(plays), read.status, game.backoff.failures, history=attempts > 0)
    transition.game = replace(
        game,
        last_change=changed,
        newest_change=newest,
        plays_time=now,
        last_play=plays[-1] if plays else None,
        reads=game.reads + 1,
        refused_plays=len(read.faults),
        first_minute=completed if game.first_minute is None else game.first_minute,
        failure="",
        backoff=PollBackoff(),
        unanswered_minutes=(),
        history_attempts=attempts,
        in_progress=waiting,
    )
    if len(read.faults) > game.refused_plays:
        more = f", and {len(read.faults) - 1} more" if len(read.faults) > 1 else ""
        transition.fault(f"left out of the plays: {read.faults[0]}{more}", kind=FaultKind.MALFORMED)
    forecasting.mark_results(transition, waiting.periods)
    if waiting.history:
        transition.add(Read.MODEL)
    else:
        _forecast(transition, waiting)


def _take_lead(transition: Transition, plays: Sequence[Play]) -> str:
    """Take note of how far plays are ahead of the scoreboard; return why they contradict it, or "".

    A wrong period or clock would be forecast as a later moment, and true forecasts after that count as late. But an old
    scoreboard is not a reason to stop: plays that go on as a game does are right.
    """
    game, now = transition.game, transition.known.now
    if game.state.status is not GameStatus.LIVE or not plays:
        return ""
    furthest = max(plays, key=lambda play: play.elapsed)
    played = _elapsed(game.state, 0.0) + max(0.0, (now - game.state_time).total_seconds())
    if furthest.elapsed <= played + _MOST_AHEAD:
        transition.game = replace(game, ahead=())
        return ""
    before, read_time = game.ahead[-1] if game.ahead else (furthest.elapsed, now)
    goes_on = 0.0 <= furthest.elapsed - before <= (now - read_time).total_seconds() + _LEEWAY
    if not goes_on or not game.ahead:
        transition.game = replace(game, ahead=((furthest.elapsed, now),))
    elif furthest.elapsed > before:
        transition.game = replace(game, ahead=(*game.ahead[-_READS_AHEAD:], (furthest.elapsed, now)))
    if len(transition.game.ahead) > _READS_AHEAD:
        return ""
    left = f"{furthest.clock:.0f} s left in period {furthest.period}"
    return f"a play has {left}, but the scoreboard shows {game.state.text}"


def _continue(transition: Transition, observation: ModelRead | HistoryRead | ForecastsAnswered) -> None:
    """Continue with plays whose forecasts waited for the server."""
    game, waiting, model = transition.game, transition.game.in_progress, transition.known.model
    match observation:
        case ModelRead(DejavuClientError() as error) if waiting is not None:
            transition.game = replace(game, unanswered_minutes=(completed_minutes(waiting.plays),))
            forecasting.no_answer(transition, error)
            forecasting.close_played(transition)
            _finish(transition, waiting)
        case ModelRead() if waiting is not None and model is not None:
            if waiting.history:
                transition.game = replace(game, history_attempts=game.history_attempts - 1)
                transition.add(ReadHistory(model.version))
            else:
                _request(transition, waiting, model)
        case HistoryRead(recorded) if waiting is not None and model is not None:
            waiting = replace(waiting, history=False)
            # Without an answer, retry in a later turn. Minutes reported as missed until then no longer count as missed
            # once forecasts are loaded.
            attempts = game.history_attempts if recorded is None else 0
            transition.game = replace(game, history_attempts=attempts, in_progress=waiting)
            if recorded is not None:
                forecasting.restore(transition, recorded, completed_minutes(waiting.plays), model)
            _forecast(transition, waiting, model)
        case ForecastsAnswered(due, answers) if waiting is not None:
            minutes = [each for each in due if isinstance(each, DueForecast)]
            forecasting.take_answers(transition, minutes, answers)
            _finish(transition, waiting, waiting.stale)
        case _:
            raise ValueError(f"{type(observation).__name__} without plays, or without a model, that wait for it")


def _forecast(transition: Transition, waiting: PlaysInProgress, model: ModelCapabilities | None = None) -> None:
    """Continue with the forecasts that are due, if any horizon can still be forecast; `model` if it was just read."""
    forecasting.close_played(transition)
    completed = completed_minutes(waiting.plays)
    still_open = [watched for watched in transition.game.horizons.values() if not watched.result_known]
    if all(completed < watched.minutes.start for watched in still_open):
        _finish(transition, waiting)
    elif model is None:
        transition.add(Read.MODEL)
    else:
        _request(transition, waiting, model)


def _request(transition: Transition, waiting: PlaysInProgress, model: ModelCapabilities) -> None:
    due, stale = forecasting.take_due(transition, waiting.plays, model)
    if due:
        transition.game = replace(transition.game, in_progress=replace(waiting, stale=stale))
        transition.add(RequestForecasts(due))
    else:
        _finish(transition, waiting, stale)


def _finish(transition: Transition, waiting: PlaysInProgress, stale: str = "") -> None:
    """Compare forecasts with outcomes, and report the outcomes; fail if the plays turned out to be stale."""
    if stale:
        _fail(transition, StaleFeed(stale))
        return
    scores = scores_at_end(waiting.plays, waiting.periods)
    forecasting.settle(transition, waiting.plays, scores)
    game = transition.game
    final = waiting.status is game.state.status is GameStatus.FINAL  # and the final was not withdrawn meanwhile
    if final and (unsettled := game.unsettled(waiting.plays)):
        # A read that cannot be used counts as a failure; after too many failures, the plays are no longer read.
        transition.game = replace(game, backoff=PollBackoff(waiting.failures))
        _fail(transition, StaleFeed(unsettled))
        return
    model, pace = transition.known.model, transition.known.pace
    at_moments = model is not None and model.moments and pace > 0
    newest = newest_moments(game, waiting.plays) if at_moments else ()
    due = due_moments(game, waiting.plays, newest, pace) if at_moments else ()
    # Otherwise read again in the next turn: in overtime, moments are forecast, although no minute can be.
    goes_on = at_moments and FINAL in game.horizons and game.state.status is GameStatus.LIVE
    idle = game.played_out and waiting.status is game.state.status and not goes_on
    backoff = PollBackoff(skip=_IDLE_TURNS) if idle else PollBackoff()
    transition.game = replace(game, read_to_end=final, backoff=backoff, in_progress=None)
    reporting.note_outcomes(transition, waiting.plays, scores)
    reporting.report_next(transition)
    # Until it is known how many free throws are to come, the forecast before the foul stands.
    stands = bool(waiting.plays) and waiting.plays[-1].free_throws is None
    if not stands and not any(each.is_last and game.moments.get(each.horizon) == each for each in newest):
        transition.game = replace(transition.game, at_moment=None)
    if due and not any(isinstance(effect, ReportOutcome) for effect in transition.effects):
        transition.add(RequestForecasts(due))


def _take_moments(
    transition: Transition, due: Sequence[DueMoment], answers: Sequence[Forecast | DejavuClientError]
) -> None:
    """Keep the moments that were answered, and the forecast of the one after which no minute can be forecast."""
    game = transition.game
    pairs = list(zip(due, answers, strict=True))
    done = {each.horizon: each for each, answer in pairs if not isinstance(answer, MAY_PASS)}
    last = [answer for each, answer in pairs if each.is_last and isinstance(answer, Forecast)]
    transition.game = replace(game, moments={**game.moments, **done}, at_moment=last[-1] if last else game.at_moment)


def _fail(transition: Transition, error: FeedError) -> None:
    """Note that the plays were not read, or could not be used."""
    game = transition.game
    backoff = game.backoff.failed()
    transition.game = replace(game, failure=f"feed: {error}", backoff=backoff, in_progress=None, at_moment=None)
    if game.state.status is GameStatus.FINAL and backoff.failures >= _MAX_PLAY_FAILURES:
        transition.game = replace(transition.game, read_to_end=True)
        reporting.give_up(transition)
        for watched in transition.game.horizons.values():
            forecasting.close(transition, watched)
    transition.add(fault_of(game.state.game_id, error, backoff.failures))


def _elapsed(state: GameState, clock: float | None = None) -> float:
    """Return the elapsed game seconds of a state.

    If the clock is missing, the time left is 0 in a final game, else `clock`, else a full period. A final game without
    a period has been played to its end.
    """
    if state.period < 1:
        return math.inf if state.status is GameStatus.FINAL else 0.0
    length, left = period_seconds(state.period), state.clock
    if left is None:
        left = 0.0 if state.status is GameStatus.FINAL else clock
    return elapsed_seconds(state.period, length if left is None else min(left, length))
