"""Outcomes in the ledger: recorded once, corrected by revisions, and settling the forecasts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select
from tests.support.builders.issued_forecasts import GAME, game, issued, recorded
from tests.support.builders.outcomes import MARKET, answered, asked, outcome

from dejavu_models.betting import MarketSide, StakingPolicy, evaluate_market
from dejavu_models.errors import InvalidTeam
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_server.ledger import Ledger, LedgerUnavailable, verify
from dejavu_server.ledger.database.schema import entries, forecasts, markets
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.entries.settlement import Bet, settle
from dejavu_server.ledger.queries import learning, predictions
from dejavu_server.records import IssuedForecast, MarketRecording, RecordedForecast

DISTRIBUTION = tuple(round(30 * level - 15, 3) for level in DISTRIBUTION_LEVELS)


def with_distribution(forecast: IssuedForecast) -> IssuedForecast:
    return replace(forecast, forecast=replace(forecast.forecast, distribution=DISTRIBUTION))


async def settled(ledger: Ledger) -> list[RecordedForecast]:
    """Returns the forecasts that have an outcome, in order."""

    def read(connection: Connection) -> list[RecordedForecast]:
        sequences = connection.execute(select(forecasts.c.sequence).order_by(forecasts.c.sequence)).scalars().all()
        return predictions.forecasts_at(connection, sequences)

    return [each for each in await ledger.read(read) if each.settlement is not None]


async def test_an_outcome_gets_the_next_place_and_the_time_it_was_taken(ledger: Ledger) -> None:
    await ledger.commit([issued(game(2))])
    before = datetime.now(UTC)
    told = outcome(3, observed_time=before - timedelta(minutes=2))
    stored, count = await ledger.record_outcome(told)
    assert before <= stored.recorded_time <= datetime.now(UTC)
    assert stored == replace(told, sequence=2, revision=0, recorded_time=stored.recorded_time)
    assert count == 0
    assert (await ledger.read_after(1, 10)) == [stored]


async def test_it_settles_every_forecast_of_its_game_and_horizon(ledger: Ledger) -> None:
    stored = await recorded(
        ledger,
        with_distribution(issued(pattern=(1.0, 2.0))),
        with_distribution(issued(pattern=(1.0, 4.0))),
        issued(bare=True, alpha=0.1),
        issued(horizon=Horizon.FINAL),
        issued(game(2)),
    )
    told, count = await ledger.record_outcome(outcome(-3))
    assert count == 3
    expected = [
        RecordedForecast(
            one,
            superseded=superseded,
            outcome=told,
            settlement=settle(one, told),
            first_outcome_sequence=told.sequence,
        )
        for one, superseded in zip(stored, (True, False, False), strict=False)
    ]
    assert await settled(ledger) == expected


async def test_reported_again_it_stands_as_it_was(ledger: Ledger) -> None:
    await ledger.commit([issued()])
    first = await ledger.record_outcome(outcome(3))
    assert await ledger.record_outcome(outcome(3)) == first
    assert await ledger.record_outcome(outcome(3, home_team="", away_team="")) == first
    assert await ledger.head() == 2


async def test_overtimes_stay_with_the_differential_that_had_them_and_alone_change_nothing(ledger: Ledger) -> None:
    told = replace(outcome(3, horizon=Horizon.FINAL), overtimes=2)
    first, _ = await ledger.record_outcome(told)
    assert first.overtimes == 2
    for again in (replace(told, overtimes=None), replace(told, overtimes=1)):
        assert await ledger.record_outcome(again) == (first, 0)
    totals, _ = await ledger.record_outcome(replace(told, overtimes=None, total_points=221))
    assert (totals.revision, totals.overtimes) == (1, 2)
    corrected, _ = await ledger.record_outcome(replace(told, differential=4, overtimes=None))
    assert (corrected.revision, corrected.overtimes) == (2, None)


async def test_a_corrected_outcome_is_a_revision_also_when_corrected_back_and_settles_anew(ledger: Ledger) -> None:
    await ledger.commit([issued(point=1.0), issued(alpha=0.1, point=2.0)])
    told = [await ledger.record_outcome(outcome(differential)) for differential in (3, 5, 5, 3)]
    assert [(stored.sequence, stored.revision, count) for stored, count in told] == [
        (3, 0, 2),
        (4, 1, 2),
        (4, 1, 2),
        (5, 2, 2),
    ]
    found = [each.settlement for each in await settled(ledger)]
    assert [(each.outcome_sequence, each.error) for each in found if each] == [(5, -2.0), (5, -1.0)]
    assert [entry.sequence for entry in await ledger.read_after(2, 10)] == [3, 4, 5]


async def test_teams_that_come_later_are_a_revision_and_a_correction_without_them_keeps_them(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(3, home_team="", away_team=""))
    with_teams, _ = await ledger.record_outcome(outcome(3))
    assert (with_teams.revision, with_teams.home_team, with_teams.away_team) == (1, "BKN", "GSW")
    corrected, _ = await ledger.record_outcome(outcome(4, home_team="", away_team=""))
    assert (corrected.revision, corrected.home_team, corrected.away_team) == (2, "BKN", "GSW")


async def test_a_correction_drops_what_was_learned_from_it(ledger: Ledger) -> None:
    first, _ = await ledger.record_outcome(outcome(3))
    second, _ = await ledger.record_outcome(outcome(3, game(2)))
    for place in (first.sequence, second.sequence):
        await ledger.write(partial(learning.write_snapshot, part="p", sequence=place, state=b"s", read_at=9))
    await ledger.record_outcome(outcome(4, game(2)))

    def snapshots(connection: Connection) -> list[int]:
        return [row[0] for row in connection.exec_driver_sql("SELECT sequence FROM snapshots")]

    assert await ledger.read(snapshots) == [first.sequence]


async def test_two_who_report_at_once_make_one_outcome(ledger: Ledger, url: str) -> None:
    other = await Ledger.open(url)
    await ledger.commit([issued()])
    told = await asyncio.gather(*(each.record_outcome(outcome(3)) for each in (ledger, other) for _ in range(10)))
    assert {(stored.sequence, stored.revision, count) for stored, count in told} == {(2, 0, 1)}
    assert await other.head() == 2
    await other.close()


async def test_reports_and_forecasts_that_wait_together_keep_their_order(ledger: Ledger) -> None:
    first, (half, halves), late, (third, thirds) = await asyncio.gather(
        recorded(ledger, issued(game(1)), issued(game(2))),
        ledger.record_outcome(outcome(3, game(1))),
        ledger.commit([issued(game(1), alpha=0.1), issued(game(3))]),
        ledger.record_outcome(outcome(3, game(3))),
    )
    assert [stored.sequence for stored in first] == [1, 2]
    assert (half.sequence, halves) == (3, 1)
    assert [getattr(answer, "sequence", None) for answer in late] == [None, 4]
    assert (third.sequence, thirds) == (5, 1)


@pytest.mark.parametrize("unfit", [outcome(3, ""), outcome(0, horizon=Horizon.FINAL)], ids=["no game", "level"])
async def test_what_is_no_outcome_is_refused(ledger: Ledger, unfit: Any) -> None:
    with pytest.raises(ValueError):
        await ledger.record_outcome(unfit)
    assert await ledger.head() == 0


async def test_a_report_that_fails_leaves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    await ledger.commit([issued()])

    def failing(*_: object) -> int:
        raise RuntimeError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(rows, "outcome_row", failing)
        with pytest.raises(LedgerUnavailable, match="could not be written"):
            await ledger.record_outcome(outcome(3))
    assert await ledger.head() == 1
    assert (await ledger.record_outcome(outcome(3)))[0].sequence == 2


async def test_the_first_market_of_a_forecast_is_recorded_and_settled(ledger: Ledger, url: str) -> None:
    plain = issued()
    less, more, nothing = (
        evaluate_market(
            MARKET,
            lambda _: 0.6,
            StakingPolicy(model_share=1.0, kelly_fraction=1.0, game_cap=share, evening_cap=1.0),
        )
        for share in (0.1, 0.15, 0.0)
    )
    await ledger.commit([plain, asked(issued(alpha=0.1), less), asked(issued(alpha=0.1), more)])
    assert await ledger.head() == 3, "two forecasts, and a market of one"
    await ledger.commit([asked(plain, more)])
    await ledger.commit([asked(plain, less), plain, asked(issued(alpha=0.2), nothing)])
    assert await ledger.head() == 6

    def recorded_markets(connection: Connection) -> list[tuple[int, Bet]]:
        found = connection.execute(
            select(entries.c.canonical).where(entries.c.kind == codec.MARKET).order_by(entries.c.sequence)
        )
        parsed = [codec.parse_market(text) for text in found.scalars()]
        assert [market for _, market, _ in parsed] == [MARKET] * 3
        assert connection.execute(select(markets.c.forecast_sequence).order_by(markets.c.sequence)).scalars().all() == [
            place for place, _, _ in parsed
        ]
        return [(place, Bet.from_market(market, answer)) for place, market, answer in parsed]

    assert await ledger.read(recorded_markets) == [
        (2, Bet.from_market(MARKET, less)),
        (1, Bet.from_market(MARKET, more)),
        (5, Bet.from_market(MARKET, nothing)),
    ]
    await ledger.record_outcome(outcome(3))
    assert [each.settlement and each.settlement.market_profit for each in await settled(ledger)] == [
        pytest.approx(0.135),
        pytest.approx(0.09),
        0.0,
    ]
    assert verify(url).entries == 7


async def test_a_market_evaluated_after_the_model_has_learned_is_recorded_and_says_so(ledger: Ledger) -> None:
    [stored] = await recorded(ledger, issued())
    updated = replace(stored.forecast, home_lead_probability=0.61, calibration_sequence=1)
    answer = answered(MarketSide.HOME, stake_fraction=0.1)
    [again] = await recorded(ledger, asked(replace(issued(), forecast=updated), answer))
    assert again == replace(stored, market_recording=MarketRecording.RECORDED)
    assert await ledger.head() == 2
    texts = await ledger.read(
        lambda connection: connection.exec_driver_sql("SELECT canonical FROM entries").scalars().all()
    )
    assert [codec.market_circumstances(text)[0] for text in texts[1:]] == [1]


async def test_a_market_asked_about_when_the_outcome_is_known_is_answered_and_not_recorded(ledger: Ledger) -> None:
    [stored] = await recorded(ledger, issued())
    await ledger.record_outcome(outcome(3))
    [again] = await recorded(ledger, asked(issued(), answered(MarketSide.HOME, stake_fraction=0.1)))
    assert again == replace(stored, market_recording=MarketRecording.OUTCOME_KNOWN)
    assert await ledger.head() == 2


async def test_a_market_belongs_to_the_revision_that_it_was_asked_about_with(ledger: Ledger) -> None:
    bet = answered(MarketSide.HOME, stake_fraction=0.1)
    await ledger.commit([asked(issued(pattern=(1.0,)), bet)])
    await ledger.commit([asked(issued(pattern=(2.0,)), bet)])
    await ledger.record_outcome(outcome(3))
    found = [(each.superseded, each.market_answer) for each in await settled(ledger)]
    assert found == [(True, bet), (False, bet)]


async def test_streams_pass_over_markets(ledger: Ledger) -> None:
    [stored] = await recorded(ledger, asked(issued(), answered(None)))
    assert await ledger.read_after(0, 10) == [
        replace(stored, market=None, market_recording=None, forecast=replace(stored.forecast, market=None))
    ]
    assert (await ledger.newest(), await ledger.head()) == (1, 2)


async def test_a_game_of_a_replay_is_settled_like_others(ledger: Ledger) -> None:
    replayed = "99" + GAME[2:]
    await ledger.commit([issued(replayed)])
    assert (await ledger.record_outcome(outcome(3, replayed)))[1] == 1
    assert [each.issued.game_id for each in await settled(ledger)] == [replayed]


async def test_teams_the_other_way_round_are_refused_and_nothing_is_recorded(ledger: Ledger) -> None:
    await ledger.commit([issued(home_team="BKN", away_team="GSW")])
    with pytest.raises(InvalidTeam, match="BKN, the home team in the forecasts") as refused:
        await ledger.record_outcome(outcome(-3, home_team="GSW", away_team="BKN"))
    assert refused.value.field == "home_team"
    assert await ledger.head() == 1
    told, settled = await ledger.record_outcome(outcome(3))
    assert (told.sequence, settled) == (2, 1)
