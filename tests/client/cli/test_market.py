"""Odds and risk on the command line: requests and output."""

from __future__ import annotations

import json
from functools import partial

import grpc
import pytest
from tests.support.fakes.service import Abort, FakeServer, forecast
from tests.support.harness.clients import Run

from dejavu.v1.forecast_pb2 import (
    WARNING_REASON_IMPLAUSIBLE_EDGE,
    WARNING_REASON_RATINGS_OUTDATED,
    WARNING_REASON_TEAMS_UNKNOWN,
    WarningReason,
)
from dejavu.v1.forecast_pb2 import Warning as Caution
from dejavu.v1.market_pb2 import (
    MARKET_SIDE_AWAY,
    MARKET_SIDE_HOME,
    RISK_LEVEL_EXTREME,
    RISK_LEVEL_MODERATE,
    TOTAL_SIDE_OVER,
    Market,
    MarketAnswer,
    MarketRecording,
    MarketSideAnswer,
    Odds,
    TotalMarket,
    TotalMarketAnswer,
)
from dejavu.v1.prediction_service_pb2 import AssessRiskResponse, PredictResponse, RiskFactor
from dejavu_client import FINAL

PRICED = ("--home", "BKN", "--away", "GSW", "--spread", "BKN-5.5", "--home-odds", "-110", "--away-odds", "1.95")
ODDS = (*PRICED, "--horizon", "final")

ANSWER = MarketAnswer(
    home=MarketSideAnswer(
        decimal_odds=1.909,
        win_probability=0.6,
        implied_probability=0.524,
        expected_value=0.145,
        kelly_fraction=0.16,
        stake_fraction=0.04,
        stake=40.0,
    ),
    away=MarketSideAnswer(
        decimal_odds=1.95, win_probability=0.38, implied_probability=0.513, expected_value=-0.26, kelly_fraction=0.0
    ),
    push_probability=0.02,
    overround=0.037,
    side=MARKET_SIDE_HOME,
    stake=40.0,
    risk_level=RISK_LEVEL_MODERATE,
    confidence_met=True,
    confidence_threshold=0.55,
)
QUOTE = PredictResponse(forecast=forecast(home_team="BKN", away_team="GSW", horizon=FINAL), market=ANSWER)


@pytest.fixture
def run(run: Run) -> Run:
    """Runs `dejavu` in a terminal of 80 columns."""
    return partial(run, width=80)


def test_odds_are_asked_about_as_they_are_written(server: FakeServer, run: Run) -> None:
    server.answers("Predict", QUOTE)
    result = run("predict", "0", "-2", *ODDS, "--bankroll", "1000", "--confidence", "0.6", "--horizon", "final")
    assert result.exit_code == 0, result.stderr
    [call] = server.calls
    assert list(call.request.pattern) == [0.0, -2.0]
    assert call.request.market == Market(
        line=5.5, home=Odds(american=-110), away=Odds(decimal=1.95), bankroll=1000.0, confidence_threshold=0.6
    )


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        ("BKN-5.5", 5.5),
        ("bkn +5.5", -5.5),
        ("GSW+5.5", 5.5),
        ("GSW −5.5", -5.5),
        ("Golden State Warriors -3", -3.0),
        ("Nets+0", 0.0),
    ],
)
def test_a_spread_is_given_as_a_sportsbook_prints_it(server: FakeServer, run: Run, printed: str, line: float) -> None:
    server.answers("Predict", QUOTE)
    result = run("predict", "1", *ODDS, "--spread", printed)
    assert result.exit_code == 0, result.stderr
    assert server.calls[0].request.market.line == line


@pytest.mark.parametrize("typed", ["-50", "+99", "-110.5", "+0"])
def test_american_odds_are_refused_in_american_units(server: FakeServer, run: Run, typed: str) -> None:
    result = run("predict", "1", *ODDS, "--home-odds", typed)
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert f"{typed}; expected American odds of +100 or more, or -100 or less, in whole numbers" in said
    assert server.calls == []


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("+120", Odds(american=120)),
        ("−110", Odds(american=-110)),
        ("150", Odds(american=150)),
        ("50", Odds(decimal=50)),
    ],
)
def test_odds_are_sent_as_typed(server: FakeServer, run: Run, typed: str, sent: Odds) -> None:
    server.answers("Predict", QUOTE)
    run("predict", "1", *ODDS, "--home-odds", typed)
    assert server.calls[0].request.market.home == sent


def test_the_market_is_shown_with_the_spreads_of_both_sides_and_the_bet(server: FakeServer, run: Run) -> None:
    server.answers("Predict", QUOTE)
    lines = run("predict", "1", *ODDS, "--bankroll", "1000", "--horizon", "final").stdout.splitlines()
    [home] = [line for line in lines if line.startswith("│ BKN −5.5")]
    assert [cell.strip() for cell in home.split("│")[2:7]] == ["−110", "51 %", "60 %", "+0.14", "40.00"]
    [away] = [line for line in lines if line.startswith("│ GSW +5.5")]
    assert [cell.strip() for cell in away.split("│")[2:7]] == ["1.95", "50 %", "38 %", "–", "–"]
    assert "margin of the odds 3.7 % · a push 2 %" in lines
    assert "stake of a bet: a share of Kelly, capped (by default a quarter, at most 5 %)" in lines
    assert lines[-3:] == [
        "The model, for the end: BKN −5.5, 40.00",
        "wins 60 %; at this price 51 % breaks even",
        "stake × P(loss): 1.52 % of the bankroll (moderate)",
    ]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("bankroll", [[], ["--bankroll", "1"]], ids=["none", "1, as it is recorded"])
def test_without_a_bankroll_a_stake_is_a_share(server: FakeServer, run: Run, bankroll: list[str]) -> None:
    unsure = MarketAnswer(
        home=ANSWER.away, away=ANSWER.home, side=MARKET_SIDE_AWAY, risk_level=RISK_LEVEL_EXTREME, overround=-0.01
    )
    server.answers("Predict", PredictResponse(forecast=QUOTE.forecast, market=unsure))
    odds = ("--moneyline", "--horizon", "final", "--home-odds", "+120", "--away-odds", "-105")
    shown = run("predict", "1", *odds, *bankroll).stdout
    assert "The model, for the end: GSW, 4.00 %\nwins 60 %; at this price 52 % breaks even\n" in shown
    assert "margin of the odds −1 %" in shown


def test_a_bet_is_refused_without_its_horizon(server: FakeServer, run: Run) -> None:
    result = run("predict", "1", *PRICED)
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "--horizon: required with odds; say which bet it is: half for the lead at the half, final for" in said
    assert server.calls == []


@pytest.mark.parametrize(("away", "warned"), [("2.10", True), ("+120", False), ("120", False)])
def test_prices_in_two_forms_are_warned_of(server: FakeServer, run: Run, away: str, warned: bool) -> None:
    server.answers("Predict", QUOTE)
    said = run("predict", "1", *ODDS, "--home-odds", "-250", "--away-odds", away).stderr
    assert ("Warning: of -250 and 2.10 one is read as American odds, one as decimal." in said) is warned


def test_the_horizon_of_a_bet_is_said_with_it(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=forecast(home_team="BKN", away_team="GSW"), market=ANSWER))
    shown = run("predict", "1", *PRICED, "--horizon", "half").stdout
    assert "The model, for the half: BKN −5.5, 4.00 %" in shown


@pytest.mark.parametrize(
    ("told", "standing", "said"),
    [
        (MarketRecording.MARKET_RECORDING_RECORDED, None, "bet: recorded"),
        (
            MarketRecording.MARKET_RECORDING_EARLIER_STANDS,
            Market(line=5.5, home=Odds(american=-110), away=Odds(decimal=1.95)),
            "bet: not recorded: the first price, BKN −5.5 at −110 against 1.95, stands",
        ),
        (
            MarketRecording.MARKET_RECORDING_FORECAST_LATE,
            None,
            "bet: not recorded: it comes too late for this minute of the game",
        ),
        (MarketRecording.MARKET_RECORDING_OUTCOME_KNOWN, None, "bet: not recorded: the outcome is known"),
        (MarketRecording.MARKET_RECORDING_WHAT_IF, None, "bet: not recorded: a what-if; --game-id names a game"),
    ],
)
def test_it_is_said_when_a_bet_is_not_recorded(
    server: FakeServer, run: Run, told: MarketRecording.ValueType, standing: Market | None, said: str
) -> None:
    answer = MarketAnswer(recording=told, standing_market=standing)
    answer.MergeFrom(ANSWER)
    server.answers("Predict", PredictResponse(forecast=QUOTE.forecast, market=answer))
    assert said in run("predict", "1", *ODDS).stdout.splitlines()


def test_a_bet_is_compared_with_the_break_even_of_its_price_alone(server: FakeServer, run: Run) -> None:
    home = MarketSideAnswer(decimal_odds=2.25, win_probability=0.53, expected_value=0.19, stake_fraction=0.02)
    below = MarketAnswer(home=home, side=MARKET_SIDE_HOME, confidence_threshold=0.55)
    server.answers("Predict", *[PredictResponse(forecast=QUOTE.forecast, market=below)] * 2)
    shown = run("predict", "1", *ODDS).stdout
    assert "wins 53 %; at this price 44 % breaks even\n" in shown
    assert "threshold" not in shown
    asked = run("predict", "1", *ODDS, "--confidence", "0.55").stdout
    assert "wins 53 %; at this price 44 % breaks even; your threshold of 55 % is not reached\n" in asked


def test_a_probability_just_above_the_break_even_is_distinguishable_from_it(server: FakeServer, run: Run) -> None:
    home = MarketSideAnswer(decimal_odds=1 / 0.5274, win_probability=0.5296, stake_fraction=0.01)
    near = MarketAnswer(home=home, side=MARKET_SIDE_HOME)
    server.answers("Predict", PredictResponse(forecast=QUOTE.forecast, market=near))
    assert "wins 53.0 %; at this price 52.7 % breaks even" in run("predict", "1", *ODDS).stdout


_LIKELY = MarketSideAnswer(
    decimal_odds=2.4, win_probability=0.996, implied_probability=0.417, expected_value=1.39, kelly_fraction=0.99
)
_FAIR = MarketSideAnswer(decimal_odds=1.91, win_probability=0.5, expected_value=-0.05)


@pytest.mark.parametrize(
    ("home", "warned", "reason"),
    [
        (_FAIR, [], "neither wins more often than its price breaks even"),
        (_LIKELY, [WARNING_REASON_IMPLAUSIBLE_EDGE], "implausible edge"),
        (_LIKELY, [WARNING_REASON_TEAMS_UNKNOWN, WARNING_REASON_RATINGS_OUTDATED], "ratings outdated"),
        (_LIKELY, [], "the server's limits leave none"),
    ],
)
def test_without_a_stake_its_reason_stands_in_place_of_expected_value_and_kelly(
    server: FakeServer, run: Run, home: MarketSideAnswer, warned: list[WarningReason.ValueType], reason: str
) -> None:
    answer = MarketAnswer(home=home, away=_FAIR, warnings=[Caution(reason=each, text="Why.") for each in warned])
    total = TotalMarketAnswer(over=home, under=_FAIR, warnings=answer.warnings)
    server.answers("Predict", PredictResponse(forecast=QUOTE.forecast, market=answer, total_market=total))
    shown = run("predict", "2", *ODDS, *OVER_UNDER, "--total-points", "14").stdout
    for of in ("end", "points"):
        assert f"The model, for the {of}: no stake on either side.\nreason: {reason}\n" in shown
    for number in ("+1.39", "−0.05", "99 %"):
        assert number not in shown.replace(">99 %", "")


def test_a_server_that_does_not_weigh_odds_is_said_to_be_old(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=QUOTE.forecast))
    assert "The server does not evaluate odds: it runs an earlier release." in run("predict", "1", *ODDS).stdout


def test_json_holds_the_forecast_and_the_market(server: FakeServer, run: Run) -> None:
    server.answers("Predict", QUOTE)
    shown = run("predict", "1", *ODDS, "--json").stdout
    assert shown.count("\n") == 1
    found = json.loads(shown)
    assert found["forecast"]["homeTeam"] == "BKN"
    assert found["market"]["home"]["kellyFraction"] == 0.16
    assert (found["market"]["side"], found["market"]["riskLevel"]) == ("MARKET_SIDE_HOME", "RISK_LEVEL_MODERATE")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--moneyline"], "must be given together; --home-odds, --away-odds missing"),
        (["--home-odds", "2", "--away-odds", "2"], "must be given together; --spread or --moneyline missing"),
        (["--bankroll", "100"], "--spread or --moneyline, --home-odds, --away-odds missing"),
        (["--confidence", "0.5"], "--spread or --moneyline, --home-odds, --away-odds missing"),
        (["--moneyline", "--home-odds", "evens", "--away-odds", "2"], "--home-odds"),
        (["--moneyline", "--home-odds", "1e3", "--away-odds", "2"], "'1e3' is not a price"),
        (["--moneyline", "--home-odds", "inf", "--away-odds", "2"], "'inf' is not a price"),
        (["--moneyline", *ODDS], "give either --spread or --moneyline"),
        ([*ODDS, "--spread", "-5.5"], "'-5.5' is not a spread; expected a team and its handicap as printed: BOS-5.5"),
        ([*ODDS, "--spread", "BKN"], "'BKN' is not a spread"),
        ([*ODDS, "--spread", "LAL-5.5"], "LAL is not one of the teams of GSW at BKN"),
        ([*ODDS, "--spread", "LA-5.5"], "'LA' is the city of two teams; expected LAC or LAL"),
        (["--home", "Bosten", "--away", "LAL"], "'Bosten' is not a team; did you mean BOS (Celtics)?"),
        (["--home", "Boston", "--away", "celtics"], "celtics and Boston are the same team"),
        (["--moneyline", "--home-odds", "0.9", "--away-odds", "2"], "0.9; expected decimal odds above 1"),
        (["--spread", "BKN-5.5"], "BKN is not one of the teams without --home and --away"),
        (["--home", "BKN"], "give both teams, or none"),
    ],
)
def test_a_part_of_a_market_is_wrong_usage(server: FakeServer, run: Run, arguments: list[str], said: str) -> None:
    result = run("predict", "1", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not server.calls


RISK = AssessRiskResponse(
    score=81.4,
    level=RISK_LEVEL_EXTREME,
    factors=[
        RiskFactor(name="volatility", value=4.2, unit="points", score=97, weight=0.35, contribution=33.95),
        RiskFactor(name="pace", value=240, unit="points a game", score=47, weight=0.15, contribution=7.05),
    ],
    warnings=["The lead changed hands [4] times over the last 6 minutes."],
)


def test_a_risk_is_shown_with_what_it_is_made_of(server: FakeServer, run: Run) -> None:
    server.answers("AssessRisk", RISK)
    result = run("risk", "0", "-2", "3", "--total-points", "30")
    assert result.exit_code == 0, result.stderr
    [call] = server.calls
    assert (list(call.request.pattern), call.request.total_points) == ([0.0, -2.0, 3.0], 30)
    lines = result.stdout.splitlines()
    assert lines[0] == "How unsettled the game has been so far, beside past games. It forecasts nothing."
    assert lines[1].strip() == "81 of 100: extreme"
    assert "│ pace       │ 240.0 points a game │       47 % │   15 % │          7.0 │" in lines
    assert lines[-1] == "· The lead changed hands [4] times over the last 6 minutes."


def test_a_risk_s_json_has_every_field(server: FakeServer, run: Run) -> None:
    server.answers("AssessRisk", RISK)
    found = json.loads(run("risk", "--pattern-json", "[1, 2]", "--json").stdout)
    assert not server.calls[0].request.HasField("total_points")
    assert (found["score"], found["level"], len(found["factors"])) == (81.4, "RISK_LEVEL_EXTREME", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the lead at the end of each minute"),
        (["1", "2", "--total-points", "-3"], "-3 is not a valid number of points"),
    ],
)
def test_wrong_usage_of_risk_is_named(server: FakeServer, run: Run, arguments: list[str], said: str) -> None:
    result = run("risk", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not server.calls


def test_a_risk_that_is_refused_names_the_field(server: FakeServer, run: Run) -> None:
    violation = ("total_points", "3; expected 20 (the lead) to 500")
    server.answers("AssessRisk", Abort(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_TOTAL_POINTS", [violation]))
    result = run("risk", "10", "20", "--total-points", "3")
    assert result.exit_code == 4
    assert "total_points: 3; expected 20 (the lead) to 500" in result.stderr


def test_teams_are_listed_with_what_they_may_be_called(run: Run) -> None:
    shown = run("teams").stdout
    for part in ("BOS", "Boston", "Celtics", "PHO", "Sixers"):
        assert part in shown
    entries = [json.loads(line) for line in run("teams", "--json").stdout.splitlines()]
    assert len(entries) == 30
    assert entries[1] == {"code": "BKN", "city": "Brooklyn", "name": "Nets", "aliases": ["BRK", "NJN"]}


OVER_UNDER = ("--total-line", "221.5", "--over-odds", "-110", "--under-odds", "1.95")
TOTALS = PredictResponse(
    forecast=QUOTE.forecast,
    total_market=TotalMarketAnswer(
        over=ANSWER.home, under=ANSWER.away, overround=0.037, side=TOTAL_SIDE_OVER, stake=40.0
    ),
)


def test_over_and_under_are_asked_about_alone_or_beside_the_spread(server: FakeServer, run: Run) -> None:
    server.answers("Predict", TOTALS)
    result = run("predict", "2", *OVER_UNDER, "--total-points", "14", "--horizon", "final", "--bankroll", "1000")
    assert result.exit_code == 0, result.stderr
    [call] = server.calls
    assert not call.request.HasField("market")
    assert call.request.total_market == TotalMarket(
        line=221.5, over=Odds(american=-110), under=Odds(decimal=1.95), bankroll=1000.0
    )
    for shown in ("over 221.5", "under 221.5", "The model, for the points: over 221.5, 40.00"):
        assert shown in result.stdout
    server.answers("Predict", PredictResponse(forecast=QUOTE.forecast, market=ANSWER, total_market=TOTALS.total_market))
    result = run("predict", "2", *OVER_UNDER, "--total-points", "14", *ODDS)
    assert result.exit_code == 0, result.stderr
    assert "BKN −5.5" in result.stdout
    assert "over 221.5" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (OVER_UNDER[:4], "--under-odds missing"),
        (OVER_UNDER, "--total-points"),
        ((*OVER_UNDER[:2], "--total-points", "14"), "--over-odds, --under-odds missing"),
    ],
)
def test_what_over_and_under_need_is_said(run: Run, arguments: tuple[str, ...], said: str) -> None:
    result = run("predict", "2", *arguments, "--horizon", "final")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_an_earlier_server_does_not_weigh_them(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=QUOTE.forecast))
    result = run("predict", "2", *OVER_UNDER, "--total-points", "14", "--horizon", "final")
    assert "runs an earlier release" in result.stdout
