"""The text that entries of the ledger are written in, and the chain of their hashes.

Deterministic JSON: keys sorted, no spaces, UTF-8 as it is, floats by their shortest round-tripping form, no NaN.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dejavu_models.errors import InvalidInput

FORECAST: Final = "forecast"
OUTCOME: Final = "outcome"
MARKET: Final = "market"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ARTICLES = {FORECAST: "a", OUTCOME: "an", MARKET: "a"}

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: object) -> str:
    """Canonical JSON of a value.

    Raises:
        ValueError: if it holds NaN, an infinity, or text that is not Unicode.
    """
    text = _ENCODER.encode(value)
    text.encode()  # lone surrogates: better refused here than by the database
    return text


def encode_entry(kind: str, payload: str, revision: int, sequence: int) -> str:
    """The canonical form of an entry, from its payload's."""
    return f'{{"kind":{dumps(kind)},"payload":{payload},"revision":{revision:d},"sequence":{sequence:d}}}'


def chain_hash(previous: bytes, canonical: str) -> bytes:
    """An entry's hash: SHA-256 over the hash of the entry before it and its own canonical form in UTF-8."""
    return hashlib.sha256(previous + canonical.encode()).digest()


def genesis_hash(ledger_id: str) -> bytes:
    """The hash that a ledger's first entry is chained to, so that no two ledgers share a chain."""
    return hashlib.sha256(f"dejavu ledger {ledger_id}".encode()).digest()


@contextmanager
def reading(kind: str) -> Iterator[None]:
    """Turns what goes wrong while an entry's values are looked up into the ValueError that says what it is not."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, InvalidInput) as error:
        raise ValueError(f"not the canonical form of {_ARTICLES[kind]} {kind}: {error!r}") from error


def decode_entry(kind: str, canonical: str) -> dict[str, Any]:
    """The JSON object of an entry.

    Raises:
        ValueError: if it is not one, or of another kind.
    """
    with reading(kind):
        entry: dict[str, Any] = json.loads(canonical)
        if entry["kind"] != kind:
            raise ValueError(f"not {_ARTICLES[kind]} {kind}: {entry['kind']!r}")
        return entry


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware moment; exact, which a float of seconds would not be.

    Raises:
        ValueError: if the moment is not in UTC.
    """
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"not a time in UTC: {moment!r}")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """The moment, in UTC, so many microseconds after the start of 1970."""
    return _EPOCH + timedelta(microseconds=value)
