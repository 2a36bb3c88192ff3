"""Canonical JSON: one text for a value."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_server.ledger.entries.canonical_json import dumps

PYTHON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | text,
    lambda parts: st.lists(parts) | st.lists(parts).map(tuple) | st.dictionaries(text, parts),
)


@given(value=values)
def test_any_value_is_written_as_python_writes_it(value: object) -> None:
    assert dumps(value) == PYTHON(value)


@pytest.mark.parametrize("name", [1, 0.5, True, None, b"text"])
def test_names_are_text(name: object) -> None:
    with pytest.raises(TypeError, match="text"):
        dumps({"outer": [{name: 1}]})


@given(number=finite)
def test_any_float_is_written_as_its_repr(number: float) -> None:
    assert dumps(number) == repr(number)


@given(digits=st.integers(-(10**17), 10**17), exponent=st.integers(-30, 30))
def test_decimals_keep_their_digits(digits: int, exponent: int) -> None:
    number = float(f"{digits}e{exponent}")
    assert dumps(number) == repr(number)


@pytest.mark.parametrize("whole", [0, 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**40])
def test_integers_of_any_size(whole: int) -> None:
    assert dumps(whole) == str(whole)


def test_text_is_escaped_only_where_json_asks_for_it() -> None:
    every = "".join(map(chr, range(0x100))) + "\u2028\u2029\ud7ff\ue000\uffff\U0001f3c0"
    assert dumps({every: every}) == PYTHON({every: every})


def test_names_are_sorted_by_code_points() -> None:
    names = ["b", "a", "", "ab", "Z", "é", "\uffff", "\U0001f3c0"]
    assert dumps(dict.fromkeys(names)) == PYTHON(dict.fromkeys(names))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", {"a": ["\udfff"]}, {"\ud800": 1}])
def test_what_has_no_json_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|surrogates not allowed"):
        dumps({"value": value})


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes"])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        dumps([value])


def test_nesting_ends_before_the_stack_does() -> None:
    with pytest.raises(RecursionError):
        dumps(nested(100_000))


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value
