"""Ids by which callers, logs and traces name a call: the caller's own if it can be sent back, else a generated one."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator

REQUEST_ID = "x-request-id"

MAX_REQUEST_ID = 128
"""Maximum length of a caller's request id, in characters; longer ones are truncated."""


def requested_id(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the first `x-request-id` in the metadata of a call that can be sent back; empty if there is none.

    gRPC accepts metadata with values that it refuses to send; sending them back would fail the call.
    """
    for key, value in metadata or ():
        if key == REQUEST_ID and isinstance(value, str) and value and value.isascii() and value.isprintable():
            return value[:MAX_REQUEST_ID]
    return ""


def generate_ids(mark: str = "") -> Iterator[str]:
    """Return an endless iterator of request ids, which begin with its random number.

    Args:
        mark: stands before the number in each id.
    """
    prefix = f"{secrets.token_hex(4)}-{mark}"
    return (f"{prefix}{number:x}" for number in itertools.count(1))
