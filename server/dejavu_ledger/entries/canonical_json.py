"""Canonical JSON: keys sorted, no spaces, unescaped UTF-8, floats in their shortest round-tripping form, no NaN.

Entries are hashed, so not a byte may differ.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: object) -> str:
    """Return the canonical JSON of a value: dicts with text as keys, lists, tuples, text, numbers, booleans, None.

    Raises:
        ValueError: if it contains NaN, an infinity, or text that is not Unicode.
        TypeError: if it contains anything else.
    """
    text = _ENCODER.encode(value)
    text.encode()  # refuse lone surrogates here, before the database does
    return text


def loads(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: if it is no JSON, or contains NaN or an infinity.
    """
    return _DECODER.decode(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant}; expected a finite number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
