"""Ledger: durable, totally ordered record of every forecast for a named game and every outcome, each stored once."""

from __future__ import annotations

from dejavu_ledger.audit.verification import Verification, verify
from dejavu_ledger.database.backend import Durability
from dejavu_ledger.errors import (
    InvalidLedgerUrl,
    InvalidResumeToken,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    OutcomeAlreadyRecorded,
    ResumeTokenExpired,
)
from dejavu_ledger.ledger import Ledger

__all__ = [
    "Durability",
    "InvalidLedgerUrl",
    "InvalidResumeToken",
    "Ledger",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerSchemaError",
    "LedgerUnavailable",
    "OutcomeAlreadyRecorded",
    "ResumeTokenExpired",
    "Verification",
    "verify",
]
