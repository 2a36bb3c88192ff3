"""Canonical JSON: keys sorted, no spaces, unescaped UTF-8, floats in their shortest round-tripping form, no NaN.

Entries are hashed, so not a byte may differ.
"""

from __future__ import annotations

import json

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: object) -> str:
    """Return the canonical JSON of a value: dicts with text as keys, lists, tuples, text, numbers, booleans, None.

    Raises:
        ValueError: if it contains NaN, an infinity, or text that is not Unicode.
        TypeError: if it contains anything else.
    """
    _check_names(value)
    text = _ENCODER.encode(value)
    text.encode()  # refuse lone surrogates here, before the database does
    return text


def _check_names(value: object) -> None:
    """Refuse names that are not text, which Python's encoder would turn into text."""
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise TypeError(f"names must be text, not {type(name).__name__}")
            _check_names(each)
    elif isinstance(value, list | tuple) and value and not isinstance(value[0], float):
        for each in value:
            _check_names(each)
