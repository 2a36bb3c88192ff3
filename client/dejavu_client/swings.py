"""What mattered in a game: how much each scoring play changed the probability that the home team wins.

The change is between two forecasts up to a hundredth of a second before the clock of the play, with the score before it
and with the score after it, both without possession. The sum of all changes is the excitement of a game, like Burke's
excitement index, which sums the changes of all plays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Protocol, Unpack

from dejavu.v1.forecast_pb2 import Forecast, ReliabilityWarning
from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictRequest
from dejavu_client.errors import from_predict_error
from dejavu_client.requests import FINAL, PredictOptions, predict_request
from dejavu_feed.horizon import MAX_SLOTS
from dejavu_feed.live_inputs import Side
from dejavu_feed.moment import Moment
from dejavu_feed.pattern import Score, elapsed_seconds, period_of, slots

_BEFORE: Final = 0.01
_FIRST: Final = 60.0
_BATCH: Final = 1000


class BatchClient(Protocol):
    """Client for forecasts; implemented by `DejavuClient`."""

    def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
        """Return the results in order."""
        ...


@dataclass(frozen=True, slots=True)
class Swing:
    """A play that changed the score.

    Attributes:
        period: 1–4 for quarters, from 5 for overtimes.
        clock: seconds left in the period.
        home, away: the score after the play, in points.
        side: the team that scored.
        points: points that it scored.
        before, after: probability that the home team wins, before and after the play.
    """

    period: int
    clock: float
    home: int
    away: int
    side: Side
    points: int
    before: float = 0.0
    after: float = 0.0

    @property
    def change(self) -> float:
        """Change of the home team's win probability."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class GameSwings:
    """The scoring plays of a game after its first minute.

    Attributes:
        plays: in chronological order.
        home_won: whether the home team won.
        expected_margin: expected final differential before tip-off, in points; None if the forecasts know only the
            score.
        warnings: reasons why the forecasts are less reliable than usual.
    """

    plays: tuple[Swing, ...]
    home_won: bool
    expected_margin: float | None = None
    warnings: tuple[ReliabilityWarning, ...] = ()

    @property
    def excitement(self) -> float:
        """Sum of the absolute changes of the win probability."""
        return sum(abs(play.change) for play in self.plays)

    @property
    def lowest(self) -> tuple[Swing, float] | None:
        """The play before or after which the winner was least likely to win, with that probability; None without."""

        def least(play: Swing) -> float:
            return min(play.before, play.after) if self.home_won else 1 - max(play.before, play.after)

        found = min(self.plays, key=least, default=None)
        return None if found is None else (found, least(found))


def game_swings(client: BatchClient, scores: Sequence[Score], **options: Unpack[PredictOptions]) -> GameSwings:
    """Compute the swings of a played game, with one what-if before and one after each scoring play.

    Args:
        client: makes the forecasts; its model must have tables of moments.
        scores: every change of the score in chronological order.
        options: teams, date or margin, as for `predict_request`.

    Raises:
        DejavuClientError: if the server does not answer, or refuses a forecast.
    """
    plays = list(_scoring(scores))
    pattern = slots(scores, MAX_SLOTS)
    requests = [_request(pattern, moment, options) for _, *moments in plays for moment in moments]
    forecasts = []
    for start in range(0, len(requests), _BATCH):
        for result in client.predict_batch(requests[start : start + _BATCH]):
            if result.HasField("error"):
                raise from_predict_error(result.error)
            forecasts.append(result.forecast)
    chances = [forecast.home_lead_probability for forecast in forecasts]
    found = tuple(
        replace(play, before=before, after=after)
        for (play, *_), before, after in zip(plays, chances[::2], chances[1::2], strict=True)
    )
    home_won, first = scores[-1].home > scores[-1].away, forecasts[0] if forecasts else Forecast()
    margin = first.expected_margin if first.HasField("expected_margin") else None
    return GameSwings(found, home_won, margin, tuple(first.warnings))


def _scoring(scores: Sequence[Score]) -> Iterator[tuple[Swing, Moment, Moment]]:
    """Yield the plays that add points to one team after the first minute, with the moments before and after each."""
    for before, after in pairwise([Score(0.0, 0, 0), *scores]):
        home, away = after.home - before.home, after.away - before.away
        if after.elapsed <= _FIRST or (home > 0) == (away > 0) or min(home, away) < 0:
            continue
        period = period_of(after.elapsed)
        clock = elapsed_seconds(period, 0.0) - after.elapsed
        # Within the minute of the play, whose end is in the pattern.
        earlier = min(_BEFORE, (after.elapsed % 60 or 60) / 2)
        side = Side.HOME if home else Side.AWAY
        first, second = (Moment(period, clock + earlier, score.home - score.away) for score in (before, after))
        yield Swing(period, clock, after.home, after.away, side, home or away), first, second


def _request(pattern: Sequence[float], moment: Moment, options: PredictOptions) -> PredictRequest:
    asked: PredictOptions = {**options, "horizon": FINAL, "moment": moment}
    return predict_request(pattern[: moment.slots], **asked)
