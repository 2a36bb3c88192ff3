"""The date of a game in the ledger: recorded, read back, corrected, and absent from what had none."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.support.builders.issued_forecasts import issued, recorded

from dejavu_models.types import ExpectedMarginTerms, WarningReason
from dejavu_server.ledger import Ledger, verify
from dejavu_server.ledger.entries import codec
from dejavu_server.records import IssuedForecast

GAME_DATE = date(2023, 11, 1)
ADDED = {"game_date", "ratings_date", "finals_since", "warnings", "outdated_teams", "expected_margin_terms"}


def dated(day: date | None, **fields: object) -> IssuedForecast:
    return replace(issued(**fields), game_date=day)  # type: ignore[arg-type]


def rated(**changes: object) -> IssuedForecast:
    given = dated(GAME_DATE)
    return replace(given, forecast=replace(given.forecast, ratings_date=date(2023, 6, 12), **changes))  # type: ignore[arg-type]


def entry(forecast: IssuedForecast) -> str:
    return codec.encode_entry(codec.FORECAST, codec.prepare(forecast).payload, 0, 1)


def test_the_date_the_ratings_and_the_warnings_are_recorded_and_read_back() -> None:
    for given in (
        rated(),
        rated(finals_since=7, warnings=(WarningReason.RATINGS_OUTDATED, WarningReason.MODEL_UNFIT)),
        rated(warnings=(WarningReason.RATINGS_AHEAD,)),
        rated(warnings=(WarningReason.RATINGS_OUTDATED,), outdated_teams=("WAS", "OKC")),
        rated(expected_margin_terms=ExpectedMarginTerms(1.1, 2.7, -1.3, 0.4, 0.9, schedule_known=True)),
    ):
        read = codec.parse(entry(given))
        assert read == replace(given, sequence=1)
        assert entry(read) == entry(given)


def test_the_form_of_a_forecast_without_them_is_that_of_earlier_releases() -> None:
    payload = json.loads(codec.prepare(issued()).payload)
    assert not ADDED & (payload["request"].keys() | payload["forecast"].keys())
    read = codec.parse(entry(issued()))
    assert (read.game_date, read.forecast.ratings_date, read.forecast.finals_since) == (None, None, 0)
    assert read.forecast.warnings == ()


def test_without_a_date_the_day_of_the_game_is_the_day_of_the_forecast() -> None:
    """In New York, where a day of games ends at 6 or 7 in the morning."""
    late_evening = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
    assert issued(generated_time=late_evening).day == date(2026, 11, 21)
    assert issued(generated_time=late_evening + timedelta(hours=8)).day == date(2026, 11, 22)
    assert replace(issued(generated_time=late_evening), game_date=GAME_DATE).day == GAME_DATE


@pytest.mark.parametrize("first", [None, GAME_DATE])
async def test_a_retry_without_the_date_or_with_the_same_is_no_correction(ledger: Ledger, first: date | None) -> None:
    made = datetime(2023, 11, 2, 1, tzinfo=UTC)  # an evening of GAME_DATE in New York
    [stored] = await recorded(ledger, dated(first, generated_time=made))
    assert await recorded(ledger, dated(GAME_DATE)) == [stored]
    assert await recorded(ledger, dated(None)) == [stored]


async def test_a_wrong_date_is_corrected_by_the_right_one(ledger: Ledger, url: str) -> None:
    made, day = datetime(2023, 11, 2, 4, 30, tzinfo=UTC), date(2023, 11, 1)
    [first] = await recorded(ledger, dated(date(2023, 11, 2), generated_time=made))
    [second] = await recorded(ledger, dated(day, generated_time=made))
    assert [(each.revision, each.day) for each in (first, second)] == [(0, date(2023, 11, 2)), (1, day)]
    assert await recorded(ledger, dated(None, generated_time=made)) == [second]
    assert verify(url).forecasts == 2


async def test_another_date_is_a_correction_and_the_ledger_stays_sound(ledger: Ledger, url: str) -> None:
    [first] = await recorded(ledger, dated(GAME_DATE))
    [second] = await recorded(ledger, dated(GAME_DATE + timedelta(days=1)))
    assert [each.revision for each in (first, second)] == [0, 1]
    assert await recorded(ledger, dated(GAME_DATE + timedelta(days=1))) == [second]
    [third] = await recorded(ledger, dated(GAME_DATE))
    assert third.revision == 2
    verification = verify(url)
    assert verification.forecasts == 3
