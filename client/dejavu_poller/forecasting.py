"""Forecasts of a game: due ones, the effects of answers, and comparison with the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu_client.errors import DejavuClientError
from dejavu_client.formatting import horizon_label
from dejavu_feed.nba.plays import Play, completed_at, completed_minutes, inputs_from_plays, known_minutes
from dejavu_feed.pattern import Score, slots
from dejavu_poller.events import (
    FaultKind,
    ForecastMissed,
    HorizonClosed,
    HorizonResult,
    MinuteForecast,
    Prediction,
)
from dejavu_poller.horizons import HORIZON_RULES, HorizonState, at_horizon
from dejavu_poller.predictor import OUTCOME_KNOWN, minutes_of, team_codes
from dejavu_poller.watched_game import MAY_PASS, DueForecast, Transition

_STALE_AFTER: Final = 120.0
"""Plays that do not show the end of a horizon count as stale this many seconds after its earliest possible end. Until
then, a timeout or a review may have stopped the game clock."""


def mark_results(step: Transition, periods: int) -> None:
    """Mark the horizons that are over after this many periods, and unmark the others.

    The feed may show an end too early.
    """
    for watched in step.game.horizons.values():
        over = watched.is_over_by_state(step.game.state) or periods >= watched.rules.period
        if over != watched.result_known:
            step.set_horizon(replace(watched, result_known=over))


def restore(
    step: Transition,
    recorded: Mapping[Horizon.ValueType, Mapping[int, MinuteForecast]],
    completed: int,
    model: Model,
) -> None:
    """Take over the forecasts made before this poller started."""
    for horizon, watched in step.game.horizons.items():
        newest = None if watched.result_known else watched.minute(completed, minutes_of(model, horizon))
        step.set_horizon(watched.restore(recorded.get(horizon, {}), newest))


def take_due(step: Transition, plays: Sequence[Play], model: Model) -> tuple[tuple[DueForecast, ...], str]:
    """Emit the minutes that passed without a forecast, and find the forecasts to request.

    Returns:
        The forecasts to request now, and why the plays are too old to forecast from; "" if they are not.
    """
    completed, known = completed_minutes(plays), known_minutes(plays)
    timeline = slots((play.score for play in plays), known)
    inputs = inputs_from_plays(plays, known, step.game.state.home)
    home, away = team_codes(step.game.state)
    due: list[DueForecast] = []
    stale = ""
    for watched in step.game.horizons.values():
        minute = None if watched.result_known else watched.minute(completed, minutes_of(model, watched.horizon))
        if minute is None or minute > known:
            continue
        pattern, live = timeline[:minute], inputs[minute - 1]
        changed, wanted = watched.reached(pattern, live)
        step.set_horizon(changed)
        exchanged = watched.forecast_of_sides(away, home) if home else []
        if not wanted and not exchanged:
            continue
        late = watched.late(plays, step.known.now)
        if not late:
            due += [
                DueForecast(watched.horizon, timeline[:each], None, inputs[each - 1], again=True)
                for each in exchanged
                if each < minute
            ]
            due.append(DueForecast(watched.horizon, pattern, completed_at(plays, minute), live))
        elif late > _STALE_AFTER and not stale:
            over = f"the {horizon_label(watched.horizon)} may be over, for {late:.0f} s"
            stale = f"by this machine's clock {over}: its plays are old"
    for watched in step.game.horizons.values():
        if not watched.result_known:
            _mark_missed(step, watched, watched.minute(completed, minutes_of(model, watched.horizon)) or 0)
    return tuple(due), stale


def take_answers(step: Transition, due: Sequence[DueForecast], answers: Sequence[Forecast | DejavuClientError]) -> None:
    """Accept forecasts, and note which ones were refused and which ones still have no answer."""
    missing: DejavuClientError | None = None
    for each, answer in zip(due, answers, strict=True):
        if isinstance(answer, Forecast) and (each.again or not answer.late):
            _accept(step, each, answer)
        elif isinstance(answer, MAY_PASS):  # a server error may be gone on the next attempt
            missing = answer
            step.set(unanswered_minutes=(*step.game.unanswered_minutes, len(each.pattern)))
        elif not isinstance(answer, Forecast) and answer.reason == OUTCOME_KNOWN:
            _close_by_record(step, each)
        else:
            reason = "it comes too late to count" if isinstance(answer, Forecast) else answer
            watched = step.game.horizons[each.horizon]
            if each.again:
                step.set_horizon(watched.without(len(each.pattern)))
            else:
                step.set_horizon(replace(watched, refused=each.pattern, note=f"refused: {reason}"))
            label = horizon_label(each.horizon)
            step.fault(f"the server refused to forecast the {label}: {reason}", kind=FaultKind.REFUSED)
    if missing is None:
        step.set(unanswered=0)
    else:
        no_answer(step, missing)


def no_answer(step: Transition, error: DejavuClientError) -> None:
    """Note that the server gave no answer; the request is retried."""
    game = step.set(failure=f"server: {error}", unanswered=step.game.unanswered + 1)
    step.fault(f"no forecast, will retry: {error}", game.unanswered, kind=FaultKind.SERVER)


def close_played(step: Transition) -> None:
    """Emit the missed minutes (those without a forecast) of the horizons that are over."""
    for watched in step.game.horizons.values():
        if watched.result_known:
            _mark_missed(step, watched, watched.rules.minutes)


def close(step: Transition, watched: HorizonState) -> None:
    """Close a horizon that is over and whose plays are unknown."""
    watched = replace(watched, result_known=True)
    step.set_horizon(watched)
    _mark_missed(step, watched, watched.rules.minutes)


def settle(step: Transition, plays: Sequence[Play], scores: Mapping[Horizon.ValueType, Score]) -> None:
    """Compare the forecasts of the horizons that are over with their outcomes; repeat it after corrected plays."""
    for watched in step.game.horizons.values():
        score = scores.get(watched.horizon)
        if score is None or not watched.result_known or not watched.forecasts:
            continue
        state = at_horizon(step.game.state, watched.horizon, score, plays)
        forecasts = tuple(watched.forecasts[minute] for minute in sorted(watched.forecasts))
        outcome, before = HorizonResult(state, watched.horizon, score.home - score.away, forecasts), watched.outcome
        step.set_horizon(replace(watched, outcome=outcome))
        if before is None or (before.differential, before.forecasts) != (outcome.differential, outcome.forecasts):
            step.add(outcome)


def _accept(step: Transition, due: DueForecast, forecast: Forecast) -> None:
    """Store a forecast and emit it if it is new."""
    game, minute, completed = step.game, len(due.pattern), due.completed
    watched = game.horizons[due.horizon]
    if minute in watched.forecasts or game.first_minute is None or minute <= game.first_minute:
        completed = None  # a revision, or the pattern was complete at the first read: the time is not meaningful
    if completed is not None and not step.known.is_recent(completed):
        completed = None
    step.set_horizon(watched.accept(due.pattern, forecast, due.live))
    latency = None
    if completed is not None:
        latency = (step.known.now - completed).total_seconds()
        step.set(latencies=(*game.latencies, latency))
    # Include the time: a restored or different ledger reuses sequence numbers.
    key = (forecast.sequence, forecast.generated_time.ToNanoseconds())
    if key not in game.emitted:
        if forecast.sequence:
            step.set(emitted=game.emitted | {key})
        step.add(Prediction(game.state, due.pattern, forecast, latency, completed))


def _close_by_record(step: Transition, due: DueForecast) -> None:
    """Close a horizon whose outcome another client has reported: not a fault, and not retried."""
    closed = next(each.minutes for each in HORIZON_RULES.values() if each.minutes > len(due.pattern))
    note = "its outcome is in the server's record"
    watched = replace(step.game.horizons[due.horizon], closed=closed, note=note)
    step.set_horizon(watched)
    step.add(HorizonClosed(step.game.state, due.horizon, closed))
    _mark_missed(step, watched, closed)


def _mark_missed(step: Transition, watched: HorizonState, until: int) -> None:
    """Emit the missed minutes: those before `until` that passed without a forecast."""
    game = step.game
    watched, minutes = watched.passed(
        until, None if step.known.model is None else minutes_of(step.known.model, watched.horizon)
    )
    if minutes:
        if game.unanswered:
            reason = "the server gave no forecast"
        elif game.first_minute is None or minutes[0] < game.first_minute:
            reason = "polled too late"
        else:
            reason = watched.note or "the plays arrived too late"
        if watched.result_known and not watched.forecasts:
            watched = replace(watched, note=watched.note or reason)
        step.add(ForecastMissed(game.state, watched.horizon, minutes, reason))
    step.set_horizon(watched)
