"""Scorecards and leaderboards on the command line: requests, output and files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from tests.support.fakes.recorded import card, figure
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import Output, Run

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, LeftOut, MarketRecord, Scorecard, TotalScorecard
from dejavu_client import FINAL


def rows(table: str) -> list[str]:
    """Return the rows of a table, their cells separated by blanks."""
    return [" ".join(line.strip("│ ").split()) for line in table.splitlines()]


def scored(**fields: Any) -> pb.GetScorecardResponse:
    return pb.GetScorecardResponse(scorecard=card(**fields))


def test_a_scorecard_shows_each_figure_with_its_interval_beside_persistence(server: FakeServer, output: Output) -> None:
    options = "--from 2026-01-02 --horizon final --minute 12 --model abc --replays"
    shown = output(scored(), "scorecard", *options.split())
    assert server.next_call().request.filter == pb.ScoreFilter(
        from_date="2026-01-02", horizon=FINAL, min_minutes=12, max_minutes=12, model_version="abc", include_replays=True
    )
    assert "scorecard · the end, model abc, from 2026-01-02, minute 12, including replays" in shown
    for row in (
        "games 312 14,890 forecasts",
        "mean absolute error 5.25 4.50 to 6.00 points",
        "of persistence 6.06 5.70 to 6.34 points",
        "difference −0.81 −1.00 to −0.62 better than persistence",
        "CRPS 3.80 3.60 to 4.10 points",
        "Brier score 0.152 0.140 to 0.164 a coin flip has 0.25",
        "of the leader 0.171 0.160 to 0.182 if the team ahead were certain to lead",
        "95 % intervals held 94.6 % 92.9 to 96 % 23.1 points wide, 312 games",
        "bets 31 of 40 markets quoted",
        "won, lost, pushed 16 · 14 · 1",
        "expected profit +8.8 % by the forecasts, when they were made",
        "return on stakes +2.5 % −10 % to +15 %: no significant profit",
        "capped 3 stakes that the caps of a game and an evening cut, or left out",
        "distance 3.1 percentage points root mean square, of 14 games",
        "the model is not shown to be better than the market",
        "bankroll −3 % compounded over the games",
    ):
        assert row in rows(shown), shown
    assert "few" not in shown


LEFT_OUT = LeftOut(
    superseded=1, later_second=2, late_time=3, reported=4, game_date=5, observed=6, withdrawn=7, late_markets=8
)
KINDS = ("withdrawn_games", "corrected_games", "doubtful_games", "unsettled_games", "unsettled_totals")
DOUBTS: dict[str, Any] = {kind: number for number, kind in enumerate(KINDS, start=1)}


def test_what_is_left_out_is_said_with_its_reason_also_where_nothing_counts(output: Output) -> None:
    shown = {
        "1 replaced by a correction",
        "2 recorded when a later second was known",
        "3 recorded long after their minute",
        "4 made after a report that was withdrawn",
        "5 made after the day of their game",
        "6 made after their outcome was observed",
        "7 of games whose outcome was withdrawn",
        "8 markets quoted after the outcome was observed",
    }
    beware = {
        "1 game withdrawn: the outcome was taken back",
        "2 games corrected: the outcome was another one before",
        "3 games doubtful: the id, teams, times or leads may be wrong",
        "4 games unsettled: the outcome was never reported",
        "5 games without a total: its points were never reported",
    }
    told = rows(output(scored(left_out=LEFT_OUT, **DOUBTS), "scorecard"))
    assert {row.removeprefix("left out ") for row in told if row.startswith("left out")} == shown
    assert {row.removeprefix("beware ") for row in told if row.startswith("beware")} == beware
    empty = pb.GetScorecardResponse(scorecard=Scorecard(left_out=LEFT_OUT, **DOUBTS))
    _, *lines = output(empty, "scorecard").splitlines()
    assert set(lines) == {f"{row.replace(' ', ' left out: ', 1)}." for row in shown} | {f"{row}." for row in beware}


TOTAL = TotalScorecard(
    games=118,
    forecasts=2310,
    mae=figure(9.75, 9.5, 10.0),
    pace_mae=figure(12.5, 12.0, 13.0),
    mae_difference=figure(-2.75, -3.0, -2.5),
    relative_difference=figure(-0.22, -0.24, -0.2),
    crps=figure(6.9, 6.7, 7.1),
    coverage=[
        CoverageFigure(alpha=0.05, games=118, forecasts=2310, coverage=0.952, lower=0.93, upper=0.97, mean_width=48.2)
    ],
)


def test_totals_are_shown_beside_their_pace_and_only_if_there_are_any(output: Output, tmp_path: Path) -> None:
    shown = rows(output(scored(total=TOTAL), "scorecard"))
    for row in (
        "total points 95 % interval",
        "games 118 2,310 forecasts",
        "mean absolute error 9.75 9.50 to 10.00 points",
        "of pace × time 12.50 12.00 to 13.00 points",
        "difference −2.75 −3.00 to −2.50 better than pace × time",
        "relative difference −22 % −24 % to −20 % of its error",
        "95 % intervals held 95.2 % 93.0 to 97 % 48.2 points wide, 118 games",
    ):
        assert row in shown
    table = csv.DictReader(io.StringIO(output(scored(total=TOTAL), "scorecard", "--csv", "-")))
    totals = {each["figure"]: each for each in table if each["figure"].startswith("total_")}
    names = ("mae", "pace_mae", "mae_difference", "relative_difference", "crps", "coverage", "mean_width")
    assert list(totals) == [f"total_{name}" for name in names]
    relative = totals["total_relative_difference"]
    assert [relative[name] for name in ("value", "lower", "upper", "games")] == ["-0.22", "-0.24", "-0.2", "118"]
    assert "total points" not in output(scored(), "scorecard")


def returned(games: int = 300, **ends: Any) -> dict[str, Any]:
    return {"market": MarketRecord(bets=31, markets=40, staked=1.0, profit=0.1, roi=0.1, games=games, **ends)}


def differs(lower: float, upper: float) -> dict[str, Any]:
    return {"mae_difference": Figure(value=(lower + upper) / 2, lower=lower, upper=upper)}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (returned(roi_lower=-0.1, roi_upper=0.2), "return on stakes +10 % −10 % to +20 %: no significant profit"),
        (returned(roi_lower=0.02, roi_upper=0.2), "return on stakes +10 % +2 % to +20 %: a profit"),
        (returned(12, roi_lower=0.02, roi_upper=0.2), "return on stakes +10 % +2 % to +20 %: of only 12 games"),
        (returned(roi_lower=-0.3, roi_upper=-0.1), "return on stakes +10 % −30 % to −10 %: a loss"),
        (returned(3), "return on stakes +10 % too few bets for an interval"),
        (differs(-1.0, -0.1), "difference −0.55 −1.00 to −0.10 better than persistence"),
        (differs(0.1, 1.0), "difference +0.55 +0.10 to +1.00 worse than persistence"),
        (differs(-0.1, 0.1), "difference 0.00 −0.10 to +0.10 no significant difference"),
    ],
)
def test_a_scorecard_claims_no_more_than_its_intervals(output: Output, fields: dict[str, Any], said: str) -> None:
    assert said in rows(output(scored(**fields), "scorecard"))


@pytest.mark.parametrize(("games", "said"), [(1, "Only one game: too few"), (99, "Only 99 games: too few")])
def test_a_scorecard_of_few_games_says_so_and_gives_no_verdict(output: Output, games: int, said: str) -> None:
    shown = output(scored(games=games, **differs(-1.0, -0.1)), "scorecard")
    assert said in shown
    assert "better than" not in shown.replace("not shown to be better than the market", "")


def test_a_scorecard_without_games_says_what_was_asked(run: Run) -> None:
    told = run("scorecard", "--date", "2026-01-02", "--replays").stdout
    assert told == "No settled forecasts: the half, 2026-01-02, including replays.\n"


def test_a_leaderboard_ranks_versions_and_says_by_what(server: FakeServer, output: Output) -> None:
    ranked = [pb.LeaderboardRow(rank=n, model_version=f"version{n}", value=-n / 8, scorecard=card()) for n in (1, 2)]
    answer = pb.GetLeaderboardResponse(rows=ranked, metric=pb.LEADERBOARD_METRIC_MAE_DIFFERENCE, min_games=7)
    options = ("--by-model", "--metric", "mae-difference", "--min-games", "7")
    _, _, first, _, about = output(answer, "scorecard", *options).splitlines()
    request = server.next_call().request
    assert (request.metric, request.min_games) == (pb.LEADERBOARD_METRIC_MAE_DIFFERENCE, 7)
    assert first.split()[:5] == ["1", "version1", "−0.125", "312", "5.25"]
    assert about == (
        "the half; by mean absolute error minus that of persistence, lower is better; versions with 7 games or more"
    )
    written = csv.DictReader(io.StringIO(output(answer, "scorecard", "--by-model", "--csv", "-")))
    assert {(row["rank"], row["model_version"]) for row in written} == {("1", "version1"), ("2", "version2")}


def test_a_leaderboard_shows_staged_models_beside_the_champion(server: FakeServer, output: Output) -> None:
    paired = pb.PairedFigure(score=4.1, against_score=4.25, difference=figure(-0.15, -0.2, -0.1))
    shadow = pb.ShadowRow(rank=1, model_version="v2", against_version="v1", games=312, crps=paired, brier=paired)
    answer = pb.GetLeaderboardResponse(metric=pb.LEADERBOARD_METRIC_CRPS, min_games=1, shadows=[shadow])
    shown = output(answer, "scorecard", "--by-model", "--recorded-by", "token:poller")
    assert server.next_call().request.filter.recorded_by == "token:poller"
    assert "recorded by token:poller" in " ".join(shown.split())
    line = next(each for each in shown.splitlines() if "v2" in each)
    assert line.split()[:4] == ["1", "v2", "312", "4.100"]
    assert "−0.150 (−0.200" in line
    assert "staged models beside the champion, v1" in shown


def test_an_empty_leaderboard_says_how_many_games_it_asks_for(output: Output) -> None:
    empty = pb.GetLeaderboardResponse(metric=pb.LEADERBOARD_METRIC_CRPS, min_games=100)
    assert " ".join(output(empty, "scorecard", "--by-model").split()) == (
        "No model version has enough games: the half; by CRPS, lower is better; versions with 100 games or more. "
        "Replays are left out: --replays includes them."
    )
