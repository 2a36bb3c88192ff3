"""The demo: its games have the margins that the model expects."""

from __future__ import annotations

import io
import random
from datetime import date
from statistics import fmean

import pytest
from tests.support.fakes.service import FakeServer, forecast

from dejavu.v1.model_service_pb2 import ListModelsRequest
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictBatchResponse, PredictBatchResult, PredictError
from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, Scorecard
from dejavu_cli.commands.demo import print_results, simulate_matched_games
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient
from dejavu_common.rich_console import Console
from dejavu_poller.summary import HorizonSummary, Summary


def margins(server: FakeServer, expected: float) -> None:
    """Make the server return an expected margin for every game but the first, which is simulated all the same."""

    def answer(request: PredictBatchRequest) -> PredictBatchResponse:
        made = [forecast(each, expected_margin=expected) for each in request.requests[1:]]
        refused = PredictBatchResult(error=PredictError(code=9, reason="UNSUPPORTED_MOMENT", message="no"))
        return PredictBatchResponse(results=[refused, *(PredictBatchResult(forecast=each) for each in made)])

    server.answers("PredictBatch", answer)


@pytest.mark.parametrize("expected", [-20.0, 20.0])
async def test_games_are_simulated_around_the_margins_that_the_model_expects(
    expected: float, server: FakeServer
) -> None:
    margins(server, expected)
    async with AsyncDejavuClient(server.target) as client:
        games = await simulate_matched_games(client, random.Random(1), 15)

    final = [game.scores[-1].home - game.scores[-1].away for game in games]
    assert fmean(final) == pytest.approx(
        expected, abs=4 * 14 / 15**0.5
    )  # margins have a standard deviation of 14 points
    assert isinstance(server.next_call().request, ListModelsRequest)
    asked = server.next_call().request.requests
    # The ratings of the model end the day before, so they are used whenever the demo runs.
    assert {each.game_date for each in asked} == {"2023-06-13"}
    assert {game.day for game in games} == {date(2023, 6, 13)}
    assert [(each.home_team, each.away_team, each.horizon, each.game_id) for each in asked] == [
        (game.home, game.away, FINAL, "") for game in games
    ]


CARD = Scorecard(
    games=8,
    forecasts=144,
    mae=Figure(value=5.89),
    persistence_mae=Figure(value=5.76),
    mae_difference=Figure(value=0.13, lower=-0.44, upper=0.69),
    coverage=[CoverageFigure(alpha=0.05, games=8, forecasts=144, coverage=0.965, lower=0.893, upper=0.989)],
    brier=Figure(value=0.095, lower=0.059, upper=0.131),
    leader_brier=Figure(value=0.078, lower=0.031, upper=0.125),
    brier_difference=Figure(value=0.017, lower=-0.008, upper=0.042),
)

SEEN = "LAL @ BOS at the half. Seen before: CLE at ATL, 31 March 2022. After minute 24 ATL led by 6 and won by 4."


def shown(width: int = 80, card: Scorecard = CARD, *, page: bool = False) -> list[str]:
    horizons = tuple(
        HorizonSummary(each, 8, 120, 0, 8, 120, 116, 0.95, 5.89, 5.76, 0.095, 0.078) for each in (HALFTIME, FINAL)
    )
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    verified = {"forecasts": 288, "outcomes": 16, "checkpoint": 304}
    evening, record = Summary(8, horizons, ()), {HALFTIME: card, FINAL: card}
    print_results(console, SEEN, evening, record, [0.2, 0.3, 0.5], verified, page=page)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_coverage_brier_latency_and_the_record_come_before_the_error_beside_persistence() -> None:
    text = " ".join(" ".join(shown()).split())
    no_difference = ": no significant difference."
    places = [
        text.index(each)
        for each in (
            "Dejavu says during a game which past game went like it, and where it will end",
            SEEN,
            "240 forecasts of the half and of the end",
            "and 48 after plays of the last minutes.",
            "95 % intervals that held 96.5 % (89.3 to 98.9)",
            "Brier score 0.095 (0.059 to 0.131)",
            "Latency, feed to subscriber: p50 0.30 s, p95 0.50 s",
            "Record verified: 288 forecasts and 16 outcomes in one chain of hashes, up to the signed checkpoint 304.",
            f"of persistence 5.76; difference +0.13 (−0.44 to +0.69){no_difference}",
            f"difference from the leader's +0.017 (−0.008 to +0.042){no_difference}",
            "dejavu demo --page",
        )
    ]
    assert places == sorted(places)
    assert "dejavu demo --page" not in " ".join(shown(page=True)), "it is shown already"
    assert all(len(line) <= 80 for line in shown())


def test_few_games_are_no_verdict_on_the_leader() -> None:
    card = Scorecard()
    card.CopyFrom(CARD)
    card.brier_difference.CopyFrom(Figure(value=0.05, lower=0.01, upper=0.09))
    text = " ".join(" ".join(shown(card=card)).split())
    assert "difference from the leader's +0.050 (+0.010 to +0.090): too few games to judge." in text
