"""Prices of a file beside forecasts: only those offered when a forecast is made, and never at the cost of one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.evenings import Asked, Evening, StoringPredictor, Watch, game, watching

from dejavu.v1.forecast_pb2 import WARNING_REASON_IMPLAUSIBLE_DIFFERENCE
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL
from dejavu.v1.prediction_service_pb2 import PredictError, PredictRequest
from dejavu_cli.output.poll_events import event_record
from dejavu_client import FINAL, HALFTIME
from dejavu_poller.events import Fault, Prediction, PricesTaken
from dejavu_poller.prices import OLDEST, PriceFile

HEADER = "game_id,home,away,market,line,home_odds,away_odds,over_odds,under_odds,time,last"
MINUTE_SIX = 361


def write(evening: Evening, path: Path, *rows: str, elapsed: float = MINUTE_SIX) -> PriceFile:
    """Write a file for half a second after `elapsed`.

    In a row, {now} is this time, {before} one before the newest play, {old} one too old, {new} one ahead of the clock.
    """
    evening.go_to(elapsed)
    seconds = {"now": 0, "before": -1, "old": -OLDEST.total_seconds() - 1, "new": 60}
    times = {name: (evening.clock.now + timedelta(seconds=each)).isoformat() for name, each in seconds.items()}
    path.write_text("\n".join([HEADER, *(row.format(**times, id=evening.ids[0]) for row in rows)]) + "\n")
    return PriceFile(evening.clock, path)


@asynccontextmanager
async def priced(folder: Path, *rows: str, **options: Any) -> AsyncIterator[Watch]:
    """Yield a poller that has read the prices for minute 6."""
    evening = Evening([game()])
    async with watching(evening, prices=write(evening, folder / "prices.csv", *rows), **options) as watch:
        await watch.at(MINUTE_SIX)
        yield watch


def of_minute_six(asked: Sequence[Asked]) -> PredictRequest:
    [request] = [each.request for each in asked if (each.horizon, each.minute) == (FINAL, 6)]
    return request


SPREAD = ",BOS,LAL,spread,-5.5,-110,-105,,,{now}"
WINNER = ",BOS,LAL,moneyline,,-220,+180,,,{now}"
TOTAL = ",BOS,LAL,total,221.5,,,1.91,1.95,{now}"
TRADE = ",BOS,LAL,moneyline,,,,,,{now},0.01"


@pytest.mark.parametrize(
    ("rows", "line", "total", "fault"),
    [
        ([SPREAD, TOTAL], 5.5, 221.5, ""),
        ([WINNER, SPREAD], 0.0, None, ""),  # equally new: the first
        ([SPREAD, ",BOS,LAL,spread,-9.5,-110,-105,,,{old}"], 5.5, None, ""),
        ([SPREAD.replace("now", "old"), TOTAL], None, 221.5, ""),
        ([SPREAD.replace("now", "before"), TOTAL], None, 221.5, ""),
        ([SPREAD.replace("now", "before")], None, None, ""),  # it does not know the newest play
        ([SPREAD.replace("now", "old")], None, None, "the newest price of LAL @ BOS is older than 10 s"),
        ([SPREAD.replace("now", "new")], None, None, "is ahead of this machine's clock"),
        ([",LAL,BOS,spread,-5.5,-110,-105,,,{now}"], None, None, "row 2 of the prices is not of LAL @ BOS"),
        (["{id},BOS,MIA,spread,-5.5,-110,-105,,,{now}"], None, None, "row 2 of the prices is not of LAL @ BOS"),
        ([",DEN,MIA,spread,-5.5,-110,-105,,,{now}"], None, None, ""),
        ([SPREAD, TOTAL, SPREAD.replace("-110", "-120")], None, None, "line 4: line 2 has the same market at the same"),
        ([SPREAD.replace("-5.5", "-5.25")], None, None, "line 2: line: -5.25; expected a multiple of 0.5"),
        ([TOTAL.replace("221.5", "501")], None, None, "line 2: line: 501; expected a multiple of 0.5 from 0 to 500"),
        ([WINNER.replace("-220", "-9999999999")], None, None, "line 2: home_odds: -9999999999; expected decimal odds"),
        ([WINNER.replace("+180", "+99990")], None, None, "line 2: away_odds: +99990"),
        ([SPREAD.replace("{now}", "2026-11-28 01:00")], None, None, "expected a time with its zone"),
        ([TRADE.replace("{now}", "")], None, None, "line 2: last: expected a time, and no odds in the same row"),
        ([f"{SPREAD},0.5"], None, None, "line 2: last: expected a time, and no odds in the same row"),
        ([TRADE.replace("0.01", "1")], None, None, "line 2: last: 1; expected a share"),
    ],
)
async def test_only_current_prices_of_the_game_itself_are_sent(
    tmp_path: Path, rows: Sequence[str], line: float | None, total: float | None, fault: str
) -> None:
    async with priced(tmp_path, *rows) as watch:
        faults = [event.reason for event in watch.told(Fault)]
    request = of_minute_six(watch.predictor.asked)
    lines = {each.kind: each.line for each in request.markets}
    assert (lines.get(MARKET_KIND_LEAD), lines.get(MARKET_KIND_TOTAL)) == (line, total)
    assert [fault in each for each in faults] == [True] * bool(fault)


@pytest.mark.parametrize(("ahead", "used"), [(0.0, False), (1.5, False), (60.0, True)])
async def test_a_clock_that_is_a_little_behind_takes_no_price_from_before_the_newest_play(
    tmp_path: Path, ahead: float, used: bool
) -> None:
    evening = Evening([game()])
    prices = write(evening, tmp_path / "prices.csv", SPREAD.replace("now", "before"))
    found = await prices.of(evening.game(evening.ids[0]), evening.clock.now + timedelta(seconds=ahead))
    assert (found.lead is not None) is used


async def test_an_exchange_s_last_trade_is_sent_with_its_time(tmp_path: Path) -> None:
    """A price of 100 in place of 1 would be American odds."""
    async with priced(tmp_path, TRADE) as watch:
        [sent] = of_minute_six(watch.predictor.asked).markets
    assert timedelta(0) <= watch.evening.clock.now - sent.traded_time.ToDatetime(UTC) < timedelta(seconds=2)
    assert 1 / sent.above.decimal == pytest.approx(0.01)
    assert 1 / sent.below.decimal == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("code", "reason", "kept"),
    [(9, "MODEL_UNSUITED", False), (3, "INVALID_MARKET", False), (9, "UNSUPPORTED_TOTALS", True)],
)
async def test_a_forecast_that_is_refused_with_prices_is_made_without_and_that_is_shown(
    tmp_path: Path, code: int, reason: str, kept: bool
) -> None:
    """A model that forecasts no totals refuses those only."""
    predictor = StoringPredictor()
    predictor.refusals = [PredictError(code=code, reason=reason, message="markets[1]: no")]
    async with priced(tmp_path, SPREAD, TOTAL, predictor=predictor, horizons=(FINAL,)) as watch:
        assert len(watch.told(Prediction)) == 1
        [fault] = watch.told(Fault)
        assert len(watch.told(PricesTaken)) == kept
    assert fault.reason.startswith("LAL @ BOS: refused: markets[1]: no")
    first, second = predictor.asked
    assert [each.kind for each in first.markets] == [MARKET_KIND_LEAD, MARKET_KIND_TOTAL]
    assert [each.kind for each in second.markets] == [MARKET_KIND_LEAD] * kept


async def test_prices_far_from_the_model_are_shown_once_a_game(tmp_path: Path) -> None:
    """Formerly, exchanged prices were recorded all evening without a word."""
    predictor = StoringPredictor()
    predictor.market.warnings.add(
        reason=WARNING_REASON_IMPLAUSIBLE_DIFFERENCE, text="check that the two prices are not swapped"
    )
    async with priced(tmp_path, SPREAD, predictor=predictor) as watch:
        write(watch.evening, tmp_path / "prices.csv", SPREAD, elapsed=421)
        await watch.turn()
        [fault] = watch.told(Fault)
    assert fault.reason == "LAL @ BOS: check that the two prices are not swapped"
    assert sum(len(each.markets) for each in predictor.asked) == 2


async def test_they_are_sent_as_printed_and_for_the_end_only(tmp_path: Path) -> None:
    async with priced(tmp_path, SPREAD, TOTAL) as watch:
        [event] = watch.told(PricesTaken)
    lead, total = of_minute_six(watch.predictor.asked).markets
    assert (lead.above.american, lead.below.american) == (-110, -105)
    assert (total.above.decimal, total.below.decimal) == (1.91, 1.95)
    assert not lead.HasField("bankroll")
    [of_half] = [each for each in watch.predictor.asked if each.horizon == HALFTIME]
    assert not of_half.markets
    record = event_record(event, watch.evening.clock.now)
    assert [(each["kind"], each["line"], each["first"]) for each in record["prices"]] == [
        ("spread", 5.5, -110.0),
        ("total", 221.5, 1.91),
    ]


async def test_a_file_that_is_rewritten_is_read_again_and_without_times_its_own_counts(tmp_path: Path) -> None:
    evening, path = Evening([game()]), tmp_path / "prices.csv"
    async with watching(evening, prices=PriceFile(evening.clock, path)) as watch:
        await watch.at(MINUTE_SIX)  # no file yet
        for minute, line in ((7, -3.5), (8, -4.5)):
            path.write_text(f"home,away,market,line,home_odds,away_odds\nBOS,LAL,spread,{line},-110,-110\n")
            evening.go_to(60 * minute + 1)
            os.utime(path, (evening.clock.now.timestamp(),) * 2)
            await watch.turn()
        await watch.minutes(9)  # nobody has written it since
        faults = [event.reason for event in watch.told(Fault)]
        assert len(watch.told(PricesTaken)) == 1
    of_end = [each for each in watch.predictor.asked if each.horizon == FINAL]
    assert {each.minute: [market.line for market in each.markets] for each in of_end} == {
        6: [],
        7: [3.5],
        8: [4.5],
        9: [],
    }
    assert ["there is no such file" in faults[0], "is older than 10 s" in faults[1]] == [True, True]
    assert len(faults) == 2
