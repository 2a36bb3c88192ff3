"""Resume tokens: opaque to clients, URL-safe and bound to a ledger, its epoch and an entry."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from uuid import UUID

from dejavu_ledger.errors import InvalidResumeToken
from dejavu_models.errors import quoted

_VERSION = 1
_LAYOUT = struct.Struct(">B16s8sQ9s")
"""Version, ledger id, epoch, sequence, beginning of the hash: 42 bytes, 56 characters without padding."""

HASH_BYTES = 9
"""Bytes of an entry's hash in a token: a restore that keeps the epoch puts other entries at the same sequences."""


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """Position in a ledger.

    Attributes:
        ledger_id: 32 hexadecimal digits.
        epoch: 16 hexadecimal digits.
        sequence: the last sequence that was received; 0: none.
        hash: beginning of the hash of the entry there, HASH_BYTES; at 0, of the start of the chain.
    """

    ledger_id: str
    epoch: str
    sequence: int
    hash: bytes


def encode(token: ResumeToken) -> str:
    """Encode a token as text."""
    ledger_id, epoch = UUID(token.ledger_id).bytes, bytes.fromhex(token.epoch)
    packed = _LAYOUT.pack(_VERSION, ledger_id, epoch, token.sequence, token.hash)
    return base64.urlsafe_b64encode(packed).decode()


def decode(text: str) -> ResumeToken:
    """Decode a token.

    Raises:
        InvalidResumeToken: if `encode` did not produce it.
    """
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        version, ledger_id, epoch, sequence, hash_ = _LAYOUT.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        raise InvalidResumeToken(quoted(text), "a resume_token of an earlier response") from None
    if version != _VERSION:
        raise InvalidResumeToken(f"a token of form {version}", f"form {_VERSION}")
    return ResumeToken(ledger_id.hex(), epoch.hex(), sequence, hash_)
