"""Canonical JSON: one text for a value."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_ledger.entries.canonical_json import dumps, loads

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | text,
    lambda parts: st.lists(parts) | st.lists(parts).map(tuple) | st.dictionaries(text, parts),
)


@given(value=values)
def test_any_value_is_written_as_python_writes_it(value: object) -> None:
    assert dumps(value) == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def test_names_are_sorted_by_code_points_and_text_is_escaped_only_where_json_asks_for_it() -> None:
    names = ["b", "a", "", "ab", "Z", "\u00e9", "\uffff", "\U0001f3c0"]
    assert dumps(dict.fromkeys(names, 0.1)) == (
        '{"":0.1,"Z":0.1,"a":0.1,"ab":0.1,"b":0.1,"\u00e9":0.1,"\uffff":0.1,"\U0001f3c0":0.1}'
    )
    assert dumps('\u2028"\\\n\x1f') == '"\u2028\\"\\\\\\n\\u001f"'


@pytest.mark.parametrize(
    ("value", "error"),
    [
        *((value, ValueError) for value in (math.nan, math.inf, -math.inf, "\ud800", {"a": ["\udfff"]}, {"\ud800": 1})),
        *((value, TypeError) for value in (len, {1, 2}, b"bytes")),
    ],
    ids=repr,
)
def test_what_has_no_json_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        dumps({"value": value})


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", "{", ""])
def test_what_is_no_json_is_not_read(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_nesting_ends_before_the_stack_does() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        dumps(value)
