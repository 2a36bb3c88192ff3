"""Pages of forecasts: contents, order, and consistency while forecasts and outcomes are recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.builders.record_book import EVENING, RecordBook, forecast, new_book
from tests.support.harness.laws import examples

from dejavu_common.clock import game_day
from dejavu_feed.game_ids import is_replay
from dejavu_ledger.database import store
from dejavu_ledger.queries import pages, predictions
from dejavu_ledger.queries.pages import ForecastFilter, InvalidPageToken, Page
from dejavu_ledger.records import IssuedForecast, RecordedForecast
from dejavu_models.types import Horizon

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
GAMES = ("0022500001", "0022500002", "0022500003", "9900000001")
TEAMS = {GAMES[0]: ("BOS", "NYK"), GAMES[1]: ("LAL", "BOS"), GAMES[2]: ("MIA", "DEN"), GAMES[3]: ("NYK", "MIA")}
TODAY = game_day(EVENING).toordinal()


def turn(book: RecordBook, wanted: ForecastFilter, token: str = "", size: int = 50) -> Page:
    return book.read(lambda connection: pages.page(connection, wanted, token, size))


def walk(
    book: RecordBook, wanted: ForecastFilter, size: int, meanwhile: Callable[[], object] = lambda: None
) -> list[RecordedForecast]:
    """Read all pages; call `meanwhile` before each page but the first."""
    told, token = [], ""
    while True:
        page = turn(book, wanted, token, size)
        assert len(page.forecasts) <= size
        assert re.fullmatch(r"[\w-]*", page.next_token, re.ASCII), "safe in a URL"
        told += page.forecasts
        if not page.next_token:
            return told
        token = page.next_token
        meanwhile()


def places(told: list[RecordedForecast]) -> list[int]:
    return [each.issued.sequence for each in told]


def fill(book: RecordBook, count: int) -> None:
    book.predict(*(forecast(GAMES[0], minute=1 + n % 23, model_version=f"v{n // 23}") for n in range(count)))


# Events of a ledger: a forecast, possibly a revision of another, or an outcome.
_FORECASTS = st.builds(
    lambda game, minute, horizon, lead, model, probability, days: forecast(
        game,
        minute=minute,
        horizon=horizon,
        lead=lead,
        model_version=model,
        probability=probability,
        home_team=TEAMS[game][0],
        away_team=TEAMS[game][1],
        generated_time=EVENING + timedelta(days=days),
    ),
    st.sampled_from(GAMES),
    st.integers(1, 3),
    st.sampled_from(Horizon),
    st.sampled_from((0.0, 1.0)),
    st.sampled_from(("v1", "v2")),
    st.sampled_from((0.1, 0.5, 0.75)),
    st.integers(-2, 2),
)
_OUTCOMES = st.tuples(st.sampled_from(GAMES), st.sampled_from(Horizon), st.sampled_from((-4, 7)))
_EVENTS = st.lists(st.one_of(_FORECASTS, _FORECASTS, _FORECASTS, _OUTCOMES), min_size=1, max_size=40)

_DAYS = st.none() | st.integers(TODAY - 2, TODAY + 2)
_FILTERS = st.builds(
    ForecastFilter,
    game_id=st.sampled_from(("", "", "", *GAMES)),
    horizon=st.none() | st.sampled_from(Horizon),
    first_day=_DAYS,
    last_day=_DAYS,
    team=st.sampled_from(("", "", "BOS", "MIA")),
    min_confidence=st.none() | st.sampled_from((0.5, 0.7, 0.95)),
    settled=st.none() | st.booleans(),
    model_version=st.sampled_from(("", "", "v1")),
    minute=st.none() | st.integers(1, 3),
    superseded=st.booleans(),
    replays=st.booleans(),
)


def happen(book: RecordBook, event: IssuedForecast | tuple[str, Horizon, int]) -> None:
    if isinstance(event, IssuedForecast):
        book.predict(event)
    else:
        book.report(*event, teams=TEAMS[event[0]])


def expected(everything: list[RecordedForecast], wanted: ForecastFilter) -> list[int]:
    """Return the sequences that match a filter, in order, computed from the forecasts themselves."""

    def wants(each: RecordedForecast) -> bool:
        issued, told = each.issued, each.issued.forecast
        day = game_day(issued.generated_time).toordinal()
        return (
            wanted.game_id in {"", issued.game_id}
            and wanted.horizon in {None, told.horizon}
            and (wanted.first_day is None or day >= wanted.first_day)
            and (wanted.last_day is None or day <= wanted.last_day)
            and wanted.team in {"", issued.home_team, issued.away_team}
            and max(told.home_lead_probability, 1.0 - told.home_lead_probability) >= (wanted.min_confidence or 0.0)
            and wanted.settled in {None, each.outcome is not None}
            and wanted.model_version in {"", told.model_version}
            and wanted.minute in {None, told.elapsed_minutes}
            and (wanted.superseded or not each.superseded)
            and (wanted.replays or wanted.game_id != "" or not is_replay(issued.game_id))
        )

    by_day = wanted.by_day
    found = [
        (game_day(each.issued.generated_time).toordinal() if by_day else 0, each.issued.sequence)
        for each in everything
        if wants(each)
    ]
    return [sequence for _, sequence in sorted(found, reverse=True)]


@settings(deadline=None, max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_EVENTS, after=_EVENTS, wanted=_FILTERS, size=st.integers(1, 7), looked_at=st.integers(1, 9))
def test_a_walk_tells_once_and_in_order_just_what_matched_when_it_began_whatever_arrives_meanwhile(
    before: list[Any],
    after: list[Any],
    wanted: ForecastFilter,
    size: int,
    looked_at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "MAX_ROWS_SCANNED", looked_at)
    arriving = iter(after)
    with new_book() as book:
        for event in before:
            happen(book, event)
        head = book.read(store.head).sequence
        everything = book.read(lambda connection: predictions.forecasts_at(connection, range(1, head + 1)))

        def meanwhile() -> None:
            for event, _ in zip(arriving, range(2), strict=False):
                happen(book, event)

        told = walk(book, wanted, size, meanwhile)
    assert places(told) == expected(everything, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        ForecastFilter(min_confidence=0.99),
        ForecastFilter(min_confidence=0.99, team="BKN"),
        ForecastFilter(min_confidence=0.99, game_id=GAMES[0]),
    ],
    ids=["everything", "a team", "a game"],
)
def test_a_page_looks_at_few_forecasts_and_says_where_to_go_on(
    book: RecordBook, wanted: ForecastFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_ROWS_SCANNED", 20 if wanted.team else 5)
    book.predict(*(forecast(GAMES[0], minute=minute, model_version="v1") for minute in range(1, 20)))
    count, token = 0, ""
    while token or not count:
        page = turn(book, wanted, token)
        assert page.forecasts == []
        token, count = page.next_token, count + 1
    assert count == 4


def test_a_token_of_other_conditions_is_refused_by_name(book: RecordBook) -> None:
    fill(book, 10)
    token = turn(book, ForecastFilter(), size=3).next_token
    with pytest.raises(InvalidPageToken, match="other conditions") as caught:
        turn(book, ForecastFilter(team="BOS"), token)
    assert (caught.value.field, caught.value.reason) == ("page_token", "INVALID_PAGE_TOKEN")


@pytest.mark.parametrize("column", ["ledger_id", "epoch"])
def test_a_token_of_another_ledger_or_epoch_is_refused(book: RecordBook, column: str) -> None:
    fill(book, 10)
    token = turn(book, ForecastFilter(), size=3).next_token
    book.run(f"UPDATE ledger SET {column} = substr('{'07' * 16}', 1, length({column}))")
    with pytest.raises(InvalidPageToken, match="another ledger"):
        turn(book, ForecastFilter(), token)
