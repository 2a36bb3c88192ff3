"""Canonical forms of entries: they round-trip exactly, every character is fixed, and nothing else is read."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import reduce
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.box_scores import made_box_score
from tests.support.builders.issued_forecasts import TOTAL, issued
from tests.support.builders.outcomes import MARKET, answered, outcome

from dejavu_feed.live_inputs import LastScore, LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_ledger.entries import canonical_json, codec
from dejavu_ledger.entries.codec import Entry
from dejavu_ledger.records import (
    IssuedForecast,
    LateReason,
    LineOrigin,
    LineSource,
    MarketEntry,
    ReportedOutcome,
    ShadowForecast,
)
from dejavu_models.betting import Market, MarketSide, StakingPolicy, american_to_decimal
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import Forecast, Horizon, Interval, Quantile, TotalForecast, WarningReason
from dejavu_store.stages import ModelAction, ModelChange, ModelEvidence

law = settings(deadline=None)  # a busy machine is no counterexample

finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)  # −0 is 0 where it is left out
shares = st.floats(0, 1, exclude_max=True)
times = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(fold=0))
game_ids = st.from_regex(r"[0-9]{10}", fullmatch=True)
margins = st.floats(-200, 200)
quantiles = st.lists(finite, max_size=4).map(tuple)


def any_of(kind: Any, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values of a type: of a class, with values of the types of its fields, except those that are given."""
    if kind in ATOMS:
        return ATOMS[kind]
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        items = any_of(arguments[0])
        least, most = (0, 3) if arguments[-1] is Ellipsis else (len(arguments), len(arguments))
        return st.lists(items, min_size=least, max_size=most).map(tuple)
    if arguments:
        return reduce(
            lambda one, other: one | other, (st.none() if each is NoneType else any_of(each) for each in arguments)
        )
    if hasattr(kind, "__members__"):
        return st.sampled_from(kind)
    return st.builds(
        kind, **{name: given[name] if name in given else any_of(hint) for name, hint in get_type_hints(kind).items()}
    )


ATOMS: Final[dict[Any, st.SearchStrategy[Any]]] = {
    float: finite,
    int: st.integers(0, 2**31),
    bool: st.booleans(),
    str: st.text(max_size=8),
    date: st.dates(),
    datetime: times,
    Interval: st.tuples(finite, finite).map(lambda ends: Interval(min(ends), max(ends))),
    ScorePattern: st.lists(margins, min_size=1, max_size=47).map(lambda values: ScorePattern(tuple(values))),
    StakingPolicy: st.builds(StakingPolicy, **dict.fromkeys(StakingPolicy.__dataclass_fields__, shares)),
}
NONE, NOTHING = st.none(), st.just(())
totals = any_of(TotalForecast, quantiles=NOTHING, market=NONE)
forecasts = any_of(
    Forecast,
    quantiles=NOTHING,
    market=NONE,
    total=st.none() | totals,
    static_scores=st.lists(st.floats(-6, 6).map(lambda score: round(score, 6))).map(tuple),
)
unrecorded = {
    "markets": NOTHING,
    "created": st.just(False),
    "hash": st.just(b""),
    "publisher": st.just(""),
    **dict.fromkeys(("rated_for", "lineups", "recomputed", "recomputed_total"), NONE),
}
made = any_of(
    IssuedForecast,
    game_id=game_ids,
    forecast=forecasts,
    roster_sequence=st.none() | st.integers(1, 2**31),
    **unrecorded,
)
shadows = any_of(ShadowForecast, forecast=forecasts, forecast_sequence=st.integers(1, 2**63)).map(
    lambda one: replace(
        one, forecast=replace(one.forecast, explanation=None, moment=None, horizon=Horizon.HALFTIME, alpha=0.05)
    )
)
BOX_SCORE = tuple(each.line for each in made_box_score("BKN", "GSW", 8, 6))
outcomes = any_of(
    ReportedOutcome,
    game_id=game_ids,
    differential=st.integers(-200, 200).filter(bool),
    players=st.sampled_from([(), BOX_SCORE]),
    created=st.just(False),
    hash=st.just(b""),
)
american = st.integers(100, 99_900) | st.integers(-(2**31), -100)
odds = st.floats(1, 1000, exclude_min=True)
decimal_markets = any_of(
    Market,
    line=st.integers(0, 200).map(lambda twice: twice / 2),
    **dict.fromkeys(("above_odds", "below_odds"), odds),
    **dict.fromkeys(("above_american", "below_american"), NONE),
    bankroll=st.floats(1, 1e9),
    game_staked=shares.map(lambda share: share / 2),
    evening_staked=st.floats(0.5, 1),
)
markets = any_of(
    MarketEntry,
    market=decimal_markets
    | st.builds(
        lambda one, price: replace(one, above_odds=american_to_decimal(price), above_american=price),
        decimal_markets,
        american,
    ),
)


GENERATED: Final = {
    codec.FORECAST: made,
    codec.OUTCOME: outcomes,
    codec.MARKET: markets,
    codec.SHADOW: shadows,
    codec.MODEL: any_of(ModelChange),
}


PAYLOADS: Final[dict[type, tuple[str, Callable[[Any], str]]]] = {
    IssuedForecast: (codec.FORECAST, lambda value: codec.prepare(value).payload),
    ReportedOutcome: (codec.OUTCOME, codec.outcome_payload),
    MarketEntry: (codec.MARKET, codec.market_payload),
    ShadowForecast: (codec.SHADOW, lambda value: codec.prepare_shadow(value).payload),
    ModelChange: (codec.MODEL, codec.change_payload),
}
READERS: Final[dict[str, Callable[[str], Any]]] = {
    codec.FORECAST: codec.parse,
    codec.OUTCOME: codec.parse_outcome,
    codec.MARKET: codec.parse_market,
    codec.SHADOW: lambda text: codec.parse_shadow(text, Horizon.HALFTIME, 0.05),
    codec.MODEL: codec.parse_change,
}


def written(value: Any) -> str:
    """Return the canonical form of a value."""
    kind, payload = PAYLOADS[type(value)]
    by = getattr(value, "recorded_by", getattr(value, "changed_by", ""))
    marks = (value.late, value.lease, value.clock) if kind == codec.FORECAST else ()
    return codec.encode_entry(Entry(kind, getattr(value, "revision", 0), value.sequence, by, *marks), payload(value))


def read(text: str, kind: str = "") -> Any:
    """Return the value of a canonical form, by default of its kind."""
    return READERS[kind or json.loads(text)["kind"]](text)


@pytest.mark.parametrize("kind", GENERATED)
@law
@given(data=st.data())
def test_what_is_written_reads_back_exactly(kind: str, data: st.DataObject) -> None:
    value = data.draw(GENERATED[kind])
    text = written(value)
    back = read(text)
    assert back == value
    assert repr(back) == repr(value)
    assert written(back) == text == canonical_json.dumps(json.loads(text))


@law
@given(made, st.lists(st.builds(Quantile, finite, finite), min_size=1).map(tuple))
def test_a_forecast_is_recorded_without_what_only_its_caller_asked_for(forecast: IssuedForecast, asked: Any) -> None:
    total = forecast.forecast.total and replace(forecast.forecast.total, quantiles=asked)
    given_ = replace(forecast, forecast=replace(forecast.forecast, quantiles=asked, total=total))
    text = written(given_)
    assert text == written(forecast)
    assert codec.recorded_part(given_) == codec.parse(text)
    assert codec.parse(text, explanation=False).forecast == replace(forecast.forecast, explanation=None)


NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
EVIDENCE: Final = ModelEvidence(games=100, crps_e_value=math.inf, coverage=0.95, against_version="v1")
VALUES: Final[dict[str, Any]] = {
    "forecast": replace(issued(generated_time=NOW, home_team="Zürich", pregame_margin=5.5), sequence=7, revision=2),
    "forecast of a late moment": replace(
        issued(generated_time=NOW),
        forecast=replace(
            issued().forecast, explanation=None, moment=Moment(1, 530.0, -1, 2), total=replace(TOTAL, distribution=())
        ),
        live=LiveInputs(0, LastScore(Side.AWAY, 12), 224.5, False, Possession(Side.HOME)),
        line_origin=LineOrigin(LineSource.FEED, NOW),
        game_date=date(2026, 1, 1),
        late=LateReason.CLOCK,
        lease="poll",
        recorded_by='token:"payload":0',
        clock=360.0,
        sequence=7,
    ),
    "outcome": replace(
        outcome(-3, observed_time=NOW, recorded_time=NOW), sequence=9, revision=1, overtimes=0, withdrawn=True
    ),
    "market": MarketEntry(7, MARKET, answered(MarketSide.HOME, stake_fraction=0.02), requested_time=NOW, sequence=8),
    "shadow": ShadowForecast(6, replace(issued().forecast, explanation=None), NOW, NOW + timedelta(minutes=5), 7),
    "model": ModelChange(ModelAction.PROMOTE, "v2", NOW, "v1", forced=True, evidence=EVIDENCE, sequence=8),
}
FORMS: Final = dict(zip(VALUES, Path(__file__).with_name("entries.jsonl").read_text().splitlines(), strict=True))
"""The canonical forms of the values."""


@pytest.mark.parametrize("name", FORMS)
def test_the_form_of_an_entry_is_what_it_is(name: str) -> None:
    """Programs that read ledgers, and proofs stored elsewhere, depend on every character."""
    assert written(VALUES[name]) == FORMS[name]


def with_more(value: object) -> object:
    """Return a JSON value with a name added to each object in it."""
    if isinstance(value, dict):
        return {**{key: with_more(inner) for key, inner in value.items()}, "added_later": {"by": [1, "x", None]}}
    return [with_more(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", FORMS)
def test_what_a_later_release_adds_is_passed_over(name: str) -> None:
    later = canonical_json.dumps(with_more(json.loads(FORMS[name])))
    assert read(later) == read(FORMS[name])


def test_names_that_a_later_release_adds_are_passed_over() -> None:
    entry = json.loads(written(replace(issued(), sequence=7)))
    entry["payload"]["request"]["margin_source"] = "added_later"
    entry["payload"]["forecast"]["warnings"] = ["added_later", "model_unfit"]
    back = codec.parse(canonical_json.dumps(entry))
    assert back.forecast.warnings == (WarningReason.MODEL_UNFIT,)
    assert back.line_origin is None


EXPLAINED: Final = json.loads(FORMS["forecast"])["payload"]["forecast"]["explanation"]
REFUSED: Final[list[tuple[str, str, object, str]]] = [
    ("forecast", "sequence", 1.5, "sequence: 1.5; expected a whole number"),
    ("forecast", "point", 1, "point: 1; expected a number"),
    ("forecast", "forecast.distribution", ["1.5"], r"distribution\[0\]: '1.5'; expected a number"),
    ("forecast", "interval_upper", -99.5, "not an interval"),
    ("forecast", "pattern", [0.0, -1000.0], r"pattern\[1\]: -1000.0"),
    ("forecast of a late moment", "last_score", {"side": "home"}, "last_score.seconds: nothing"),
    ("outcome", "differential", True, "differential: True; expected a whole number"),
    ("outcome", "payload.players", [[1, 1, 60, 0, 1]], "players: 1 of the home team; expected 5"),
    ("market", "revision", 1, "revision: 1; expected 0: a market has no revisions"),
    ("market", "market.above_american", "-110", "market.above_american: '-110'; expected a whole number"),
    ("market", "market.policy.game_cap", 2.0, "staking.game_cap: 2.0; expected a number from 0 to 1"),
    ("shadow", "revision", 1, "revision: 1; expected 0"),
    ("shadow", "payload.forecast.explanation", EXPLAINED, "explanation: one; expected none"),
    ("model", "evidence.games", 1.0, "evidence.games: 1.0; expected a whole number"),
]


@pytest.mark.parametrize(("name", "path", "value", "message"), REFUSED)
def test_what_no_entry_has_is_not_read(name: str, path: str, value: object, message: str) -> None:
    entry = json.loads(FORMS[name])
    first, *_ = steps = [int(step) if step.isdigit() else step for step in path.split(".")]
    payload = entry["payload"]
    place = next(each for each in (entry, payload, *map(payload.get, ("forecast", "request"))) if first in each)
    reduce(operator.getitem, steps[:-1], place)[steps[-1]] = value
    with pytest.raises(ValueError, match=message):
        read(canonical_json.dumps(entry), name.split(maxsplit=1)[0])


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind":"other","revision":0,"sequence":1}', "NaN"])
def test_what_is_no_entry_is_not_read(kind: str, text: str) -> None:
    with pytest.raises(ValueError):
        read(text, kind)


UNFIT: Final = {
    "no game": issued(game_id=""),
    "not Unicode": issued(home_team="\ud800"),
    "NaN": replace(issued(), forecast=replace(issued().forecast, home_lead_probability=math.nan)),
    "not UTC": replace(issued(), expires_time=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    "naive": replace(issued(), generated_time=datetime(2026, 1, 1)),  # noqa: DTZ001 - deliberately naive
    "outcome of no game": outcome(3, ""),
    "level at the end": outcome(0, horizon=Horizon.FINAL),
    "NaN of a market": MarketEntry(1, MARKET, replace(answered(None), overround=math.nan)),
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_what_has_no_canonical_form_is_refused(unfit: Any) -> None:
    with pytest.raises(ValueError):
        written(unfit)


def test_equal_numbers_have_equal_forms() -> None:
    whole, fractional = (codec.prepare(issued(pattern=each, generated_time=NOW)) for each in ((1, 2), (1.0, 2.0)))
    assert (whole.payload, whole.pattern) == (fractional.payload, fractional.pattern)
    assert codec.prepare(issued(pattern=(0, -0.0))).pattern == codec.prepare(issued(pattern=(-0.0, 0.0))).pattern
    scores = (-2.3263478740408408, 0.0, 2.3263478740408408)
    draft = codec.prepare(replace(issued(), forecast=replace(issued().forecast, static_scores=scores)))
    assert draft.issued.forecast.static_scores == (-2.326348, 0.0, 2.326348)
    assert '"static_scores":[-2.326348,0.0,2.326348]' in draft.payload


def test_names_are_sorted_by_code_points_and_text_is_escaped_only_where_json_asks_for_it() -> None:
    names = ["b", "a", "", "ab", "Z", "\u00e9", "\uffff", "\U0001f3c0"]
    assert canonical_json.dumps(dict.fromkeys(names, 0.1)) == (
        '{"":0.1,"Z":0.1,"a":0.1,"ab":0.1,"b":0.1,"\u00e9":0.1,"\uffff":0.1,"\U0001f3c0":0.1}'
    )
    assert canonical_json.dumps('\u2028"\\\n\x1f') == '"\u2028\\"\\\\\\n\\u001f"'
