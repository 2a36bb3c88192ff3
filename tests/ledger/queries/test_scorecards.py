"""Settled forecasts of a scorecard: selection, and the size of reads.

Its figures are those that examples/python/recompute_scorecard.py has from the list of forecasts:
tests/examples/test_independent_checks.py.
"""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.record_book import (
    EVENING,
    RecordBook,
    forecast,
    new_book,
    with_market,
    with_total,
    with_total_market,
)

from dejavu_common.clock import game_day
from dejavu_ledger.queries import pages, scorecards
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.scorecards import TEAM_CODES, ScoreFilter, SettledByModel
from dejavu_ledger.records import LateReason, RecordedForecast
from dejavu_models.results import Failed
from dejavu_models.scorecard.settled import Exclusion
from dejavu_models.types import Horizon

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
TODAY = game_day(EVENING).toordinal()
GAMES = [f"00225{number:05d}" for number in range(12)]
REPLAY = "9900000007"


@pytest.fixture(scope="module")
def book() -> Iterator[RecordBook]:
    """Twelve games on three evenings and a replayed one; two models, revisions, markets; all but one settled."""
    rng = np.random.default_rng(11)
    with new_book() as made:
        for number, game in enumerate([*GAMES, REPLAY]):
            for minute in (6, 18, 23):
                for model in ("v1", "v2"):
                    told = forecast(
                        game,
                        minute=minute,
                        model_version=model,
                        lead=float(rng.integers(-9, 9)),
                        point=float(rng.normal(0.0, 5.0)),
                        half_width=6.0 if model == "v2" else 12.0,
                        alpha=0.3 if model == "v2" else 0.05,
                        probability=float(rng.random()),
                        home_team="BOS" if number % 2 else "BKN",
                        generated_time=EVENING + timedelta(days=number % 3),
                        distribution=minute != 6,
                    )
                    if number % 3 != 1:
                        told = with_total(told, points=int(abs(told.pattern.last)) + 4 * minute + 2 * number)
                    if minute > 6 and told.forecast.total is not None:
                        told = with_total_market(told, over=92.5 + 2 * number, stake=0.03 * (number % 3))
                    made.predict(with_market(told, stake=0.05 * (number % 2)) if minute > 6 else told)
                if (game, minute) == (GAMES[3], 18):
                    made.predict(forecast(game, minute=18, lead=-20.0))  # a revision
            made.predict(forecast(game, minute=30, horizon=FINAL))
        made.predict(forecast(GAMES[4], minute=18, lead=-20.0))  # a late one
        # Not in the order of the games; some are corrected.
        for game in [*GAMES[:0:-1], REPLAY]:
            differential = int(rng.integers(-15, 15))
            points = None if game == GAMES[6] else 92 + abs(differential) % 2 + 2 * int(game[-2:])
            made.report(game, HALF, differential, teams=("", ""), total_points=points)
        made.report(GAMES[3], HALF, 14, teams=("", ""), total_points=112)
        made.report(GAMES[2], FINAL, 3, teams=("", ""))
        yield made


def settled(book: RecordBook, wanted: ScoreFilter) -> SettledByModel:
    return book.read(lambda connection: scorecards.settled(connection, wanted))


LATE = {LateReason.LATER_MINUTE: Exclusion.LATER_MINUTE, LateReason.TIME: Exclusion.LATE_TIME}


def excluded(each: RecordedForecast) -> Exclusion:
    return LATE[each.issued.late] if each.issued.late else Exclusion(each.superseded * Exclusion.SUPERSEDED)


MINUTES = st.sampled_from([6, 18, 23])


@given(
    common=st.fixed_dictionaries(
        {"horizon": st.sampled_from([HALF, FINAL])},
        optional={
            "game_id": st.sampled_from([*GAMES[:3], REPLAY]),
            "first_day": st.integers(TODAY - 1, TODAY + 3),
            "last_day": st.integers(TODAY - 1, TODAY + 3),
            "team": st.sampled_from(["BOS", "BKN", "GSW", "LAL"]),
            "min_confidence": st.floats(0.5, 1.0),
            "model_version": st.sampled_from(["v1", "v2", "v9"]),
            "replays": st.booleans(),
        },
    ),
    minutes=st.none() | st.tuples(MINUTES, MINUTES),
)
@example(common={"horizon": HALF}, minutes=None)
@example(common={"horizon": FINAL, "replays": True}, minutes=None)
def test_a_filtered_scorecard_is_that_of_the_forecasts_listed_with_the_same_filter(
    book: RecordBook, common: dict[str, Any], minutes: tuple[int, int] | None
) -> None:
    least, most = minutes or (1, 47)
    wanted = pages.ForecastFilter(**common, settled=True, superseded=True)
    everything = book.read(lambda connection: pages.page(connection, wanted, "", 500))
    assert not everything.next_token
    listed = [each for each in everything.forecasts if least <= each.issued.forecast.elapsed_minutes <= most]
    found = settled(book, ScoreFilter(**common, min_minutes=least, max_minutes=most))
    of = found.forecasts
    versions = [found.models[place] for place in found.model]
    rows = zip(versions, of.minute, of.exclusion, of.error, of.home, of.probability, strict=True)
    assert sorted(rows) == sorted(
        (
            each.issued.forecast.model_version,
            each.issued.forecast.elapsed_minutes,
            excluded(each),
            each.settlement.error if each.settlement else None,
            TEAM_CODES[each.issued.home_team],
            each.issued.forecast.home_lead_probability,
        )
        for each in listed
    )


def test_a_ledger_without_outcomes_has_nothing_settled() -> None:
    with new_book() as empty:
        empty.predict(forecast(GAMES[0]))
        found = settled(empty, ScoreFilter())
    assert (len(found.forecasts), found.models) == (0, [])


@pytest.mark.parametrize(
    "conditions",
    [
        {"game_id": GAMES[0]},
        {"first_day": TODAY},
        {"last_day": TODAY},
        {"first_day": TODAY + 1, "last_day": TODAY + 1},
        {"team": "BOS"},
        {"model_version": "v1"},
        {},
        {"min_confidence": 0.9},
    ],
    ids=str,
)
def test_a_read_is_small_if_an_index_leads_to_few_forecasts(
    book: RecordBook, monkeypatch: pytest.MonkeyPatch, conditions: dict[str, Any]
) -> None:
    filter_ = ScoreFilter(**conditions)
    indexed = {name: value for name, value in conditions.items() if name != "min_confidence"}
    listed = ForecastFilter(**indexed, replays=True, superseded=True)
    forecasts = len(book.read(lambda connection: pages.page(connection, listed, "", 500)).forecasts)
    assert forecasts
    for most, small in ((forecasts, True), (forecasts - 1, False)):
        monkeypatch.setattr(scorecards, "SMALL_READ", most)
        assert book.read(lambda connection: scorecards.is_small(connection, filter_)) == small


def test_the_position_of_scorecards_moves_with_every_report_and_with_nothing_else() -> None:
    with new_book() as made:
        positions = [made.read(scorecards.position)]

        def moved() -> bool:
            positions.append(made.read(scorecards.position))
            return positions[-1] != positions[-2]

        made.predict(with_market(forecast(GAMES[0]), stake=0.05))
        assert not moved()
        for differential, moves in ((3, True), (3, False), (4, True)):
            made.report(GAMES[0], Horizon.HALFTIME, differential)
            assert moved() == moves
        [refused] = made.predict(forecast(GAMES[0], lead=9.0))
        assert isinstance(refused, Failed)
        assert not moved()


@pytest.mark.parametrize("wanted", [ScoreFilter(horizon=FINAL), ScoreFilter(horizon=FINAL, game_id=GAMES[0])])
def test_thousands_of_revisions_of_one_minute_take_no_memory_of_their_pairs(wanted: ScoreFilter) -> None:
    """1,500 revisions have a million pairs; those of 5,000 once exceeded the memory of a worker and its successors."""
    with new_book() as record:
        told = (forecast(GAMES[0], minute=18, horizon=FINAL, lead=float(number % 40)) for number in range(1500))
        record.predict(*told)
        record.report(GAMES[0], FINAL, 3)
        tracemalloc.start()
        try:
            found = settled(record, wanted).forecasts
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert Counter(found.exclusion.tolist()) == {Exclusion.SUPERSEDED: 1499, Exclusion.NONE: 1}
    assert peak < 20_000_000
