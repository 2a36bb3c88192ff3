"""The commands that read the record, report outcomes and show scores: requests, output and files."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import Parse
from tests.support.fakes.service import GAME, Abort, FakeServer, card, figure, outcome, recorded, timestamp
from tests.support.harness.clients import Output, Run

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import LATE_REASON_GAME_DATE, Forecast, TotalForecast
from dejavu.v1.record_pb2 import Checkpoint, RecordedPrediction, TotalSettlement
from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, LeftOut, MarketRecord, Scorecard, TotalScorecard
from dejavu_client import FINAL, HALFTIME

TOTAL = TotalForecast(point_forecast=223.4, interval_lower=206, interval_upper=242, expected_total=231.2)


def listed(*sequences: int, token: str = "") -> pb.ListPredictionsResponse:
    return pb.ListPredictionsResponse(predictions=map(recorded, sequences), next_page_token=token)


def test_every_condition_of_predictions_reaches_the_server(server: FakeServer, run: Run) -> None:
    options = "--from 2026-01-02 --to 2026-01-03 --team bos --horizon end --minute 18 --min-confidence 0.9"
    more = f"--unsettled --model abc --game {GAME} --replays --superseded"
    assert run("predictions", *options.split(), *more.split(), "--limit", "9").exit_code == 0
    assert server.next_call().request == pb.ListPredictionsRequest(
        from_date="2026-01-02",
        to_date="2026-01-03",
        team="bos",
        horizon=FINAL,
        elapsed_minutes=18,
        min_confidence=0.9,
        settled=False,
        model_version="abc",
        game_id=GAME,
        include_replays=True,
        include_superseded=True,
        page_size=10,
    )
    assert run("predictions", "--date", "2026-01-02").exit_code == 0
    expected = pb.ListPredictionsRequest(from_date="2026-01-02", to_date="2026-01-02", page_size=51)
    assert server.next_call().request == expected, "both horizons, settled or not"


def test_late_forecasts_and_those_of_another_day_are_told_apart(output: Output) -> None:
    late = recorded(2, game_date="2024-10-22", late=LATE_REASON_GAME_DATE)
    heading, _, first, second, *notes = output(
        pb.ListPredictionsResponse(predictions=[late, recorded(1)]), "predictions", width=80
    ).splitlines()
    assert heading.split()[:3] == ["made", "game", "of"]
    assert first.split()[:2] == ["2026-01-14", "2024-10-22"]
    assert [line.split()[-1] == "late" for line in (first, second)] == [True, False]
    assert second.split()[:2] == ["2026-01-14", "2026-01-14"]
    assert "0 of 1 interval held · 1 late, which does not count" in " ".join(notes)


def test_a_file_has_the_forecasts_of_all_pages(server: FakeServer, run: Run, tmp_path: Path) -> None:
    server.answers("ListPredictions", listed(*range(60, 9, -1), token="a"), listed(*range(9, 0, -1)))
    assert run("predictions", "--csv", str(tmp_path / "a.csv")).exit_code == 0
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 61


def test_json_has_a_line_for_each_prediction(server: FakeServer, run: Run, output: Output) -> None:
    lines = [
        json.loads(line) for line in output((listed(9, 8, token="a"), listed(7)), "predictions", "--json").splitlines()
    ]
    assert [line["forecast"]["sequence"] for line in lines] == ["9", "8", "7"]
    assert lines[0]["settlement"]["absoluteError"] == 13.25
    assert run("predictions", "--json", "--explain").exit_code == 0
    explained = [call.request.return_explanation for call in server.of("ListPredictions")]
    assert explained == [False, False, True]


@pytest.mark.parametrize("command", ["scorecard", "scorecard --by-model"])
def test_scores_can_be_those_of_a_team_a_game_or_confident_forecasts(
    server: FakeServer, run: Run, command: str
) -> None:
    options = ("--team", "BOS", "--game", GAME, "--min-confidence", "0.8", "--min-minute", "6", "--max-minute", "12")
    run(*command.split(), *options)
    wanted = pb.ScoreFilter(horizon=HALFTIME, team="BOS", game_id=GAME, min_confidence=0.8)
    wanted.min_minutes, wanted.max_minutes = 6, 12
    assert server.next_call().request.filter == wanted


def test_a_file_that_cannot_be_written_is_told_and_exits_1(run: Run, tmp_path: Path) -> None:
    for command in ("predictions", "scorecard"):
        for form in ("--csv", "--parquet"):
            result = run(command, form, str(tmp_path / "none" / "file"))
            assert result.exit_code == 1
            assert result.stderr.startswith(f"Error: cannot write {tmp_path / 'none' / 'file'}: ")
    assert run("checkpoint", "--out", str(tmp_path / "none" / "file")).exit_code == 1


def test_a_prediction_is_shown_with_its_past_and_its_end(server: FakeServer, output: Output) -> None:
    prediction = recorded(12, revision=1, quoted=True, total=TOTAL)
    prediction.settlement.total.MergeFrom(TotalSettlement(absolute_error=7.6, pace_absolute_error=8.6, covered=True))
    prediction.outcome.total_points = 231
    answer = pb.GetPredictionResponse(
        prediction=prediction,
        revisions=[recorded(4, superseded=True, pattern=[0, 1, -3], point_forecast=-2.0)],
        outcomes=[outcome(8, differential=3, recorded_time=timestamp()), outcome(9, differential=-7, revision=1)],
    )
    shown = output(answer, "predictions", GAME, "--horizon", "half", "--minute", "18", "--model", "abc")
    request = server.next_call().request
    asked = (request.game_id, request.horizon, request.elapsed_minutes, request.model_version)
    assert asked == (GAME, HALFTIME, 18, "abc")
    for part in ("BOS by 6.3", "13.2 points", "did not hold", "1 other revision", "−2.0", "won", "206…242 held"):
        assert part in shown, shown


def test_without_an_outcome_the_last_forecast_of_a_game_is_no_forecast_of_its_overtime(
    server: FakeServer, run: Run, output: Output
) -> None:
    def last(made: datetime) -> RecordedPrediction:
        one = recorded(12, settled=False)
        one.forecast.MergeFrom(Forecast(horizon=FINAL, elapsed_minutes=47))
        one.forecast.generated_time.FromDatetime(made)
        return one

    playing = "The game is in its last minute or overtime."
    for made, goes_on in ((datetime.now(UTC), True), (datetime(2026, 1, 2, tzinfo=UTC), False)):
        listed_one = pb.ListPredictionsResponse(predictions=[last(made)])
        table = output(listed_one, "predictions")
        assert ("last min/OT" in table, "OT" in table) == (goes_on, goes_on), "nobody reported its end"
        one = pb.GetPredictionResponse(prediction=last(made))
        told = output(one, "predictions", GAME, "--horizon", "final")
        assert (playing in told.replace("\n", " ")) is goes_on


def test_a_checkpoint_is_kept_whole_in_a_file(server: FakeServer, run: Run, tmp_path: Path) -> None:
    head = Checkpoint(ledger_id="ab" * 16, epoch="cd" * 8, sequence=7, hash=b"h" * 32, signed_time=timestamp())
    server.answers("GetCheckpoint", *[pb.GetCheckpointResponse(checkpoint=head)] * 2)
    result = run("checkpoint", "--out", str(tmp_path / "head.json"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert Parse(run("checkpoint", "--json").stdout, Checkpoint()) == head
    assert run("checkpoint", "--out", str(tmp_path / "head.json")).exit_code == 1
    assert Parse((tmp_path / "head.json").read_text(), Checkpoint()) == head
    assert run("checkpoint", "--out", str(tmp_path / "head.json"), "--force").exit_code == 0
    assert Parse((tmp_path / "head.json").read_text(), Checkpoint()) != head


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
    for row in (
        "games 312 14,890 forecasts",
        "difference −0.81 −1.00 to −0.62 better than persistence",
        "95 % intervals held 94.6 % 92.9 to 96 % 23.1 points wide, 312 games",
        "return on stakes +2.5 % −10 % to +15 %: no significant profit",
        "the model is not shown to be better than the market",
    ):
        assert row in rows(shown), shown
    assert "few" not in shown


def test_what_is_left_out_is_said_with_its_reason_also_where_nothing_counts(output: Output) -> None:
    left_out = LeftOut(
        superseded=1, later_second=2, late_time=3, reported=4, game_date=5, observed=6, withdrawn=7, late_markets=8
    )
    doubts: dict[str, Any] = {"withdrawn_games": 1, "corrected_games": 2, "doubtful_games": 3, "unsettled_games": 4}
    told = rows(output(scored(left_out=left_out, **doubts), "scorecard"))
    assert {row.split()[2] for row in told if row.startswith("left out")} == {*"12345678"}
    assert {row.split()[1] for row in told if row.startswith("beware")} == {*"1234"}
    empty = pb.GetScorecardResponse(scorecard=Scorecard(left_out=left_out, **doubts))
    assert len(output(empty, "scorecard").splitlines()) == 1 + 8 + 4


TOTALS = TotalScorecard(
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
    shown = rows(output(scored(total=TOTALS), "scorecard"))
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
    table = csv.DictReader(io.StringIO(output(scored(total=TOTALS), "scorecard", "--csv", "-")))
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


def test_a_leaderboard_ranks_versions_and_says_by_what(server: FakeServer, output: Output) -> None:
    ranked = [pb.LeaderboardRow(rank=n, model_version=f"version{n}", value=-n / 8, scorecard=card()) for n in (1, 2)]
    answer = pb.GetLeaderboardResponse(rows=ranked, metric=pb.LEADERBOARD_METRIC_MAE_DIFFERENCE, min_games=7)
    options = ("--by-model", "--metric", "mae-difference", "--min-games", "7")
    _, _, first, *_ = output(answer, "scorecard", *options).splitlines()
    request = server.next_call().request
    assert (request.metric, request.min_games) == (pb.LEADERBOARD_METRIC_MAE_DIFFERENCE, 7)
    assert first.split()[:5] == ["1", "version1", "−0.125", "312", "5.25"]

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


@pytest.fixture
def empty_ledger(server: FakeServer) -> None:
    """Make every report newer than the head of the ledger."""
    server.answers("GetCheckpoint", *[pb.GetCheckpointResponse(checkpoint=Checkpoint(sequence=0))] * 3)


@pytest.mark.usefixtures("empty_ledger")
def test_a_report_may_be_negative_and_says_what_it_settles(server: FakeServer, run: Run) -> None:
    told = outcome(9, game_id=GAME, differential=-4, home_team="BOS", away_team="LAL", revision=1)
    server.answers("ReportOutcome", pb.ReportOutcomeResponse(outcome=told, settled_forecasts=12))
    options = "--horizon half --home BOS --away LAL --observed 2026-01-15T21:40:00-05:00 --total-points 212"
    result = run("report", GAME, "-4", *options.split())
    assert "LAL by 4 (−4) at the half" in result.stdout
    assert "settles 12 forecasts" in result.stdout
    (request,) = [call.request for call in server.of("ReportOutcome")]
    assert (request.game_id, request.differential, request.horizon) == (GAME, -4, HALFTIME)
    assert (request.home_team, request.away_team, request.total_points) == ("BOS", "LAL", 212)
    assert request.observed_time.ToDatetime(tzinfo=UTC) == datetime(2026, 1, 16, 2, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("total_points", 212, "212 points of both teams"),
        ("overtimes", 2, "away by 4 (−4) at the half after 2 overtimes, recorded"),
    ],
)
def test_a_report_may_have_points_and_overtimes(
    server: FakeServer, output: Output, name: str, value: int, said: str
) -> None:
    answer = pb.ReportOutcomeResponse(outcome=outcome(9, game_id=GAME, differential=-4, **{name: value}))
    assert said in output(answer, "report", GAME, "-4", "--horizon", "end", f"--{name.replace('_', '-')}", f"{value}")
    [call] = server.of("ReportOutcome")
    assert (call.request.horizon, getattr(call.request, name)) == (FINAL, value)


def test_a_report_says_what_stands_and_overturns_it_only_if_told_to(server: FakeServer, run: Run) -> None:
    stands = Abort(grpc.StatusCode.FAILED_PRECONDITION, "another outcome stands: +3", reason="OUTCOME_STANDS")
    server.answers("ReportOutcome", stands)
    refused = run("report", GAME, "4", "--horizon", "half")
    assert refused.exit_code == 4
    assert "--correct" in refused.stderr
    (call,) = server.of("ReportOutcome")
    assert call.request.refuse_correction
    teams = {"game_id": GAME, "home_team": "WAS", "away_team": "UTA"}
    before = outcome(488, differential=-2, recorded_time=timestamp(), **teams)
    server.answers("GetPrediction", pb.GetPredictionResponse(outcomes=[before]))
    server.answers("ReportOutcome", stands, pb.ReportOutcomeResponse(outcome=outcome(500, differential=5, **teams)))
    corrected = run("report", GAME, "5", "--horizon", "half", "--correct")
    assert (corrected.exit_code, "UTA by 2" in corrected.stderr) == (0, True)
    assert [call.request.refuse_correction for call in server.of("ReportOutcome")][-2:] == [True, False]


def test_a_repeated_report_says_that_nothing_changed(server: FakeServer, run: Run) -> None:
    server.answers("GetCheckpoint", pb.GetCheckpointResponse(checkpoint=Checkpoint(sequence=490)))
    server.answers("ReportOutcome", pb.ReportOutcomeResponse(outcome=outcome(488, game_id=GAME, differential=4)))
    result = run("report", GAME, "4", "--horizon", "half")
    assert result.stdout == "0022500123: home by 4 (+4) at the half, already recorded as 488, nothing changed\n"


def test_an_outcome_is_reported_also_where_no_checkpoint_can_be_signed(server: FakeServer, run: Run) -> None:
    unsigned = Abort(grpc.StatusCode.UNAVAILABLE, "no key", reason="SIGNING_UNAVAILABLE")
    server.answers("GetCheckpoint", *[unsigned] * 10)
    result = run("report", GAME, "4", "--horizon", "final")
    assert "recorded as 1" in result.stdout


def test_a_withdrawal_says_what_it_takes_back(server: FakeServer, run: Run) -> None:
    told = outcome(9, game_id=GAME, differential=-4, home_team="BOS", away_team="LAL", revision=1)
    told.withdrawn = True
    server.answers("WithdrawOutcome", pb.WithdrawOutcomeResponse(outcome=told, unsettled_forecasts=12))
    result = run("report", GAME, "--horizon", "half", "--withdraw")
    assert "is withdrawn, recorded as 9; it had settled 12 forecasts" in result.stdout
    assert server.next_call().request.game_id == GAME
