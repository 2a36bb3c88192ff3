"""Steps in the life of a watched game: what follows from each state and each read of the plays.

The poller reads and calls. A read of the plays goes through these steps; those in brackets only if they are needed:

    take_plays → [the model → the recorded forecasts → restore →] can_forecast → [the model → take_due → forecasts
               → take_answers →] finish → [reports → take_report] or [forecasts of moments → take_moments]

The steps make no calls; the poller gives them the time and what else is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.errors import DejavuClientError
from dejavu_client.requests import FINAL
from dejavu_feed.errors import FeedError, MalformedFeed, StaleFeed
from dejavu_feed.nba.live_payloads import GameState, GameStatus, PlayByPlay
from dejavu_feed.nba.plays import Play, completed_minutes, last_change, periods_over
from dejavu_feed.nba.sides import contradiction
from dejavu_feed.pattern import elapsed_seconds, period_seconds
from dejavu_poller import forecasting, reporting
from dejavu_poller.events import Fault, FaultKind, GameChanged, fault_of
from dejavu_poller.horizons import overtimes_by, scores_at_end
from dejavu_poller.moments import due_moments, newest_moments
from dejavu_poller.watched_game import MAY_PASS, DueMoment, PendingOutcome, PollBackoff, Transition

SCOREBOARD: Final = "scoreboard"
"""Source of the faults of the scoreboard."""
HISTORY_ATTEMPTS: Final = 5
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


class TakenPlays(NamedTuple):
    """Plays that can be used.

    Attributes:
        plays: the plays.
        status: status of the game when the read began.
        failures: consecutive failures before this read.
    """

    plays: Sequence[Play]
    status: GameStatus
    failures: int


def take_state(step: Transition, state: GameState, *, busy: bool, in_box_score: bool = False) -> bool:
    """Accept a state of the feed unless it is stale; return whether to read the plays now.

    A cache may serve a scoreboard that is some minutes old. But the NBA also withdraws states: an older state is
    accepted if the feed shows nothing newer for `_ACCEPT_OLDER_AFTER`.

    Args:
        step: the transition.
        state: the state shown.
        busy: whether a read of the plays or a report is in progress.
        in_box_score: whether the box score shows it, not the scoreboard.
    """
    now, before, behind_since = step.known.now, step.game.state, step.game.behind_since
    if in_box_score:
        state = replace(state, is_neutral=before.is_neutral)  # box scores lack this
        step.set(box_backoff=PollBackoff())
    latest, known = _elapsed(state, 0.0), _elapsed(before)
    reverted = state.status < before.status and latest <= known  # a continued final, or a withdrawn tip-off
    behind = latest < known - _LEEWAY or reverted
    if behind:
        since = behind_since or now
        step.set(behind_since=since)
        if (now - since).total_seconds() < _ACCEPT_OLDER_AFTER:
            if behind_since is None:
                old = f"{state.away} @ {state.home} is shown in an older state: {state.text}"
                step.add(Fault(SCOREBOARD, old, kind=FaultKind.STALE))
            return False
    seen = now if latest >= step.game.played - _LEEWAY else step.game.state_time
    step.set(state=state, state_time=seen, behind_since=step.game.behind_since if behind else None)
    return state_changed(step, before, busy=busy)


def state_changed(step: Transition, before: GameState | None = None, *, busy: bool) -> bool:
    """Note that the feed shows a new state; return whether to read the plays now.

    Args:
        step: the transition.
        before: the state before; None for a game that is first seen.
        busy: whether a read of the plays or a report is in progress.
    """
    state = step.game.state
    changed = before is None or before.status is not state.status
    if changed:
        if state.status is GameStatus.LIVE:  # the game tipped off, or was shown as final too early
            _reopen(step)
        step.set(backoff=replace(step.game.backoff, skip=0))  # if a read is in progress, read again in the next turn
        step.add(GameChanged(state))
    elif before is not None and before.score != state.score:  # the score of a final game was corrected after the buzzer
        step.set(read_to_end=False)
    begins = before is not None and not overtimes_by(before.period) and overtimes_by(state.period)
    if begins and state.status is GameStatus.LIVE:
        step.add(GameChanged(state))  # overtime begins
    game = step.game
    # Before the first read of its plays, recorded forecasts may still be loaded.
    if not busy and (not game.history_attempts or game.backoff.failures):
        for watched in game.horizons.values():
            if not watched.forecasts and not watched.result_known and watched.is_over_by_state(state):
                forecasting.close(step, watched)
    return changed and not busy and step.game.needs_plays


def _reopen(step: Transition) -> None:
    """Mark the game as live again, from any state."""
    step.set(read_to_end=False, backoff=PollBackoff(), plays_time=step.game.plays_time or step.known.now)
    for watched in step.game.horizons.values():
        step.set_horizon(replace(watched, result_known=False))


def take_plays(step: Transition, read: PlayByPlay, status: GameStatus) -> TakenPlays | None:
    """Accept plays; None if they are stale, or contradict the sides of the scoreboard.

    Args:
        step: the transition.
        read: the plays.
        status: status of the game when the read began.
    """
    plays, now, game = read.plays, step.known.now, step.game
    if fault := _take_lead(step, plays):
        fail(step, StaleFeed(fault))
        return None
    changed = newest = last_change(plays, now)
    regulation = game.state.status is not GameStatus.FINAL and game.state.period <= 4
    if changed is not None and regulation:
        # A `last_change` after `now` was read before this machine's clock was set back.
        if game.last_change is not None and changed < game.last_change <= now:
            old, newer = f"{changed:%H:%M:%S} UTC", f"{game.last_change:%H:%M:%S} UTC"
            fail(step, StaleFeed(f"plays until {old}, but an earlier read had {newer}"))
            return None
    else:
        changed = game.last_change
    if fault := contradiction(game.state, plays):
        fail(step, MalformedFeed(fault))
        return None
    completed = completed_minutes(plays)
    too_early = all(completed < watched.minutes.start for watched in game.horizons.values())
    step.set(
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
        history_attempts=0 if too_early else game.history_attempts,
    )
    if len(read.faults) > game.refused_plays:
        more = f", and {len(read.faults) - 1} more" if len(read.faults) > 1 else ""
        step.fault(f"left out of the plays: {read.faults[0]}{more}", kind=FaultKind.MALFORMED)
    forecasting.mark_results(step, periods_over(plays))
    return TakenPlays(plays, status, game.backoff.failures)


def _take_lead(step: Transition, plays: Sequence[Play]) -> str:
    """Take note of how far plays are ahead of the scoreboard; return why they contradict it, or "".

    A wrong period or clock would be forecast as a later moment, and true forecasts after that count as late. But an old
    scoreboard is not a reason to stop: plays that go on as a game does are right.
    """
    game, now = step.game, step.known.now
    if game.state.status is not GameStatus.LIVE or not plays:
        return ""
    furthest = max(plays, key=lambda play: play.elapsed)
    played = _elapsed(game.state, 0.0) + max(0.0, (now - game.state_time).total_seconds())
    if furthest.elapsed <= played + _MOST_AHEAD:
        step.set(ahead=())
        return ""
    before, read_time = game.ahead[-1] if game.ahead else (furthest.elapsed, now)
    goes_on = 0.0 <= furthest.elapsed - before <= (now - read_time).total_seconds() + _LEEWAY
    if not goes_on or not game.ahead:
        step.set(ahead=((furthest.elapsed, now),))
    elif furthest.elapsed > before:
        step.set(ahead=(*game.ahead[-_READS_AHEAD:], (furthest.elapsed, now)))
    if len(step.game.ahead) > _READS_AHEAD:
        return ""
    left = f"{furthest.clock:.0f} s left in period {furthest.period}"
    return f"a play has {left}, but the scoreboard shows {game.state.text}"


def can_forecast(step: Transition, plays: Sequence[Play]) -> bool:
    """Return whether any horizon can still be forecast; emit the missed minutes of those that are over."""
    forecasting.close_played(step)
    completed = completed_minutes(plays)
    still_open = [watched for watched in step.game.horizons.values() if not watched.result_known]
    return any(completed >= watched.minutes.start for watched in still_open)


def miss_model(step: Transition, plays: Sequence[Play], error: DejavuClientError) -> None:
    """Note that the server did not tell its model, so that nothing was forecast from plays."""
    step.set(unanswered_minutes=(completed_minutes(plays),))
    forecasting.no_answer(step, error)
    forecasting.close_played(step)


def finish(step: Transition, taken: TakenPlays, stale: str) -> tuple[PendingOutcome | None, tuple[DueMoment, ...]]:
    """Compare forecasts with outcomes; fail if the plays turned out to be stale.

    Args:
        step: the transition.
        taken: the plays.
        stale: why they are too old to forecast from; "" if they are not.

    Returns:
        The outcome to report now, and the moments to forecast now if there is none.
    """
    if stale:
        fail(step, StaleFeed(stale))
        return None, ()
    plays = taken.plays
    scores = scores_at_end(plays, periods_over(plays))
    forecasting.settle(step, plays, scores)
    game = step.game
    final = taken.status is game.state.status is GameStatus.FINAL  # and the final was not withdrawn meanwhile
    if final and (unsettled := game.unsettled(plays)):
        # A read that cannot be used counts as a failure; after too many failures, the plays are no longer read.
        step.set(backoff=PollBackoff(taken.failures))
        fail(step, StaleFeed(unsettled))
        return None, ()
    model, pace = step.known.model, step.known.pace
    at_moments = model is not None and "moment" in model.inputs and pace > 0
    newest = newest_moments(game, plays) if at_moments else ()
    due = due_moments(game, plays, newest, pace) if at_moments else ()
    # Otherwise read again in the next turn: in overtime, moments are forecast, although no minute can be.
    goes_on = at_moments and FINAL in game.horizons and game.state.status is GameStatus.LIVE
    idle = game.played_out and taken.status is game.state.status and not goes_on
    step.set(read_to_end=final, backoff=PollBackoff(skip=_IDLE_TURNS) if idle else PollBackoff())
    reporting.note_outcomes(step, plays, scores)
    # Until it is known how many free throws are to come, the forecast before the foul stands.
    stands = bool(plays) and plays[-1].free_throws is None
    if not stands and not any(each.is_last and game.moments.get(each.horizon) == each for each in newest):
        step.set(at_moment=None)
    return reporting.next_report(step), due


def take_moments(step: Transition, due: Sequence[DueMoment], answers: Sequence[Forecast | DejavuClientError]) -> None:
    """Keep the moments that were answered, and the forecast of the one after which no minute can be forecast."""
    game, pairs = step.game, list(zip(due, answers, strict=True))
    done = {each.horizon: each for each, answer in pairs if not isinstance(answer, MAY_PASS)}
    last = [answer for each, answer in pairs if each.is_last and isinstance(answer, Forecast)]
    step.set(moments={**game.moments, **done}, at_moment=last[-1] if last else game.at_moment)


def fail(step: Transition, error: FeedError) -> None:
    """Note that the plays were not read, or could not be used."""
    backoff = step.game.backoff.failed()
    step.set(failure=f"feed: {error}", backoff=backoff, at_moment=None)
    if step.game.state.status is GameStatus.FINAL and backoff.failures >= _MAX_PLAY_FAILURES:
        step.set(read_to_end=True)
        reporting.give_up(step)
        for watched in step.game.horizons.values():
            forecasting.close(step, watched)
    step.add(fault_of(step.game_id, error, backoff.failures))


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
