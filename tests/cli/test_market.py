"""Odds on the command line: requests and output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from tests.support.fakes.service import FakeServer, forecast
from tests.support.harness.clients import Run

from dejavu.v1 import forecast_pb2 as forecast_pb
from dejavu.v1 import market_pb2 as pb
from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_client import FINAL, HALFTIME

TEAMS = ("--home", "BKN", "--away", "GSW")
PRICED = (*TEAMS, "--spread", "BKN-5.5", "--home-odds", "-110", "--away-odds", "1.95")
ODDS = (*PRICED, "--horizon", "final")
OVER_UNDER = ("--total-line", "221.5", "--over-odds", "-110", "--under-odds", "1.95")

USUAL = pb.Staking(
    confidence_threshold=0.55,
    model_share=0.5,
    kelly_fraction=0.25,
    game_cap=0.02,
    evening_cap=0.05,
    max_difference=0.15,
)


def side(odds: float, win: float, used: float, **more: float) -> pb.MarketSideAnswer:
    """Return a side's answer: its odds, the model's probability and the one that was used."""
    return pb.MarketSideAnswer(decimal_odds=odds, win_probability=win, staking_probability=used, **more)


BET = {"implied_probability": 0.524, "expected_value": 0.145, "kelly_fraction": 0.16, "stake_fraction": 0.04}
NO_BET_VALUES = {"implied_probability": 0.513, "expected_value": -0.26, "kelly_fraction": 0.0}
HOME = side(1.909, 0.66, 0.6, fair_probability=0.49, stake=40.0, **BET)
AWAY = side(1.95, 0.32, 0.38, fair_probability=0.49, **NO_BET_VALUES)
NOTICE = "not shown to be better than the market"
JUDGED: dict[str, Any] = {"risk_level": pb.RISK_LEVEL_MODERATE, "confidence_met": True, "staking": USUAL}


def answered(kind: pb.MarketKind.ValueType = pb.MARKET_KIND_LEAD, **fields: Any) -> pb.MarketAnswer:
    """Return an answer with a stake of 40 on the first side; `fields` override."""
    chosen = pb.MARKET_SIDE_OVER if kind == pb.MARKET_KIND_TOTAL else pb.MARKET_SIDE_HOME
    usual = {"above": HOME, "below": AWAY, "side": chosen, "stake": 40.0, "push_probability": 0.02, "overround": 0.037}
    return pb.MarketAnswer(kind=kind, **{**usual, **JUDGED, "notice": NOTICE, **fields})


ANSWER = answered()


def lead(**fields: Any) -> pb.Market:
    """Return the market of `ODDS`, with some fields replaced."""
    usual = {"kind": pb.MARKET_KIND_LEAD, "line": 5.5, "above": pb.Odds(american=-110), "below": pb.Odds(decimal=1.95)}
    return pb.Market(**{**usual, **fields})


OF_GAME = forecast(home_team="BKN", away_team="GSW", horizon=FINAL)
QUOTE = PredictResponse(forecast=OF_GAME, markets=[ANSWER])


@pytest.fixture
def run(run: Run) -> Run:
    """Run `dejavu` in a terminal of 80 columns."""
    return partial(run, width=80)


def shown(
    server: FakeServer, run: Run, *options: str, markets: Sequence[pb.MarketAnswer], of: forecast_pb.Forecast = OF_GAME
) -> str:
    """Return what is printed of these answers."""
    server.answers("Predict", PredictResponse(forecast=of, markets=markets))
    result = run("predict", "1", *options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_odds_are_asked_about_as_they_are_written(server: FakeServer, run: Run) -> None:
    staked = ("--game-staked", "10", "--evening-staked", "25.5")
    options = (*ODDS, "--bankroll", "1000", *staked, "--staking", "game_cap=0.6", "--json")
    found = json.loads(shown(server, run, *options, markets=[ANSWER]))
    assert (found["forecast"]["homeTeam"], found["markets"][0]["side"]) == ("BKN", "MARKET_SIDE_HOME")
    [call] = server.calls
    staked_before = {"game_staked": 10.0, "evening_staked": 25.5}
    assert list(call.request.markets) == [lead(bankroll=1000.0, staking=pb.Staking(game_cap=0.6), **staked_before)]


def test_the_market_is_shown_with_the_spreads_of_both_sides_and_the_bet(server: FakeServer, run: Run) -> None:
    lines = shown(server, run, *ODDS, "--bankroll", "1000", markets=[ANSWER]).splitlines()
    [home] = [line for line in lines if line.startswith("│ BKN −5.5")]
    assert [cell.strip() for cell in home.split("│")[2:8]] == ["−110", "51 %", "66 %", "49 %", "60 %", "40.00"]
    [away] = [line for line in lines if line.startswith("│ GSW +5.5")]
    assert [cell.strip() for cell in away.split("│")[2:8]] == ["1.95", "50 %", "32 %", "49 %", "38 %", "–"]
    for line in (
        "stake: 25 % of Kelly's; at most 2 % of the bankroll a game, 5 % an evening",
        "The model, for the end: BKN −5.5, 40.00",
        "used 60 %; at this price 51 % breaks even; expected profit of 1 staked +0.14",
        "The model is not shown to be better than the market.",
    ):
        assert line in lines
    assert max(map(len, lines)) <= 80


def test_without_a_bankroll_a_stake_is_a_share(server: FakeServer, run: Run) -> None:
    unsure = pb.MarketAnswer(above=AWAY, below=HOME, side=pb.MARKET_SIDE_AWAY, overround=-0.01)
    unsure.risk_level = pb.RISK_LEVEL_EXTREME
    for side in (unsure.above, unsure.below):
        side.stake = side.stake_fraction  # of a bankroll of 1
    odds = ("--moneyline", "--horizon", "final", "--home-odds", "+120", "--away-odds", "-105")
    for bankroll in ((), ("--bankroll", "1")):  # as it is recorded
        told = shown(server, run, *odds, *bankroll, markets=[unsure])
        assert "The model, for the end: GSW, 4.00 %\nused 60 %; at this price 52 % breaks even; expected" in told
        assert "margin of the odds −1 %" in told


_LIKELY = pb.MarketSideAnswer(decimal_odds=2.4, win_probability=0.996, implied_probability=0.417, expected_value=1.39)
_CAPPED = pb.MarketSideAnswer(decimal_odds=2.4, win_probability=0.996, expected_value=1.39, kelly_fraction=0.99)
_DOUBTED = side(1.91, 0.53, 0.515)
_FAIR = pb.MarketSideAnswer(decimal_odds=1.91, win_probability=0.5, expected_value=-0.05)


@pytest.mark.parametrize(
    ("home", "warned", "reason"),
    [
        (_FAIR, [], "neither wins more often than its price breaks even"),
        (_LIKELY, [forecast_pb.WARNING_REASON_IMPLAUSIBLE_DIFFERENCE], "implausible difference"),
        (_CAPPED, [], "the stakes so far leave no room below the caps"),
        (_DOUBTED, [], "at the blended probability, neither side breaks even"),
    ],
)
def test_without_a_stake_its_reason_stands_in_place_of_expected_value_and_kelly(
    server: FakeServer,
    run: Run,
    home: pb.MarketSideAnswer,
    warned: list[forecast_pb.WarningReason.ValueType],
    reason: str,
) -> None:
    warnings = [forecast_pb.ReliabilityWarning(reason=each, text="Why.") for each in warned]
    answers = [
        pb.MarketAnswer(kind=kind, above=home, below=_FAIR, warnings=warnings, notice=NOTICE)
        for kind in (pb.MARKET_KIND_LEAD, pb.MARKET_KIND_TOTAL)
    ]
    told = shown(server, run, *ODDS, *OVER_UNDER, "--total-points", "14", markets=answers)
    for of in ("end", "points"):
        assert f"The model, for the {of}: no stake on either side.\nreason: {reason}\n" in told
    assert told.count(f"The model is {NOTICE}.") == 2
    for number in ("+1.39", "−0.05", "99 %"):
        assert number not in told.replace(">99 %", "")


def test_a_line_without_odds_has_its_probabilities_and_the_odds_worth_taking(server: FakeServer, run: Run) -> None:
    sides = (pb.MarketSideAnswer(win_probability=0.61, minimum_odds=1.6066), pb.MarketSideAnswer(win_probability=0.37))
    answer = pb.MarketAnswer(kind=pb.MARKET_KIND_LEAD, above=sides[0], below=sides[1], push_probability=0.02)
    told = shown(server, run, *TEAMS, "--spread", "BKN-5", "--horizon", "final", markets=[answer])
    assert list(server.calls[0].request.markets) == [pb.Market(kind=pb.MARKET_KIND_LEAD, line=5.0)]
    [home] = [line for line in told.splitlines() if line.startswith("│ BKN −5")]
    assert [cell.strip() for cell in home.split("│")[2:4]] == ["61 %", "above 1.61"]
    assert "a push 2 %" in told


def test_over_and_under_are_asked_about_alone_or_beside_the_spread(server: FakeServer, run: Run) -> None:
    of_total, points = answered(pb.MARKET_KIND_TOTAL), ("--total-points", "14", "--horizon", "final")
    alone = shown(server, run, *OVER_UNDER, *points, "--bankroll", "1000", markets=[of_total])
    [call] = server.calls
    assert list(call.request.markets) == [lead(kind=pb.MARKET_KIND_TOTAL, line=221.5, bankroll=1000.0)]
    for part in ("over 221.5", "under 221.5", "The model, for the points: over 221.5, 40.00"):
        assert part in alone
    both = shown(server, run, *OVER_UNDER, *points, *ODDS, markets=[ANSWER, of_total])
    assert [each.kind for each in server.calls[-1].request.markets] == [pb.MARKET_KIND_LEAD, pb.MARKET_KIND_TOTAL]
    for part in ("BKN −5.5", "over 221.5"):
        assert part in both


@pytest.mark.parametrize(
    ("options", "market"),
    [
        (("--spread", "bkn +5.5"), {"line": -5.5}),
        (("--spread", "GSW −5.5"), {"line": -5.5}),
        (("--spread", "Golden State Warriors -3"), {"line": -3.0}),
        (("--spread", "BKN PK"), {"line": 0.0}),
        (("--spread", "GSW pick'em"), {"line": 0.0}),
        (("--spread", "BKN –5½"), {"line": 5.5}),
        (("--spread", "GSW+5,5"), {}),
        (("--home-odds", "EVEN"), {"above": pb.Odds(american=100)}),
        (("--home-odds", "5/2"), {"above": pb.Odds(decimal=3.5)}),
        (("--home-odds", "1,91"), {"above": pb.Odds(decimal=1.91)}),
        (("--bankroll", "2500,50"), {"bankroll": 2500.5}),
        (("--home-odds", "+120"), {"above": pb.Odds(american=120)}),
        (("--home-odds", "−110"), {"above": pb.Odds(american=-110)}),
        (("--home-odds", "150"), {"above": pb.Odds(american=150)}),
        (("--home-odds", "50"), {"above": pb.Odds(decimal=50)}),
    ],
)
def test_spread_and_odds_are_given_as_a_sportsbook_prints_them(
    server: FakeServer, run: Run, options: tuple[str, ...], market: dict[str, Any]
) -> None:
    server.answers("Predict", QUOTE)
    assert run("predict", "1", *ODDS, *options).exit_code == 0
    assert list(server.calls[0].request.markets) == [lead(**market)]


def of(recording: pb.MarketRecording.ValueType, standing: pb.Market | None = None) -> pb.MarketAnswer:
    """Return an answer of which a server says whether it is recorded."""
    return answered(recording=recording, standing_market=standing)


def at(price: float, probability: float) -> pb.MarketAnswer:
    """Return an answer with a stake at a price, for a probability that was used."""
    home = side(price, 0.53, probability, kelly_fraction=0.08, stake_fraction=0.02, expected_value=0.1)
    return pb.MarketAnswer(
        kind=pb.MARKET_KIND_LEAD, above=home, side=pb.MARKET_SIDE_HOME, staking=pb.Staking(confidence_threshold=0.55)
    )


RICH, GAME, EVENING = ("--bankroll", "1000"), ("--game-staked", "12.5"), ("--evening-staked", "40")
NO_BET = "bet: not recorded: "


@pytest.mark.parametrize(
    ("answer", "options", "said"),
    [
        (ANSWER, (*RICH, *GAME), "staked before: 12.50 on this game, 12.50 this evening"),
        (ANSWER, (*RICH, *EVENING), "staked before: 0.00 on this game, 40.00 this evening"),
        (ANSWER, (*RICH, *GAME, *EVENING), "staked before: 12.50 on this game, 40.00 this evening"),
        (ANSWER, (*RICH, "--horizon", "half"), "The model, for the half: BKN −5.5, 40.00"),
        (of(pb.MarketRecording.MARKET_RECORDING_RECORDED), (), "bet: recorded"),
        (
            of(pb.MarketRecording.MARKET_RECORDING_EARLIER_STANDS, lead()),
            (),
            f"{NO_BET}the first price, BKN −5.5 at −110 against 1.95, stands",
        ),
        (of(pb.MarketRecording.MARKET_RECORDING_FORECAST_LATE), (), f"{NO_BET}it comes too late for this forecast"),
        (of(pb.MarketRecording.MARKET_RECORDING_OUTCOME_KNOWN), (), f"{NO_BET}the outcome is known"),
        (of(pb.MarketRecording.MARKET_RECORDING_WHAT_IF), (), f"{NO_BET}a what-if; --game-id names a game"),
        (at(1 / 0.5274, 0.5296), (), "used 53.0 %; at this price 52.7 % breaks even"),
        (
            at(2.25, 0.49),
            ("--staking", "confidence_threshold=0.55"),
            "the model gives it 53 %: your threshold of 55 % is not reached",
        ),
    ],
)
def test_an_answer_is_said_in_words(
    server: FakeServer, run: Run, answer: pb.MarketAnswer, options: tuple[str, ...], said: str
) -> None:
    of_game = forecast(home_team="BKN", away_team="GSW", horizon=HALFTIME if "half" in options else FINAL)
    told = " ".join(shown(server, run, *ODDS, *options, markets=[answer], of=of_game).split())
    assert said in told
    assert ("threshold" in told) is ("--staking" in options)
