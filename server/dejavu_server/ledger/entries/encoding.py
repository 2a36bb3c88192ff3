"""Text encoding of ledger entries, and their hash chain.

Deterministic JSON: keys sorted, no spaces, unescaped UTF-8, floats in their shortest round-tripping form, no NaN.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from dejavu_models.errors import InvalidInput

FORECAST: Final = "forecast"
OUTCOME: Final = "outcome"
MARKET: Final = "market"

_ARTICLES = {FORECAST: "a", OUTCOME: "an", MARKET: "a"}

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: object) -> str:
    """Returns the canonical JSON of a value.

    Raises:
        ValueError: if it contains NaN, an infinity, or text that is not Unicode.
    """
    text = _ENCODER.encode(value)
    text.encode()  # refuse lone surrogates here, before the database does
    return text


def encode_entry(kind: str, payload: str, revision: int, sequence: int) -> str:
    """Returns the canonical form of an entry, given that of its payload."""
    return f'{{"kind":{dumps(kind)},"payload":{payload},"revision":{revision:d},"sequence":{sequence:d}}}'


def chain_hash(previous: bytes, canonical: str) -> bytes:
    """Returns an entry's hash: SHA-256 over the previous entry's hash and the canonical form in UTF-8."""
    return hashlib.sha256(previous + canonical.encode()).digest()


def genesis_hash(ledger_id: str) -> bytes:
    """Returns the hash that a ledger's first entry is chained to; it differs for every ledger."""
    return hashlib.sha256(f"dejavu ledger {ledger_id}".encode()).digest()


@contextmanager
def parse_errors(kind: str) -> Iterator[None]:
    """Converts errors from reading an entry's values to a ValueError that names the expected kind."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, InvalidInput) as error:
        raise ValueError(f"not the canonical form of {_ARTICLES[kind]} {kind}: {error!r}") from error


def decode_entry(kind: str, canonical: str) -> dict[str, Any]:
    """Returns the JSON object of an entry.

    Raises:
        ValueError: if the text is not an entry, or is of another kind.
    """
    with parse_errors(kind):
        entry: dict[str, Any] = json.loads(canonical)
        if entry["kind"] != kind:
            raise ValueError(f"not {_ARTICLES[kind]} {kind}: {entry['kind']!r}")
        return entry
