"""Reports of outcomes to the track record: each half and each game once, and again after a correction.

The track record accepts no forecast after its outcome (docs/decisions/0022). So an outcome is reported only when plays
and scoreboard agree on it, and when each forecast that was still possible has been answered or given up. A report
without an answer is retried in later turns until it succeeds; a refused report is not retried.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client.errors import DejavuClientError, UnimplementedError
from dejavu_client.formatting import horizon_label
from dejavu_client.requests import FINAL
from dejavu_feed.nba.live_payloads import MAX_GAMES, GameState, GameStatus
from dejavu_feed.nba.plays import Play, earliest_end, ended_at
from dejavu_feed.pattern import Score, elapsed_seconds
from dejavu_poller.events import FaultKind, OutcomeReported
from dejavu_poller.horizons import HORIZON_RULES, at_horizon
from dejavu_poller.watched_game import MAY_PASS, PendingOutcome, PollBackoff, Transition, WatchedGame

KEPT: Final = timedelta(days=2)
"""Time for which a poller remembers games that the feed does not show: it may run for a season, and each takes a third
of a megabyte."""

MAX_WATCHED: Final = MAX_GAMES
"""Maximum number of games that a poller follows, about twice the games of three full evenings; each costs a thread or
two in every turn."""

_MISTYPED: Final = timedelta(minutes=2)
"""A recorded end of a period counts as wrong if it is at least this much earlier than the preceding plays allow;
correct times vary by less."""


def note_outcomes(step: Transition, plays: Sequence[Play], scores: Mapping[Horizon.ValueType, Score]) -> None:
    """Update the pending outcomes of a game from its plays, and from the scores at the horizons that are over."""
    game = step.game
    if not game.to_report:
        return
    reports = dict(game.reports)
    for horizon in HORIZON_RULES:
        known, score = reports.get(horizon), scores.get(horizon)
        if score is None:
            if known is not None and not known.done:  # the feed showed the end too early
                del reports[horizon]
        elif known is None or (known.game.home_score, known.game.away_score) != (score.home, score.away):
            state = at_horizon(game.state, horizon, score, plays)
            observed = _observed(step, plays, state.period)
            reports[horizon] = PendingOutcome(state, horizon, score.home - score.away, observed)
            step.set(report_backoff=replace(game.report_backoff, skip=0))
    step.set(reports=reports)


def _observed(step: Transition, plays: Sequence[Play], period: int) -> datetime | None:
    """Return when a period ended, by the feed's wall clock; None if the time is missing or not of this evening.

    If the time is _MISTYPED or more before the earliest end that the preceding plays allow, that earliest end is
    returned: with a mistyped time, all forecasts of the game would count as made after its end.
    """
    ended = ended_at(plays, period)
    if ended is None:
        return None
    minutes = int(elapsed_seconds(period, 0.0)) // 60
    earliest = earliest_end((play for play in plays if play.period <= period), step.known.now, minutes)
    observed = ended if earliest is None or earliest - ended < _MISTYPED else earliest
    return observed if step.known.is_recent(observed) else None


def give_up(step: Transition) -> None:
    """Drop outcomes on which plays and scoreboard do not agree, because the plays are no longer read."""
    game = step.game
    reports = {
        horizon: replace(report, done=report.done or not _confirmed(report, game.state))
        for horizon, report in game.reports.items()
    }
    step.set(reports=reports)


def is_pending(game: WatchedGame, *, keeps_record: bool) -> bool:
    """Return whether a game has outcomes still to report to a server that may keep a track record."""
    return keeps_record and any(not report.done for report in game.reports.values())


def is_done(game: WatchedGame, *, keeps_record: bool) -> bool:
    """Return whether nothing is left to do for a game: it is over, read to its end, and reported (`is_pending`)."""
    return game.over and not (game.needs_plays or is_pending(game, keeps_record=keeps_record))


def forgettable(
    games: Mapping[str, WatchedGame], kept: Collection[str], now: datetime, room: int, *, keeps_record: bool
) -> list[str]:
    """Return the games to forget: those not seen for `KEPT`, and more if room is needed.

    A game with a confirmed outcome that the server has not accepted yet stays, if there is room.

    Args:
        games: the games by id.
        kept: ids of games that stay, such as the games on the scoreboard.
        now: current time, aware.
        room: maximum number of games that stay, if the rest can be forgotten; those not seen for longest go first.
        keeps_record: whether the server may keep a track record.
    """
    hidden = sorted((game_id for game_id in games if game_id not in kept), key=lambda each: games[each].state_time)
    too_many = len(games) - room
    return [
        game_id
        for index, game_id in enumerate(hidden)
        if index < too_many
        or (now - games[game_id].state_time > KEPT and not (keeps_record and _awaits_server(games[game_id])))
    ]


def _awaits_server(game: WatchedGame) -> bool:
    return any(not report.done and _confirmed(report, game.state) for report in game.reports.values())


def next_report(step: Transition, *, this_turn: bool = False) -> PendingOutcome | None:
    """Return the next confirmed outcome of a game to report, halftime before final; None if there is none.

    Args:
        step: the transition.
        this_turn: whether to skip turns according to the backoff; if so, call it once per turn.
    """
    game = step.game
    ready = next(iter(_ready(game)), None) if is_pending(game, keeps_record=step.known.keeps_record) else None
    if ready is not None and this_turn and game.report_backoff.skip:
        step.set(report_backoff=game.report_backoff.waited())
        return None
    return ready


def take_report(
    step: Transition, outcome: PendingOutcome, answer: ReportOutcomeResponse | DejavuClientError
) -> PendingOutcome | None:
    """Take the answer to a report, and return the next one unless the server does not answer."""
    label = horizon_label(outcome.horizon)
    if isinstance(answer, UnimplementedError):
        if step.known.keeps_record:  # no report of another game has discovered this before
            step.fault(f"the server keeps no track record, outcomes are not reported: {answer}", kind=FaultKind.REFUSED)
        return None
    if isinstance(answer, MAY_PASS):
        backoff = step.game.report_backoff.failed()
        step.set(failure=f"server: {answer}", report_backoff=backoff)
        reason = f"the outcome of the {label} was not reported, will retry: {answer}"
        step.fault(reason, backoff.failures, kind=FaultKind.SERVER)
        return None
    if step.game.reports.get(outcome.horizon) == outcome:  # the outcome was not corrected meanwhile
        step.set(reports={**step.game.reports, outcome.horizon: replace(outcome, done=True)})
    if isinstance(answer, DejavuClientError):
        step.fault(f"the server refused the outcome of the {label}: {answer}", kind=FaultKind.REFUSED)
    else:
        step.set(report_backoff=PollBackoff())
        settled = answer.settled_forecasts
        step.add(OutcomeReported(outcome.game, outcome.horizon, outcome.differential, answer.outcome, settled))
    return next_report(step)


def _ready(game: WatchedGame) -> list[PendingOutcome]:
    """Return the outcomes of a game that can be reported now."""
    return [
        report
        for horizon, report in sorted(game.reports.items())
        if not report.done
        and _confirmed(report, game.state)
        and not any(minute < HORIZON_RULES[horizon].minutes for minute in game.unanswered_minutes)
    ]


def _confirmed(report: PendingOutcome, shown: GameState) -> bool:
    """Return whether the scoreboard confirms that a horizon is over; for the final, also the score."""
    if report.horizon == FINAL:
        return shown.status is GameStatus.FINAL and shown.score == report.game.score
    period = HORIZON_RULES[report.horizon].period
    return shown.status is GameStatus.FINAL or shown.period > period or (shown.period == period and shown.clock == 0.0)
