"""What a notifier knows of a game: its state, its forecasts and, once it is over, what the record says of it."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, LATE_REASON_UNSPECIFIED, Forecast
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu_client.formatting import elapsed_seconds

MAX_READ: Final = 1000
"""Maximum number of recorded forecasts that are read of a game."""

_HALF: Final = 24
"""Minute of play of the forecast that a final is compared with."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of the intervals of a game's final.

    Attributes:
        forecasts: number of minutes with a forecast that counts.
        covered: number of them whose interval held.
        reference: the forecast at half-time or, without one, the last before it; None without.
        reference_covered: whether its interval held.
    """

    forecasts: int
    covered: int
    reference: Forecast | None
    reference_covered: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A rule that holds for a game.

    Attributes:
        title, text: title and text of its notification.
        forecast: the forecast for which it holds; None if a correction of none would change it.
        before: the win probability of the home team from which it swung.
    """

    title: str
    text: str
    forecast: Forecast | None = None
    before: float = 0.0


class Told(NamedTuple):
    """A rule that was told, and the game then: its teams and score (home, away)."""

    found: Found
    teams: tuple[str, str]
    score: tuple[int, int]


@dataclass(slots=True)
class GameView:
    """A game.

    Attributes:
        game_id: its id.
        published: its newest published state; None if there is none.
        final: newest forecast of the end; None if there is none.
        half: newest forecast of the half; None if there is none.
        course: win probabilities by seconds of play.
        outcome: outcome at the end; None if none is reported.
        judged: set with the outcome, if there are forecasts.
        was_read: whether the record was read.
        told: the rules that were told, by name.
        corrected: names of those of them whose correction was told.
    """

    game_id: str
    published: Game | None = None
    final: Forecast | None = None
    half: Forecast | None = None
    course: dict[float, float] = field(default_factory=dict)
    outcome: Outcome | None = None
    judged: Judged | None = None
    was_read: bool = False
    told: dict[str, Told] = field(default_factory=dict)
    corrected: set[str] = field(default_factory=set)

    @property
    def teams(self) -> tuple[str, str]:
        """Home and away team; empty if not known."""
        for source in (self.final, self.half, self.published, self.outcome):
            if source is not None and source.home_team:
                return _teams(source)
        return "", ""

    @property
    def state(self) -> Game | None:
        """The newest published state; None if there is none, or if its teams are not those of the forecasts."""
        state = self.published
        return state if state is not None and _teams(state) == self.teams else None

    @property
    def score(self) -> tuple[int, int]:
        """The newest published score (home, away); 0 and 0 if there is none."""
        return (0, 0) if self.state is None else (self.state.home_score, self.state.away_score)

    def add(self, forecast: Forecast) -> None:
        """Note a recorded forecast. One that was late does not count, and one before the newest is only a chance."""
        if forecast.late != LATE_REASON_UNSPECIFIED:
            return
        standing = self.final or self.half
        if standing is not None and _teams(forecast) != _teams(standing):
            if forecast.sequence < standing.sequence:
                return
            # The feed corrected the teams: probabilities of before are not those of the same side.
            self.final = self.half = None
            self.course.clear()
        if forecast.horizon == HORIZON_HALFTIME:
            if self.half is None or forecast.sequence > self.half.sequence:
                self.half = forecast
            return
        self.course[elapsed_seconds(forecast)] = forecast.home_lead_probability
        if self.final is None or forecast.sequence > self.final.sequence:
            self.final = forecast

    async def read(self, record: AsyncIterable[RecordedPrediction]) -> None:
        """Note what the record has of the end of the game by its owners, newest first."""
        recorded = list[RecordedPrediction]()
        async for each in record:
            if each.of_others:
                continue
            recorded.append(each)
            if len(recorded) == MAX_READ:
                break
        for each in recorded:
            self.add(each.forecast)
        if recorded and recorded[0].HasField("outcome"):
            self.outcome = recorded[0].outcome
            self.judged = _judged(recorded)
        self.was_read = True


def _teams(of: Game | Forecast | Outcome) -> tuple[str, str]:
    return of.home_team, of.away_team


def _judged(recorded: list[RecordedPrediction]) -> Judged:
    minutes = {
        each.forecast.elapsed_minutes: each
        for each in reversed(recorded)
        if each.HasField("settlement")
        and not each.superseded
        and not each.forecast.HasField("moment")
        and each.forecast.late == LATE_REASON_UNSPECIFIED
        and each.forecast.horizon == HORIZON_FINAL
        and _teams(each.forecast) == _teams(each.outcome)
    }
    until_half = [minute for minute in minutes if minute <= _HALF]
    reference = minutes[max(until_half)] if until_half else None
    return Judged(
        forecasts=len(minutes),
        covered=sum(each.settlement.covered for each in minutes.values()),
        reference=None if reference is None else reference.forecast,
        reference_covered=reference is not None and reference.settlement.covered,
    )
