"""Forecasts on the command line: checks of the pattern before any request, both intervals, risk, and teams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.fakes.service import FakeServer, forecast
from tests.support.harness.clients import Output, Run

from dejavu.v1 import forecast_pb2 as pb
from dejavu.v1 import prediction_service_pb2 as service
from dejavu.v1.market_pb2 import RISK_LEVEL_EXTREME
from dejavu_client import FINAL, HALFTIME

ADAPTED: dict[str, Any] = {
    "adapted_lower": -9.0,
    "adapted_upper": 13.5,
    "static_lower": -8.0,
    "static_upper": 12.0,
    "rolling_games": 40,
    "rolling_coverage": 0.95,
    "static_rolling_coverage": 0.875,
}
KNOWN = pb.TeamKnowledge(deviation=3.6, earlier_date="2024-06-17")
MARGIN: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL", "horizon": FINAL, "expected_margin": 3.75}
TOTAL = pb.TotalForecast(point_forecast=223.4, interval_lower=206, interval_upper=242, expected_total=231.2)


def made_of(**terms: Any) -> dict[str, Any]:
    return {**MARGIN, "expected_margin_terms": pb.ExpectedMarginTerms(**terms)}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"adaptation": pb.Adaptation(mode=pb.ADAPTATION_MODE_SHADOW, **ADAPTED)},
            ["if adapted −9.0 to +13.5", "95 % of 40 games if adapted, 87.5 % as calibrated"],
        ),
        (
            {"adaptation": pb.Adaptation(mode=pb.ADAPTATION_MODE_ON, **ADAPTED)},
            ["as calibrated −8.0 to +12.0", "95 % of 40 games adapted, 87.5 % as calibrated"],
        ),
        ({"total": TOTAL, "total_points": 139}, ["223.4, 206 to 242 with 95 %", "231.2 expected at the end"]),
        # With a given margin, the ratings are used for the total alone.
        (
            {**MARGIN, "home_known": KNOWN, "away_known": KNOWN},
            ["ratings of totals BOS: June 2024", "LAL: June 2024", "BOS by 3.8 expected at the end", "BOS wins"],
        ),
        (made_of(strength_difference=1.25, home_advantage=2.6), ["strength +1.2 · home +2.6 · schedule not known"]),
        (made_of(schedule=-1.5, schedule_known=True, playoffs=0.8), ["schedule −1.5 · playoffs +0.8"]),
        (made_of(missing_players=-7.5), ["at the end, by the ratings and who has played so far"]),
    ],
)
def test_a_forecast_says_what_it_is_made_of(output: Output, fields: dict[str, Any], said: list[str]) -> None:
    shown = " ".join(
        output(service.PredictResponse(forecast=forecast(**fields)), "predict", "1", width=160)
        .replace("│", " ")
        .split()
    )
    assert [part for part in said if part not in shown] == [], shown


RISK = service.RiskAssessment(
    score=81.4,
    level=RISK_LEVEL_EXTREME,
    factors=[
        service.RiskFactor(
            kind=service.RISK_FACTOR_KIND_VOLATILITY, value=4.2, score=97, weight=0.35, contribution=33.95
        ),
        service.RiskFactor(kind=service.RISK_FACTOR_KIND_PACE, value=240, score=47, weight=0.15, contribution=7.05),
    ],
    warnings=["The lead changed hands [4] times over the last 6 minutes."],
)


REFUSED = service.PredictError(
    code=3,
    reason="INVALID_TOTAL_POINTS",
    message="total_points: 3; expected 20 (the lead) to 500",
    field_violations=[service.FieldViolation(field="total_points", description="3; expected 20 (the lead) to 500")],
)
RISKS = [service.RiskResult(assessment=RISK), service.RiskResult(error=REFUSED)]


def test_a_risk_is_shown_with_what_it_is_made_of(server: FakeServer, run: Run) -> None:
    server.answers("AssessRisk", service.AssessRiskResponse(results=RISKS[:1]))
    result = run("risk", "0", "-2", "3", "--total-points", "30")
    assert result.exit_code == 0, result.stderr
    [call] = server.calls
    [game] = call.request.games
    assert (list(game.pattern), game.total_points) == ([0.0, -2.0, 3.0], 30)
    lines = result.stdout.splitlines()
    assert lines[1].strip() == "81 of 100: extreme"
    assert lines[-1] == "· The lead changed hands [4] times over the last 6 minutes."


def test_risks_of_several_games_are_listed_with_those_that_were_refused(
    server: FakeServer, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "games.jsonl"
    file.write_text('{"pattern": [0, -2], "totalPoints": 30}\n\n{"pattern": [10, 20]}\n')
    server.answers("AssessRisk", *[service.AssessRiskResponse(results=RISKS)] * 2)
    result = run("risk", "--games", str(file))
    assert result.exit_code == 4
    assert [len(game.pattern) for game in server.calls[0].request.games] == [2, 2]
    assert "volatility 97, pace 47" in result.stdout
    assert "game 2: total_points: 3; expected 20 (the lead) to 500" in result.stdout
    lines = [json.loads(line) for line in run("risk", "--games", str(file), "--json").stdout.splitlines()]
    assert [*lines[0], *lines[1]] == ["assessment", "error"]
    file.write_text("{]")
    assert "expected a line per game" in " ".join(run("risk", "--games", str(file)).stderr.split())


def test_teams_are_listed_with_what_they_may_be_called(run: Run) -> None:
    shown = run("games", "--teams").stdout
    for part in ("BOS", "Boston", "Celtics", "PHO", "Sixers"):
        assert part in shown
    entries = [json.loads(line) for line in run("games", "--teams", "--json").stdout.splitlines()]
    assert len(entries) == 30
    formerly = {"code": "NJN", "franchise": "BKN", "city": "New Jersey", "name": "Nets", "seasons": [1978, 2012]}
    names = {"code": "BKN", "number": 1610612751, "city": "Brooklyn", "name": "Nets", "aliases": ["BRK", "NJ"]}
    assert entries[1] == {**names, "formerly": [formerly]}


def test_live_inputs_and_date_are_sent_and_shown_with_the_warnings(server: FakeServer, run: Run) -> None:
    warning = pb.ReliabilityWarning(
        reason=pb.WARNING_REASON_RATINGS_OUTDATED, text="the teams' ratings end too long before"
    )
    known = pb.TeamKnowledge(deviation=3.61, finals=2, earlier_date="2023-06-12")
    knowledge: dict[str, Any] = {"ratings_date": "2023-06-12", "warnings": [warning]}

    def answer(request: service.PredictRequest) -> service.PredictResponse:
        live: dict[str, Any] = {name: getattr(request, name) for name in ("total_points", "last_score", "possession")}
        return service.PredictResponse(
            forecast=forecast(request, home_known=known, away_known=known, **live, **knowledge)
        )

    server.answers("Predict", answer)
    given = "--home BOS --away LAL --game-date 2026-11-20 --total-points 8 --last-score away:12 --possession home:shot"
    shown = run("predict", "0", "2", *given.split(), width=160).stdout
    what_if = service.PredictRequest(pattern=[0, 2], return_explanation=True, horizon=HALFTIME)
    asked = service.PredictRequest(home_team="BOS", away_team="LAL", game_date="2026-11-20", total_points=8)
    asked.MergeFrom(what_if)
    asked.last_score.CopyFrom(pb.LastScore(side=pb.SIDE_AWAY, seconds=12))
    asked.possession.CopyFrom(pb.Possession(side=pb.SIDE_HOME, shot_in_air=True))
    assert server.next_call().request == asked
    for part in (
        "LAL, 12 s before the end of minute 2",
        "BOS, a shot in the air (not used before minute 41)",
        f"Warning: {warning.text}",
    ):
        assert part in shown
    assert "what-if" in run("predict", "0", "2").stdout
    assert server.next_call().request == what_if


@pytest.mark.parametrize(
    ("text", "period", "left", "lead", "shown"),
    [
        ("Q4 0:42.5 +3", 4, 42.5, 3, "at Q4 0:42.5"),
        ("OT 2:10 −1", 5, 130, -1, "at OT 2:10"),
        ("ot2 0:00.04 0", 6, 0.04, 0, "at OT2 0:00"),
    ],
)
def test_a_moment_is_sent_and_shown(
    server: FakeServer, run: Run, text: str, period: int, left: float, lead: int, shown: str
) -> None:
    def answer(request: service.PredictRequest) -> service.PredictResponse:
        live: dict[str, Any] = {name: getattr(request, name) for name in ("moment", "possession", "last_score")}
        return service.PredictResponse(forecast=forecast(request, **live))

    server.answers("Predict", answer)
    given = "--possession home --total-points 8 --last-score away:12 --explain --free-throws 2"
    printed = run("predict", "0", "2", "--moment", text, *given.split(), width=160).stdout
    moment = server.next_call().request.moment
    assert (moment.period, moment.seconds_left, moment.differential, moment.free_throws) == (period, left, lead, 2)
    assert shown in printed
    assert "2 free throws to come" in printed
    assert "home (not used" not in printed
