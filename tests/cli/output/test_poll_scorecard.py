"""The lines of scorecards, the errors of a poller's summary, and the scorecard printed by a replay."""

from __future__ import annotations

import json

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.fakes.service import FakeServer
from tests.support.harness.poller import HALF, watching

from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, Scorecard
from dejavu_cli.commands.replay import show_scorecard
from dejavu_cli.output.scores import record_entry, record_lines
from dejavu_client import FINAL, HALFTIME
from dejavu_poller.summary import Summary

CARD = Scorecard(
    games=2,
    forecasts=6,
    mae=Figure(value=5.5),
    persistence_mae=Figure(value=6.25),
    coverage=[CoverageFigure(alpha=0.05, games=2, forecasts=6, coverage=5 / 6)],
    crps=Figure(value=3.21),
    brier=Figure(value=0.1875),
    ece=0.125,
)


async def summary() -> Summary:
    """Return the summary of an evening of two games with several forecasts of the half."""
    evening, predictor = Evening([game(lead=3, run=2), game("MIA", "NYK", lead=-1)]), StoringPredictor()
    async with watching(evening, predictor, horizons=(HALFTIME,), from_minute=21) as watch:
        for minute in (22, 23):
            await watch.at(60.0 * minute + 1)
        await watch.at(HALF)
        await watch.at(HALF, 1)
        return watch.poller.summary()


def test_each_horizon_of_which_something_is_settled_has_a_line() -> None:
    (line,) = record_lines({HALFTIME: CARD, FINAL: Scorecard()})
    figures = "MAE 5.50 (persistence 6.25) · 83.3 % held at 95 % · CRPS 3.21 · Brier 0.188 · ECE 0.125"
    assert line == f"half, 2 games, 6 forecasts: {figures}"
    (entry,) = record_entry({HALFTIME: CARD, FINAL: Scorecard()})
    assert entry["horizon"] == "HORIZON_HALFTIME"
    assert entry["coverage"] == {"0.95": 5 / 6}
    assert entry["persistenceMeanAbsoluteError"] == 6.25


async def test_errors_are_means_over_games_of_each_games_mean() -> None:
    (own,) = (await summary()).horizons
    # The home team leads by 3 at minutes 22 and 23 and by 5 at the half in one game, always by −1 in the other.
    assert own.settled_games == 2
    assert own.persistence_error == pytest.approx(1.0), "2 of the one game and 0 of the other, however many of each"


def test_a_replay_ends_with_the_scorecard_of_the_server_that_it_is_told(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    show_scorecard(server.target, as_json=False)
    assert capsys.readouterr().out == "No settled forecasts.\n"
    show_scorecard(server.target, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"scorecards": []}
    filters = [call.request.filter for call in server.calls if call.method == "GetScorecard"]
    assert [(each.horizon, each.include_replays) for each in filters] == [(HALFTIME, True), (FINAL, True)] * 2
