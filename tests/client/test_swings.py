"""What each scoring play changed: one what-if before it and one after it, in order, and their sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictError, PredictRequest
from dejavu_client.errors import FailedPreconditionError
from dejavu_client.swings import game_swings
from dejavu_feed.horizon import Horizon
from dejavu_feed.live_inputs import Side
from dejavu_feed.moment import Moment, moment_fault
from dejavu_feed.pattern import Score

SCORES = [
    Score(30.0, 2, 0),  # in the first minute
    Score(60.0, 4, 0),  # at its end
    Score(61.0, 4, 3),
    Score(720.0, 6, 3),  # at the end of a quarter
    Score(1000.0, 6, 3),  # no points
    Score(1100.0, 5, 3),  # a correction
    Score(1500.0, 5, 4),
    Score(1500.0, 5, 5),  # two free throws
    Score(2879.5, 7, 5),
    Score(2880.0, 7, 7),
    Score(3000.0, 7, 9),
]


class FakeClient:
    """Forecasts that the home team wins with 1 % more for each point that it leads by."""

    def __init__(self, error: PredictError | None = None) -> None:
        self.calls: list[Sequence[PredictRequest]] = []
        self.error = error
        self.chance: Callable[[PredictRequest], float] = lambda each: 0.5 + each.moment.differential / 100

    def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
        self.calls.append(requests)
        if self.error is not None:
            return [PredictBatchResult(error=self.error) for _ in requests]
        return [PredictBatchResult(forecast=Forecast(home_lead_probability=self.chance(each))) for each in requests]


def test_each_scoring_play_has_the_probability_before_and_after_it() -> None:
    client = FakeClient()
    made = game_swings(client, SCORES, home_team="BOS", away_team="LAL")
    assert [(play.period, play.clock, play.home, play.away, play.side, play.points) for play in made.plays] == [
        (1, 659.0, 4, 3, Side.AWAY, 3),
        (1, 0.0, 6, 3, Side.HOME, 2),
        (3, 660.0, 5, 4, Side.AWAY, 1),
        (3, 660.0, 5, 5, Side.AWAY, 1),
        (4, 0.5, 7, 5, Side.HOME, 2),
        (4, 0.0, 7, 7, Side.AWAY, 2),
        (5, 180.0, 7, 9, Side.AWAY, 2),
    ]
    assert [round(100 * play.change) for play in made.plays] == [-3, 2, -1, -1, 2, -2, -2]
    assert made.excitement == pytest.approx(0.13)
    assert not made.home_won
    assert made.lowest is not None
    lowest, chance = made.lowest
    assert (lowest.home, lowest.away) == (4, 3)
    assert chance == pytest.approx(0.46)


def test_the_lowest_chance_of_the_winner_may_be_before_its_own_basket() -> None:
    # The first forecasts know the lead alone; here the time before the last basket was worse than after any play.
    chances = iter([0.5, 0.2, 0.03, 0.5])
    client = FakeClient()
    client.chance = lambda _: next(chances)
    made = game_swings(client, [Score(100.0, 0, 2), Score(2879.0, 3, 2)])
    assert made.lowest == (made.plays[1], 0.03)


@given(st.sets(st.integers(6001, 318_000), min_size=1, max_size=20))
def test_each_hundredth_of_a_second_is_a_moment_that_can_be_forecast(hundredths: set[int]) -> None:
    client = FakeClient()
    game_swings(client, [Score(at / 100, 2 * number, 0) for number, at in enumerate(sorted(hundredths), 1)])
    for request in client.calls[0]:
        moment = Moment(request.moment.period, request.moment.seconds_left, request.moment.differential)
        assert moment_fault(moment, tuple(request.pattern), Horizon.FINAL) is None


def test_each_request_names_the_teams_and_the_line_but_no_game() -> None:
    client = FakeClient()
    game_swings(client, SCORES, home_team="BOS", away_team="LAL", pregame_margin=3.0)
    assert {(each.game_id, each.home_team, each.pregame_margin) for each in client.calls[0]} == {("", "BOS", 3.0)}


def test_many_plays_are_asked_for_in_batches_that_a_server_takes() -> None:
    client = FakeClient()
    scores = [Score(100.0 + number, number, 0) for number in range(1, 702)]
    made = game_swings(client, scores)
    assert [len(each) for each in client.calls] == [1000, 402]
    assert len(made.plays) == 701


def test_a_refusal_is_raised_and_a_game_without_plays_has_none() -> None:
    refused = PredictError(code=9, reason="UNSUPPORTED_MOMENT", message="moment: no tables")
    with pytest.raises(FailedPreconditionError, match="no tables"):
        game_swings(FakeClient(refused), SCORES)
    client = FakeClient()
    made = game_swings(client, SCORES[:1])
    assert (made.plays, made.lowest, made.excitement, client.calls) == ((), None, 0, [])
