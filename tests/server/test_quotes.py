"""Quotes of a worker with the shipped bundle: what has a stake, what is recorded and settled, and what is said of it.

A quote never contradicts the recorded forecast that it is sent with, or says why it does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.learning import learned
from tests.support.processes.empty_ledger import ledger_url

from dejavu.v1 import forecast_pb2
from dejavu.v1.market_pb2 import (
    MARKET_KIND_LEAD,
    MARKET_KIND_TOTAL,
    MARKET_RECORDING_EARLIER_STANDS,
    MARKET_RECORDING_FORECAST_LATE,
    MARKET_RECORDING_NO_PRICES,
    MARKET_RECORDING_ODDS_MISMATCHED,
    MARKET_RECORDING_OUTCOME_KNOWN,
    MARKET_RECORDING_RECORDED,
    MARKET_RECORDING_WHAT_IF,
    MARKET_SIDE_OVER,
    MARKET_SIDE_UNSPECIFIED,
    Market,
    MarketAnswer,
    Staking,
)
from dejavu.v1.record_pb2 import MARKET_RESULT_LOST, MARKET_RESULT_WON
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient, Moment
from dejavu_client.requests import market, total_market
from dejavu_ledger import verify

NAMED: Any = {"home_team": "BOS", "away_team": "LAL"}
OF_GAME: Any = {"game_id": current_game(9), "horizon": FINAL, **NAMED}


async def test_what_newer_ratings_give_for_a_recorded_forecast_says_so(client: AsyncDejavuClient) -> None:
    """Otherwise quantiles and bets would contradict the forecast beside them without a word."""
    of_game: Any = {**OF_GAME, "total_points": 105}
    recorded = await client.predict(PATTERN, **of_game)
    assert recorded.HasField("total")
    await learned(client, current_game(1), 30, home_team="BOS", away_team="LAL", total_points=300)
    over = total_market(round(recorded.total.point_forecast) + 0.5, 1.95, 1.95)
    winner = market(0, -450, 350, bankroll=1000.0)  # the home team, which leads by 11, is the favorite
    answer = await client.quote(PATTERN, winner, over, quantile_levels=[0.5], **of_game)
    of_quantiles, of_total_quantiles, of_winner, of_total = (
        each.text
        for warnings in (answer.forecast.warnings, *(each.warnings for each in answer.markets))
        for each in warnings
        if each.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
    )
    wins = answer.markets[0].above.win_probability
    assert abs(wins - recorded.home_lead_probability) > 0.01
    assert f"gives {100 * recorded.home_lead_probability:.1f} % that BOS wins" in of_winner
    assert f"compared with this market {100 * wins:.1f} %" in of_winner
    assert f"the recorded forecast is {recorded.point_forecast:+.1f}, the one that gives the quantiles" in of_quantiles
    for text in (of_total_quantiles, of_total):
        assert f"the recorded forecast of the total is {recorded.total.point_forecast:.1f}, the one " in text
        assert text.endswith(": in between, the model has learned from outcomes")
    again = await client.predict(PATTERN, **of_game)
    assert again == recorded, "without quantiles and odds nothing is computed again"


BLIND = market(0, -500, 400, bankroll=1000.0)
"""On the winner, with an edge for the away team of a few points if both teams are expected to be equal."""
NAMELESS = market(0, -320, 310, bankroll=1000.0)
"""On the winner, with an edge for the home team of a few points."""
OVER = total_market(210.5, 1.95, 1.95)
OUTDATED, UNKNOWN = forecast_pb2.WARNING_REASON_RATINGS_OUTDATED, forecast_pb2.WARNING_REASON_TEAMS_UNKNOWN


@pytest.mark.parametrize(
    ("asked", "given", "teams", "reason", "told"),
    [
        (BLIND, {"pregame_margin": 0.0}, NAMED, OUTDATED, "; no stake"),
        (NAMELESS, {"pregame_margin": 4.0}, {}, UNKNOWN, "does not name both teams"),
        # A given margin says nothing of how much the teams score.
        (OVER, None, NAMED, OUTDATED, "the ratings of total points end too long before this game"),
        (OVER, None, {}, UNKNOWN, "the odds include how much they score"),
    ],
)
async def test_without_the_ratings_that_a_bet_needs_there_is_no_stake(
    client: AsyncDejavuClient,
    asked: Market,
    given: Any,
    teams: Any,
    reason: forecast_pb2.WarningReason.ValueType,
    told: str,
) -> None:
    options: Any = {"horizon": FINAL, "total_points": 105, **teams}
    beside: Any = {} if given else {"pregame_margin": 2.0}
    [quoted] = (await client.quote(PATTERN, asked, **options, **beside)).markets
    assert (quoted.side, quoted.stake) == (MARKET_SIDE_UNSPECIFIED, 0.0)
    assert [side.kelly_fraction for side in (quoted.above, quoted.below)] == [0.0, 0.0]
    assert quoted.warnings[0].reason == reason
    assert told in quoted.warnings[0].text
    if given:
        [quoted] = (await client.quote(PATTERN, asked, **options, **given)).markets
        assert quoted.stake > 0
        assert not quoted.warnings


@pytest.mark.parametrize(
    ("horizon", "moment", "is_late"),
    [(FINAL, Moment(4, 241.0, 11), False), (FINAL, Moment(5, 100.0, 3), True), (HALFTIME, Moment(2, 30.0, 11), True)],
)
async def test_a_market_at_any_moment_is_recorded_and_verified(
    client: AsyncDejavuClient, tmp_path: Path, horizon: Any, moment: Moment, is_late: bool
) -> None:
    """Otherwise one price at a late moment would make the ledger invalid for ever, and end its backups."""
    of_game: Any = {**OF_GAME, "pregame_margin": 0.0, "horizon": horizon}
    pattern = [float(moment.differential)] * moment.slots
    answer = await client.quote(pattern, market(9.5, 1.9, 1.95), moment=moment, **of_game)
    assert answer.markets[0].recording == MARKET_RECORDING_RECORDED
    late = [each for each in answer.markets[0].warnings if each.reason == forecast_pb2.WARNING_REASON_LATE_MOMENT]
    assert bool(late) == is_late
    assert verify(ledger_url(tmp_path)).markets == 1


async def test_a_line_without_prices_is_answered_and_leaves_the_record_to_prices(
    client: AsyncDejavuClient, tmp_path: Path
) -> None:
    of_game: Any = {**OF_GAME, "pregame_margin": 4.0}
    [line] = (await client.quote(PATTERN, market(20.5), **of_game)).markets
    assert line.above.minimum_odds * line.above.win_probability == pytest.approx(1.0)
    assert (line.HasField("overround"), line.stake, line.recording) == (False, 0.0, MARKET_RECORDING_NO_PRICES)
    [priced] = (await client.quote(PATTERN, market(20.5, 2.6, 1.5, staking=Staking(game_cap=0.0)), **of_game)).markets
    assert priced.above.win_probability == line.above.win_probability
    assert (priced.recording, priced.stake, priced.staking.game_cap) == (MARKET_RECORDING_RECORDED, 0.0, 0.0)
    assert verify(ledger_url(tmp_path)).markets == 1


@pytest.mark.parametrize(("spread", "points", "own"), [(3.0, 110.5, True), (9.5, 118.5, False)])
async def test_a_bet_on_about_the_line_that_made_the_forecast_has_no_stake_and_says_why(
    client: AsyncDejavuClient, spread: float, points: float, own: bool
) -> None:
    asked = (market(spread, 1.5, 2.9), total_market(points, 1.55, 2.6))
    pattern = [*PATTERN[:11], 3.0]  # odd, as the points
    answer = await client.quote(
        pattern, *asked, horizon=HALFTIME, total_points=63, pregame_margin=5.5, pregame_total=221.5
    )
    assert [each.kind for each in answer.markets] == [MARKET_KIND_LEAD, MARKET_KIND_TOTAL]
    for evaluated in answer.markets:
        reasons = {each.reason for each in evaluated.warnings}
        assert (forecast_pb2.WARNING_REASON_MARKETS_OWN_LINE in reasons) is own
        assert evaluated.stake == 0 or not own


async def test_the_first_market_of_each_kind_is_recorded_and_settled_by_the_lead_or_the_points(
    client: AsyncDejavuClient,
) -> None:
    game = current_game(778)
    asked: Any = {"game_id": game, "horizon": FINAL, "pregame_margin": 4.0, "pregame_total": 200.5, "total_points": 105}

    async def settled(differential: int, total_points: int | None = None) -> Any:
        teams: Any = {"home_team": "BKN", "away_team": "GSW", "total_points": total_points}
        await client.report_outcome(game, differential, horizon=FINAL, **teams)
        return (await client.get_prediction(game, horizon=FINAL)).prediction

    over = (await client.predict(PATTERN, **asked)).total.point_forecast // 1 - 0.5
    lead = market(10.5, 2.5, 1.5)
    of_total, of_lead = (await client.quote(PATTERN, total_market(over, 140, -165), lead, **asked)).markets
    [second] = (await client.quote(PATTERN, total_market(over, 2.0, 1.9), **asked)).markets
    assert of_total.side == MARKET_SIDE_OVER
    assert of_total.lead_staked == of_lead.above.stake_fraction > 0.0
    assert not of_lead.HasField("lead_staked")
    assert [of_total.recording, second.recording] == [MARKET_RECORDING_RECORDED, MARKET_RECORDING_EARLIER_STANDS]
    assert second.standing_market.above.american == 140
    told = (await settled(11)).settlement
    assert not told.HasField("total")
    won = 1.5 * of_lead.above.stake_fraction
    assert (told.market_result, told.market_profit) == (MARKET_RESULT_WON, won)
    assert (await client.get_scorecard(horizon=FINAL, game_id=game)).market.markets == 1  # that of the lead
    assert (await settled(10)).settlement.market_result == MARKET_RESULT_LOST
    recorded = await settled(11, total_points=int(over - 1) // 2 * 2 + 1)  # odd, as the differential
    kept_lead, kept = recorded.markets  # whatever the order of the request
    assert (kept.market.line, kept.market.below.american) == (over, -165)
    assert (kept_lead.answer, kept.answer) == (of_lead, of_total)
    assert kept.sequence == kept_lead.sequence + 1
    of_points, stake = recorded.settlement.total, of_total.above.stake_fraction
    assert (of_points.market_result, of_points.market_profit) == (MARKET_RESULT_LOST, -stake)
    card = (await client.get_scorecard(horizon=FINAL, game_id=game)).market
    assert (card.markets, card.bets, card.games) == (2, 2, 1)
    assert card.profit == pytest.approx(won - stake)
    assert card.notice == of_lead.notice == of_total.notice == "not shown to be better than the market"


async def test_an_answer_says_whether_its_market_is_recorded(client: AsyncDejavuClient) -> None:
    async def quoted(line: float, odds: float, minutes: int = 18, **changes: Any) -> MarketAnswer:
        asked = market(line, odds, -110, bankroll=changes.pop("bankroll", 1.0))
        answer = await client.quote((PATTERN * 3)[:minutes], asked, **{**OF_GAME, **changes})
        return answer.markets[0]

    assert (await quoted(5.5, -110, game_id="")).recording == MARKET_RECORDING_WHAT_IF
    mismatched = await quoted(5.5, 2.60)
    assert mismatched.warnings[-1].reason == forecast_pb2.WARNING_REASON_ODDS_MISMATCHED
    assert (mismatched.stake, mismatched.recording) == (0.0, MARKET_RECORDING_ODDS_MISMATCHED)
    first, again, second = await quoted(5.5, -110), await quoted(5.5, -110, bankroll=500.0), await quoted(6.5, -110)
    assert first.recording == again.recording == MARKET_RECORDING_RECORDED
    assert second.recording == MARKET_RECORDING_EARLIER_STANDS
    [kept] = (await client.get_prediction(OF_GAME["game_id"], horizon=FINAL)).prediction.markets
    assert (kept.market.line, kept.answer) == (5.5, first)
    assert second.standing_market == kept.market
    assert not first.HasField("standing_market")
    for minutes in (17, 24):
        await client.predict((PATTERN * 3)[:minutes], **OF_GAME)
    assert (await quoted(5.5, -110, 17)).recording == MARKET_RECORDING_FORECAST_LATE
    assert (await quoted(5.5, -110, 18)).recording == MARKET_RECORDING_RECORDED
    await client.report_outcome(OF_GAME["game_id"], 11, horizon=FINAL, **NAMED)
    assert (await quoted(5.5, -110, 24)).recording == MARKET_RECORDING_OUTCOME_KNOWN
    assert (await quoted(6.5, -110, 18)).recording == MARKET_RECORDING_EARLIER_STANDS
    listed = [each async for each in client.list_predictions(game_id=OF_GAME["game_id"])]
    assert [each.forecast.elapsed_minutes for each in listed if each.markets] == [18]
