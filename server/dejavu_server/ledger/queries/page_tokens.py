"""Page tokens: opaque to clients, URL-safe, and bound to a ledger, its epoch and the conditions of a list."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final, NamedTuple
from uuid import UUID

from dejavu_models.errors import InvalidInput, quoted
from dejavu_server.ledger.database.store import Identity

DIGEST_BYTES: Final = 9
"""Of the conditions of a list; so many make a token a whole number of characters."""

_VERSION = 1
_FORM = struct.Struct(f">B16s8s{DIGEST_BYTES}sqqi")  # version, ledger id, epoch, conditions, start, sequence, day


class InvalidPageToken(InvalidInput):
    """The page_token is malformed, or of another ledger, or of a list with other conditions."""

    reason = "INVALID_PAGE_TOKEN"
    default_field = "page_token"


class Cursor(NamedTuple):
    """A place in the order of a list. The day counts only where the list goes by days, and is 0 elsewhere."""

    day: int
    sequence: int


class PageCursor(NamedTuple):
    """How far a list was told.

    Attributes:
        start: the head of the ledger when it began.
        before: what comes next lies before it.
    """

    start: int
    before: Cursor


def encode(kept: Identity, digest: bytes, walk: PageCursor) -> str:
    """A token as text.

    Args:
        kept: the ledger.
        digest: of the conditions of the list, DIGEST_BYTES.
        walk: where to go on.
    """
    ledger_id, epoch, before = UUID(kept.ledger_id).bytes, bytes.fromhex(kept.epoch), walk.before
    packed = _FORM.pack(_VERSION, ledger_id, epoch, digest, walk.start, before.sequence, before.day)
    return base64.urlsafe_b64encode(packed).decode()


def decode(text: str, kept: Identity, digest: bytes) -> PageCursor:
    """Reads a token.

    Raises:
        InvalidPageToken: if it is none that `encode` writes, or one of another ledger, epoch or list.
    """
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        version, ledger_id, epoch, told, start, sequence, day = _FORM.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        raise InvalidPageToken(quoted(text), "a next_page_token of an earlier response") from None
    if version != _VERSION:
        raise InvalidPageToken(f"a token of form {version}", f"form {_VERSION}")
    if (ledger_id.hex(), epoch.hex()) != (kept.ledger_id, kept.epoch):
        raise InvalidPageToken(
            "a token of another ledger, or of this one before it was restored", "one that this server's ledger gave out"
        )
    if told != digest:
        raise InvalidPageToken("a token of a list with other conditions", "the conditions that it was given out with")
    return PageCursor(start, Cursor(day, sequence))
