"""Reports outcomes to the track record: each half and each game once, and again after a correction.

The track record accepts no forecast whose outcome it has (docs/decisions/0022). So an outcome is reported only after
plays and scoreboard agree on it, and after each forecast that was still possible was answered or given up. A report
without an answer is retried in later turns until it succeeds; a refused report is not retried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client.errors import (
    PASSING,
    DejavuClientError,
    InternalError,
    InvalidArgumentError,
    UnimplementedError,
)
from dejavu_client.formatting import horizon_label
from dejavu_client.poller.events import Event, Fault, FaultKind, OutcomeReported
from dejavu_client.poller.horizons import HORIZON_RULES, at_horizon
from dejavu_client.poller.predictor import PredictionClient, team_codes
from dejavu_client.poller.watched_game import PendingOutcome, WatchedGame
from dejavu_client.requests import FINAL
from dejavu_feed.nba.live_payloads import GameState, GameStatus, Play
from dejavu_feed.nba.progress import ended_at

_OLDEST: Final = timedelta(days=2)
"""Maximum plausible age of the end of a horizon, by the feed's wall clock."""


class OutcomeReporter:
    """Reports the outcomes of an evening's games.

    Args:
        client: sends the reports.
        emit: called with each event.
        now: wall clock, timezone-aware.

    Attributes:
        disabled: whether reporting is off because the server keeps no track record.
    """

    def __init__(
        self, client: PredictionClient, emit: Callable[[Event], Awaitable[None]], now: Callable[[], datetime]
    ) -> None:
        self.disabled = False
        self._client = client
        self._emit = emit
        self._now = now

    def note(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Updates the pending outcomes of a game from its plays."""
        if not game.to_report:
            return
        for horizon, rules in HORIZON_RULES.items():
            known, score = game.reports.get(horizon), rules.score_at_end(plays)
            if score is None:
                if known is not None and not known.done:  # the feed showed the end too early
                    del game.reports[horizon]
            elif known is None or known.differential != score.home - score.away:
                state = at_horizon(game.state, horizon, score, plays)
                observed = ended_at(plays, state.period)
                game.reports[horizon] = PendingOutcome(state, score.home - score.away, self._plausible(observed))
                game.report_backoff.skip = 0

    def give_up(self, game: WatchedGame) -> None:
        """Drops outcomes on which plays and scoreboard do not agree: the plays are no longer read."""
        for horizon, report in game.reports.items():
            report.done = report.done or not _confirmed(horizon, report, game.state)

    def pending(self, game: WatchedGame) -> bool:
        """Returns whether a game has outcomes still to report."""
        return not self.disabled and any(not report.done for report in game.reports.values())

    def due(self, game: WatchedGame) -> bool:
        """Returns whether to report in this turn. Call it once per turn."""
        return self.pending(game) and any(self._ready(game)) and game.report_backoff.due()

    async def report(self, game: WatchedGame) -> None:
        """Reports the confirmed outcomes of a game."""
        for horizon in self._ready(game):
            report = game.reports[horizon]
            try:
                answer = await self._send(horizon, report)
            except UnimplementedError as error:
                if not self.disabled:
                    self.disabled = True
                    await self._fault(
                        game, f"the server keeps no track record, outcomes are not reported: {error}", 1, refused=True
                    )
                return
            except (*PASSING, InternalError) as error:
                game.failure = f"server: {error}"
                reason = f"the outcome of the {horizon_label(horizon)} was not reported, will retry: {error}"
                await self._fault(game, reason, game.report_backoff.failed(), refused=False)
                return
            except DejavuClientError as error:
                report.done = True
                await self._fault(
                    game, f"the server refused the outcome of the {horizon_label(horizon)}: {error}", 1, refused=True
                )
            else:
                report.done = True
                game.report_backoff.succeeded()
                settled = answer.settled_forecasts
                await self._emit(OutcomeReported(report.game, horizon, report.differential, answer.outcome, settled))

    def _ready(self, game: WatchedGame) -> list[Horizon.ValueType]:
        """Returns the horizons of a game that can be reported now, halftime before final."""
        if self.disabled:
            return []
        return [
            horizon
            for horizon, report in sorted(game.reports.items())
            if not report.done
            and _confirmed(horizon, report, game.state)
            and not any(minute < HORIZON_RULES[horizon].minutes for minute in game.unanswered_minutes)
        ]

    async def _send(self, horizon: Horizon.ValueType, report: PendingOutcome) -> ReportOutcomeResponse:
        home, away = team_codes(report.game)
        for observed in (report.observed, None):
            try:
                return await self._client.report_outcome(
                    report.game.game_id,
                    report.differential,
                    horizon=horizon,
                    home_team=home,
                    away_team=away,
                    observed_time=observed,
                )
            except InvalidArgumentError as error:
                # The feed's clock or ours may be ahead of the server's: let the server set the time.
                if observed is None or [each.field for each in error.field_violations] != ["observed_time"]:
                    raise
        raise AssertionError("unreachable")

    async def _fault(self, game: WatchedGame, reason: str, failures: int, *, refused: bool) -> None:
        kind = FaultKind.REFUSED if refused else FaultKind.SERVER
        await self._emit(Fault(game.state.game_id, reason, failures, kind=kind))

    def _plausible(self, observed: datetime | None) -> datetime | None:
        now = self._now()
        return observed if observed is not None and now - _OLDEST <= observed <= now else None


def _confirmed(horizon: Horizon.ValueType, report: PendingOutcome, shown: GameState) -> bool:
    """Returns whether the scoreboard confirms that a horizon is over; for the final, also the score."""
    if horizon == FINAL:
        score = (report.game.home_score, report.game.away_score)
        return shown.status is GameStatus.FINAL and score == (shown.home_score, shown.away_score)
    period = HORIZON_RULES[horizon].period
    return shown.status is GameStatus.FINAL or shown.period > period or (shown.period == period and shown.clock == 0.0)
