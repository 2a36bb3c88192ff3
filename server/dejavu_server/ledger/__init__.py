"""The ledger: every forecast for a named game and every outcome; durable, once, in one order that streams follow."""

from __future__ import annotations

from dejavu_server.ledger.engine import Durability
from dejavu_server.ledger.errors import (
    InvalidLedgerUrl,
    InvalidResumeToken,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    OutcomeKnown,
    ResumeTokenExpired,
)
from dejavu_server.ledger.ledger import Ledger
from dejavu_server.ledger.verification import Verification, verify

__all__ = [
    "Durability",
    "InvalidLedgerUrl",
    "InvalidResumeToken",
    "Ledger",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerSchemaError",
    "LedgerUnavailable",
    "OutcomeKnown",
    "ResumeTokenExpired",
    "Verification",
    "verify",
]
