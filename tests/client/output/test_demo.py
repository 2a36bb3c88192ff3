"""The summary of the demo leads with the purpose of forecasts."""

from __future__ import annotations

import io

from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, Scorecard
from dejavu_client import FINAL, HALFTIME
from dejavu_client.output.demo import print_results
from dejavu_client.poller.summary import HorizonSummary, Summary
from dejavu_common.rich_console import Console

CARD = Scorecard(
    games=8,
    forecasts=144,
    mae=Figure(value=5.89),
    persistence_mae=Figure(value=5.76),
    mae_difference=Figure(value=0.13, lower=-0.44, upper=0.69),
    coverage=[CoverageFigure(alpha=0.05, games=8, forecasts=144, coverage=0.965, lower=0.893, upper=0.989)],
    brier=Figure(value=0.095, lower=0.059, upper=0.131),
)


def shown(width: int = 80, leader: float = 0.078) -> list[str]:
    horizons = tuple(
        HorizonSummary(each, 8, 144, 0, 8, 144, 139, 0.95, 5.89, 5.76, 0.095, leader) for each in (HALFTIME, FINAL)
    )
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    verified = {"forecasts": 288, "outcomes": 16, "checkpoint": 304}
    print_results(console, Summary(8, horizons, ()), {HALFTIME: CARD, FINAL: CARD}, [0.2, 0.3, 0.5], verified)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_coverage_brier_latency_and_the_record_come_before_the_error_beside_persistence() -> None:
    text = " ".join(" ".join(shown()).split())
    places = [
        text.index(each)
        for each in (
            "Dejavu says during a game where it will end",
            "95 % intervals that held 96.5 % (89.3 to 98.9)",
            "Brier score 0.095 (0.059 to 0.131)",
            "Brier score of the leader 0.078",
            "Latency, feed to subscriber: p50 0.30 s, p95 0.50 s",
            "Record verified: 288 forecasts and 16 outcomes in one chain of hashes, up to the signed checkpoint 304.",
            (
                "Mean absolute error of the half: 5.89 points, of persistence 5.76; difference +0.13 (−0.44 to +0.69)"
                ": no significant difference."
            ),
            (
                "Brier score of the half: difference from the leader's +0.017; the leader's lies in the "
                "interval above, which does not tell them apart."
            ),
            "Persistence repeats the current lead.",
            "dejavu demo --page",
        )
    ]
    assert places == sorted(places)
    assert all(len(line) <= 80 for line in shown())


def test_no_sentence_says_that_the_probabilities_beat_the_leader_where_the_table_says_that_they_do_not() -> None:
    for leader, where in ((0.05, "below"), (0.14, "above")):
        text = " ".join(" ".join(shown(leader=leader)).split())
        assert f"the leader's lies {where} the interval above." in text
        assert "cannot tell are the probabilities" not in text
        assert "on a par" not in text
