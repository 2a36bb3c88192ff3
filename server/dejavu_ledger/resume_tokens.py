"""Resume tokens: opaque to clients, URL-safe and bound to a ledger and its epoch."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from uuid import UUID

from dejavu_ledger.errors import InvalidResumeToken
from dejavu_models.errors import quoted

_VERSION = 1
_LAYOUT = struct.Struct(">B16s8sQ")  # version, ledger id, epoch, sequence: 33 bytes, 44 characters without padding


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """Position in a ledger.

    Attributes:
        ledger_id: 32 hexadecimal digits.
        epoch: 16 hexadecimal digits.
        sequence: the last sequence that was received; 0: none.
    """

    ledger_id: str
    epoch: str
    sequence: int


def encode(token: ResumeToken) -> str:
    """Encode a token as text."""
    packed = _LAYOUT.pack(_VERSION, UUID(token.ledger_id).bytes, bytes.fromhex(token.epoch), token.sequence)
    return base64.urlsafe_b64encode(packed).decode()


def decode(text: str) -> ResumeToken:
    """Decode a token.

    Raises:
        InvalidResumeToken: if `encode` did not produce it.
    """
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        version, ledger_id, epoch, sequence = _LAYOUT.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        raise InvalidResumeToken(quoted(text), "a resume_token of an earlier response") from None
    if version != _VERSION:
        raise InvalidResumeToken(f"a token of form {version}", f"form {_VERSION}")
    return ResumeToken(ledger_id.hex(), epoch.hex(), sequence)
