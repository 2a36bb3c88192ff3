"""A quote never contradicts the recorded forecast that it is sent with, or says why it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.learning import learned
from tests.support.processes.empty_ledger import ledger_url

from dejavu.v1 import forecast_pb2
from dejavu.v1.market_pb2 import (
    MARKET_RECORDING_NO_PRICES,
    MARKET_RECORDING_RECORDED,
    MARKET_SIDE_UNSPECIFIED,
    Staking,
)
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient, Moment
from dejavu_client.requests import market, total_market
from dejavu_common.clock import game_day, utc_now
from dejavu_ledger import verify

ODDS = market(0, -450, 350, bankroll=1000.0)
"""On the winner: the home team, which leads by 11, is the favorite."""


async def test_a_quote_weighed_by_newer_ratings_says_so_with_both_probabilities(
    client: AsyncDejavuClient, tmp_path: Path
) -> None:
    of_game: Any = {"game_id": current_game(9), "horizon": FINAL, "home_team": "BOS", "away_team": "LAL"}
    recorded = await client.predict(PATTERN, **of_game)
    assert not recorded.HasField("expected_margin")
    await learned(client, current_game(1), 30, home_team="BOS", away_team="LAL")
    answer = await client.quote(PATTERN, ODDS, **of_game)
    assert answer.forecast == recorded
    little_known, warning = answer.markets[0].warnings
    assert little_known.reason == forecast_pb2.WARNING_REASON_TEAM_LITTLE_KNOWN
    assert warning.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
    wins = answer.markets[0].above.win_probability
    assert abs(wins - recorded.home_lead_probability) > 0.01
    assert f"gives {100 * recorded.home_lead_probability:.1f} % that BOS wins" in warning.text
    assert f"compared with this market {100 * wins:.1f} %" in warning.text
    assert verify(ledger_url(tmp_path)).markets == 1


async def test_what_newer_ratings_give_for_a_recorded_forecast_says_so(client: AsyncDejavuClient) -> None:
    """Formerly, quantiles and a bet on the total contradicted the forecast beside them without a word."""
    of_game: Any = {"game_id": current_game(9), "horizon": FINAL, "home_team": "BOS", "away_team": "LAL"}
    of_game |= {"total_points": 105}
    recorded = await client.predict(PATTERN, **of_game)
    before = {each.reason for each in recorded.warnings}
    assert recorded.HasField("total")
    assert forecast_pb2.WARNING_REASON_RECOMPUTED not in before
    await learned(client, current_game(1), 30, home_team="BOS", away_team="LAL", total_points=300)
    over = total_market(round(recorded.total.point_forecast) + 0.5, 1.95, 1.95)
    answer = await client.quote(PATTERN, over, quantile_levels=[0.5], **of_game)
    of_quantiles, of_total_quantiles = (
        each.text for each in answer.forecast.warnings if each.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
    )
    [of_market] = (
        each.text for each in answer.markets[0].warnings if each.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
    )
    assert f"the recorded forecast is {recorded.point_forecast:+.1f}, the one that gives the quantiles" in of_quantiles
    for text in (of_total_quantiles, of_market):
        assert f"the recorded forecast of the total is {recorded.total.point_forecast:.1f}, the one " in text
        assert text.endswith(": in between, the model has learned from outcomes")
    again = await client.predict(PATTERN, **of_game)
    assert again == recorded, "without quantiles and odds nothing is computed again"


BLIND = market(0, -500, 400, bankroll=1000.0)
"""On the winner, with an edge for the away team of a few points if both teams are expected to be equal."""
NAMELESS = market(0, -320, 310, bankroll=1000.0)
"""On the winner, with an edge for the home team of a few points."""
NAMED: Any = {"home_team": "BOS", "away_team": "LAL"}


OVER = total_market(210.5, 1.95, 1.95)
OUTDATED, UNKNOWN = forecast_pb2.WARNING_REASON_RATINGS_OUTDATED, forecast_pb2.WARNING_REASON_TEAMS_UNKNOWN


async def test_without_the_ratings_of_the_teams_there_is_no_stake(client: AsyncDejavuClient) -> None:
    """Formerly, outdated ratings that were not used, or teams that were not named, still gave a stake."""
    cases: tuple[tuple[Any, ...], ...] = (
        (BLIND, NAMED, {}, OUTDATED, ""),
        (NAMELESS, {}, {}, UNKNOWN, "does not name both teams"),
        # The points need the ratings of totals, whatever the margin.
        (OVER, NAMED, {"pregame_margin": 2.0}, OUTDATED, "the ratings of total points end too long before this game"),
        (OVER, {}, {"pregame_margin": 2.0}, UNKNOWN, "the odds include how much they score"),
    )
    for odds, teams, given, reason, told in cases:
        answer = await client.quote(PATTERN, odds, horizon=FINAL, total_points=105, **teams, **given)
        [quoted] = answer.markets
        assert (quoted.side, quoted.stake) == (MARKET_SIDE_UNSPECIFIED, 0.0)
        assert [side.kelly_fraction for side in (quoted.above, quoted.below)] == [0.0, 0.0]
        warning = quoted.warnings[0]
        assert warning.reason == reason
        assert told in warning.text
        assert warning.text.endswith("; no stake")
    for odds, margin, teams in ((BLIND, 0.0, NAMED), (NAMELESS, 4.0, {})):
        [known] = (await client.quote(PATTERN, odds, horizon=FINAL, pregame_margin=margin, **teams)).markets
        assert known.stake > 0
        assert not known.warnings


@pytest.mark.parametrize(("game_date", "recorded"), [("", 1), ("1999-01-05", 0)], ids=["today", "past"])
async def test_a_market_without_a_stake_is_recorded_unless_its_forecast_is_late(
    client: AsyncDejavuClient, tmp_path: Path, game_date: str, recorded: int
) -> None:
    game_date = game_date or game_day(utc_now()).isoformat()
    season = f"{(int(game_date[:4]) - (game_date[5:7] < '08')) % 100:02d}"
    asked: Any = {**NAMED, "game_id": f"002{season}00321", "game_date": game_date, "horizon": FINAL}
    answer = await client.quote(PATTERN, BLIND, **asked)
    assert (answer.markets[0].side, answer.markets[0].stake) == (MARKET_SIDE_UNSPECIFIED, 0.0)
    [warning], [of_forecast] = answer.markets[0].warnings, answer.forecast.warnings
    assert (warning.reason, warning.text) == (of_forecast.reason, f"{of_forecast.text}; no stake")
    [listed] = [each async for each in client.list_predictions()]
    assert not recorded or listed.markets[0].answer == answer.markets[0]
    assert verify(ledger_url(tmp_path)).markets == recorded


@pytest.mark.parametrize(
    ("horizon", "moment", "is_late"),
    [
        (FINAL, Moment(2, 200.0, 11), False),
        (FINAL, Moment(4, 241.0, 11), False),
        (FINAL, Moment(4, 239.0, 11), True),
        (FINAL, Moment(4, 30.0, 3), True),
        (FINAL, Moment(5, 100.0, 3), True),
        (HALFTIME, Moment(2, 121.0, 11), False),
        (HALFTIME, Moment(2, 30.0, 11), True),
    ],
)
async def test_a_market_at_any_moment_is_recorded_and_verified(
    client: AsyncDejavuClient, tmp_path: Path, horizon: Any, moment: Moment, is_late: bool
) -> None:
    """Formerly, one price at a late moment made the ledger invalid for ever, and ended its backups."""
    of_game: Any = {"game_id": current_game(9), "home_team": "BOS", "away_team": "LAL", "pregame_margin": 0.0}
    pattern = [float(moment.differential)] * moment.slots
    answer = await client.quote(pattern, market(9.5, 1.9, 1.95), horizon=horizon, moment=moment, **of_game)
    assert answer.markets[0].recording == MARKET_RECORDING_RECORDED
    late = [each for each in answer.markets[0].warnings if each.reason == forecast_pb2.WARNING_REASON_LATE_MOMENT]
    assert bool(late) == is_late
    assert verify(ledger_url(tmp_path)).markets == 1


async def test_a_line_without_prices_is_answered_and_leaves_the_record_to_prices(
    client: AsyncDejavuClient, tmp_path: Path
) -> None:
    of_game: Any = {"game_id": current_game(9), "horizon": FINAL, "pregame_margin": 4.0, **NAMED}
    [line] = (await client.quote(PATTERN, market(20.5), **of_game)).markets
    assert line.above.minimum_odds * line.above.win_probability == pytest.approx(1.0)
    assert (line.HasField("overround"), line.stake, line.recording) == (False, 0.0, MARKET_RECORDING_NO_PRICES)
    [priced] = (await client.quote(PATTERN, market(20.5, 2.6, 1.5, staking=Staking(game_cap=0.0)), **of_game)).markets
    assert priced.above.win_probability == line.above.win_probability
    assert (priced.recording, priced.stake, priced.staking.game_cap) == (MARKET_RECORDING_RECORDED, 0.0, 0.0)
    assert verify(ledger_url(tmp_path)).markets == 1
