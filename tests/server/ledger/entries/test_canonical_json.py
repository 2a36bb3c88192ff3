"""Canonical JSON: the compiled encoder writes every byte as Python's does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.native import native
from dejavu_server.ledger.entries import canonical_json
from dejavu_server.ledger.entries.canonical_json import dumps

PYTHON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | text,
    lambda parts: st.lists(parts) | st.lists(parts).map(tuple) | st.dictionaries(text, parts),
)


@pytest.fixture(params=["as it runs", "without the extension", "compiled"])
def encode(request: pytest.FixtureRequest) -> Callable[[object], str]:
    if request.param == "as it runs":
        return dumps
    if request.param == "without the extension":
        return canonical_json._encode
    if native is None:
        pytest.skip("the extension was not built")
    compiled: Callable[[object], str] = native.canonical_json
    return compiled


@given(value=values)
def test_any_value_is_written_as_python_writes_it(value: object) -> None:
    assert dumps(value) == PYTHON(value)


@pytest.mark.parametrize("name", [1, 0.5, True, None, b"text"])
def test_names_are_text(encode: Callable[[object], str], name: object) -> None:
    with pytest.raises(TypeError, match="text"):
        encode({"outer": [{name: 1}]})


@given(number=finite)
def test_any_float_is_written_as_its_repr(number: float) -> None:
    assert dumps(number) == repr(number)


@given(digits=st.integers(-(10**17), 10**17), exponent=st.integers(-30, 30))
def test_decimals_keep_their_digits(digits: int, exponent: int) -> None:
    number = float(f"{digits}e{exponent}")
    assert dumps(number) == repr(number)


def test_numbers_halfway_between_two_shortest_decimals_are_rounded_as_python_rounds_them() -> None:
    powers = [
        sign * math.ldexp(odd, exponent)
        for odd in range(1, 64, 2)
        for exponent in range(-1074, 960)
        for sign in (1, -1)
    ]
    assert dumps(powers) == PYTHON(powers)


@pytest.mark.parametrize(
    "number", ["0", "1e-4", "9.999e-5", "1e-5", "0.1", "1e14", "1e15", "999999999999999.9", "1e16"]
)
@pytest.mark.parametrize("factor", [1.0, -1.0, 1 / 3, 9.999999999999998, 1e6])
def test_floats_around_where_their_form_changes(encode: Callable[[object], str], number: str, factor: float) -> None:
    value = factor * float(number)
    assert encode(value) == repr(value)


@pytest.mark.parametrize("number", [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308])
def test_the_least_and_the_greatest_floats(encode: Callable[[object], str], number: float) -> None:
    assert [encode(number), encode(-number)] == [repr(number), repr(-number)]


@pytest.mark.parametrize("whole", [0, 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**40])
def test_integers_of_any_size(encode: Callable[[object], str], whole: int) -> None:
    assert encode(whole) == str(whole)


def test_text_is_escaped_only_where_json_asks_for_it(encode: Callable[[object], str]) -> None:
    every = "".join(map(chr, range(0x100))) + "\u2028\u2029\ud7ff\ue000\uffff\U0001f3c0"
    assert encode({every: every}) == PYTHON({every: every})


def test_names_are_sorted_by_code_points(encode: Callable[[object], str]) -> None:
    names = ["b", "a", "", "ab", "Z", "é", "\uffff", "\U0001f3c0"]
    assert encode(dict.fromkeys(names)) == PYTHON(dict.fromkeys(names))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", {"a": ["\udfff"]}, {"\ud800": 1}])
def test_what_has_no_json_is_refused(encode: Callable[[object], str], value: Any) -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|surrogates not allowed"):
        encode({"value": value})


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_other_types_are_refused(encode: Callable[[object], str], value: object) -> None:
    with pytest.raises(TypeError):
        encode([value])


def test_nesting_ends_before_the_stack_does(encode: Callable[[object], str]) -> None:
    with pytest.raises(RecursionError):
        encode(nested(100_000))


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value
