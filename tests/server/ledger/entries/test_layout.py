"""Layouts: the JSON object of an object."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import TOTAL, issued

from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_models.types import (
    Adaptation,
    AdaptationMode,
    ExpectedMarginTerms,
    Interval,
    TeamKnowledge,
    WarningReason,
)
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.entries.layout import ITSELF, Kind, Layout, Member
from dejavu_server.records import IssuedForecast

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
codes = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
days = st.dates()
teams_known = st.builds(TeamKnowledge, numbers, st.integers(0, 100), st.none() | days)
terms = st.builds(ExpectedMarginTerms, numbers, numbers, numbers, numbers, numbers, st.booleans())
intervals = st.tuples(st.floats(-50, 50), st.floats(0, 50)).map(lambda ends: Interval(ends[0], ends[0] + ends[1]))
adaptations = st.builds(
    Adaptation,
    st.sampled_from(AdaptationMode),
    intervals,
    intervals,
    st.integers(0, 100),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1),
)


@st.composite
def forecasts(draw: st.DrawFn) -> IssuedForecast:
    """Returns forecasts that have any of the parts that not every forecast has."""
    one = issued(generated_time=NOW)
    forecast = replace(
        one.forecast,
        point=draw(numbers),
        explanation=draw(st.sampled_from([None, one.forecast.explanation])),
        expected_margin=draw(st.none() | numbers),
        expected_margin_terms=draw(st.none() | terms),
        calibration_sequence=draw(st.integers(0, 2**40)),
        adaptation=draw(st.none() | adaptations),
        distribution=tuple(draw(st.lists(numbers, max_size=5))),
        static_scores=tuple(draw(st.lists(st.floats(-6, 6), max_size=5))),
        ratings_date=draw(st.none() | days),
        finals_since=draw(st.integers(0, 1000)),
        warnings=tuple(draw(st.lists(st.sampled_from(WarningReason)))),
        outdated_teams=tuple(draw(st.lists(codes, max_size=2))),
        total=draw(st.sampled_from([None, TOTAL, replace(TOTAL, expected_total=None)])),
        teams_known=tuple(draw(st.lists(teams_known, max_size=2))),
        widened_by=draw(st.just(0.0) | st.floats(0.0, 1.0)),
    )
    return replace(
        one,
        forecast=forecast,
        home_team=draw(codes),
        arm=draw(st.sampled_from(["", "champion"])),
        roster_sequence=draw(st.none() | st.integers(0, 10**9)),
        game_date=draw(st.none() | days),
        live=LiveInputs(
            draw(st.none() | st.integers(0, 300)),
            draw(st.none() | st.builds(LastScore, st.sampled_from(Side), st.integers(0, 3600))),
        ),
    )


@given(forecasts())
def test_what_a_forecast_does_not_have_is_left_out(forecast: IssuedForecast) -> None:
    made, requested = (codec.PAYLOAD.json_of(forecast)[part] for part in ("forecast", "request"))
    assert ("ratings_date" in made) == ("finals_since" in made) == (forecast.forecast.ratings_date is not None)
    assert ("warnings" in made) == bool(forecast.forecast.warnings)
    assert ("roster_sequence" in made) == bool(forecast.roster_sequence)
    assert ("total_points" in requested) == (forecast.live.total_points is not None)  # 0 points are told
    assert ("last_score" in requested) == (forecast.live.last_score is not None)


@dataclass
class Thing:
    """Something to write."""

    value: Any = 1
    inner: Any = None


@pytest.mark.parametrize(
    ("member", "thing", "expected"),
    [
        (Member("value", Kind.VALUE), Thing('a"b'), '{"value":"a\\"b"}'),
        (Member("value", Kind.INTEGER), Thing(True), '{"value":1}'),
        (Member("value", Kind.INTEGER), Thing(2**80), f'{{"value":{2**80}}}'),
        (Member("value", Kind.NUMBER), Thing(3), '{"value":3.0}'),
        (Member("value", Kind.NUMBER), Thing(-0.0), '{"value":-0.0}'),
        (Member("value", Kind.NUMBER, null=True), Thing(None), '{"value":null}'),
        (Member("value", Kind.NUMBERS), Thing((1, 2.5)), '{"value":[1.0,2.5]}'),
        (Member("value", Kind.NUMBERS), Thing([]), '{"value":[]}'),
        (Member("value", Kind.VALUE, any=True), Thing(0), "{}"),
        (Member("value", Kind.VALUE, when="inner"), Thing(0), "{}"),
        (Member("value", Kind.VALUE, when="inner"), Thing(0, 1), '{"value":0}'),
        (Member("value", Kind.VALUE, convert=date.isoformat), Thing(date(2026, 1, 2)), '{"value":"2026-01-02"}'),
        (Member("deep", Kind.VALUE, "inner.inner.value"), Thing(inner=Thing(inner=Thing(7))), '{"deep":7}'),
        (Member("self", Kind.OBJECT, ITSELF, Layout(Member("value", Kind.VALUE))), Thing(), '{"self":{"value":1}}'),
        (
            Member("value", Kind.OBJECTS, of=Layout(Member("value", Kind.VALUE))),
            Thing((Thing(1), Thing(2))),
            '{"value":[{"value":1},{"value":2}]}',
        ),
    ],
)
def test_each_kind_of_member_is_written(member: Member, thing: Thing, expected: str) -> None:
    assert Layout(member).json(thing) == expected


@pytest.mark.parametrize(
    ("member", "thing", "error"),
    [
        (Member("value", Kind.NUMBER), Thing(math.nan), ValueError),
        (Member("value", Kind.NUMBERS), Thing([1.0, math.inf]), ValueError),
        (Member("value", Kind.VALUE), Thing("\ud800"), ValueError),
        (Member("value", Kind.VALUE), Thing(object()), TypeError),
        (Member("value", Kind.NUMBER), Thing(None), TypeError),
        (Member("value", Kind.NUMBERS), Thing(1), TypeError),
        (Member("missing", Kind.VALUE), Thing(), AttributeError),
    ],
)
def test_what_cannot_be_written_is_refused(member: Member, thing: Thing, error: type[Exception]) -> None:
    with pytest.raises(error):
        Layout(member).json(thing)


def test_members_are_written_in_the_order_of_their_names() -> None:
    layout = Layout(Member("b", Kind.VALUE, "value"), Member("a", Kind.VALUE, "value"))
    assert layout.json(Thing()) == '{"a":1,"b":1}'
