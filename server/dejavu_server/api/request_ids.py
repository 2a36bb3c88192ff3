"""Ids by which callers, logs and traces name a call: the caller's own if it can be sent back, else a generated one."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator

REQUEST_ID = "x-request-id"

MAX_REQUEST_ID = 128
"""Maximum length of a caller's request id, in characters; longer ones are truncated."""


def accepted_id(value: str | bytes) -> str:
    """Return the `x-request-id` of a caller as the request id of its call; empty if it cannot be sent back.

    gRPC accepts metadata with values that it refuses to send; sending them back would fail the call.
    """
    return value[:MAX_REQUEST_ID] if isinstance(value, str) and value.isascii() and value.isprintable() else ""


def generate_ids(mark: str = "") -> Iterator[str]:
    """Return an endless iterator of request ids, which begin with its random number.

    Args:
        mark: stands before the number in each id.
    """
    prefix = f"{secrets.token_hex(4)}-{mark}"
    return (f"{prefix}{number:x}" for number in itertools.count(1))
