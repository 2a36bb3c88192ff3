"""Page tokens: opaque to clients, URL-safe, and bound to a ledger, its epoch and the filter of a list."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final, NamedTuple
from uuid import UUID

from dejavu_ledger.database.store import Identity
from dejavu_models.errors import InvalidInput, quoted

DIGEST_BYTES: Final = 9
"""Length of a filter's digest; chosen so that the base64 form of a token needs no padding."""

_VERSION = 1
_LAYOUT = struct.Struct(f">B16s8s{DIGEST_BYTES}sqqi")  # version, ledger id, epoch, filter digest, start, sequence, day


class InvalidPageToken(InvalidInput, reason="INVALID_PAGE_TOKEN", field="page_token"):
    """The page_token is malformed, or belongs to another ledger or to a list with other conditions."""


class Cursor(NamedTuple):
    """A position in the order of a list. The day is used only in lists ordered by day; elsewhere it is 0."""

    day: int
    sequence: int


class PageCursor(NamedTuple):
    """Position in a list.

    Attributes:
        start: the head of the ledger when the list began.
        before: the next page starts below this position.
    """

    start: int
    before: Cursor


def encode(identity: Identity, digest: bytes, cursor: PageCursor) -> str:
    """Encode a token.

    Args:
        identity: the ledger.
        digest: digest of the list's filter, DIGEST_BYTES long.
        cursor: where the next page starts.
    """
    ledger_id, epoch, before = UUID(identity.ledger_id).bytes, bytes.fromhex(identity.epoch), cursor.before
    packed = _LAYOUT.pack(_VERSION, ledger_id, epoch, digest, cursor.start, before.sequence, before.day)
    return base64.urlsafe_b64encode(packed).decode()


def decode(text: str, identity: Identity, digest: bytes) -> PageCursor:
    """Decode a token.

    Raises:
        InvalidPageToken: if `encode` does not write such a token, or it is of another ledger, epoch or list.
    """
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        version, ledger_id, epoch, token_digest, start, sequence, day = _LAYOUT.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        raise InvalidPageToken(quoted(text), "a next_page_token from an earlier response") from None
    if version != _VERSION:
        raise InvalidPageToken(f"a token of version {version}", f"version {_VERSION}")
    if (ledger_id.hex(), epoch.hex()) != (identity.ledger_id, identity.epoch):
        raise InvalidPageToken(
            "a token of another ledger, or of this one before it was restored", "one issued by this server's ledger"
        )
    if token_digest != digest:
        raise InvalidPageToken("a token of a list with other conditions", "the conditions it was issued for")
    return PageCursor(start, Cursor(day, sequence))
