"""Errors of the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from dejavu_ledger.records import ReportedOutcome
from dejavu_models.errors import DejavuError, FieldError, InvalidInput


class LedgerError(DejavuError, reason="LEDGER_ERROR"):
    """Base of the ledger's errors; the message can be sent to callers: no SQL, no traceback."""


class LedgerUnavailable(LedgerError, reason="LEDGER_UNAVAILABLE", category="UNAVAILABLE"):
    """The ledger cannot be opened, read or written at the moment; retrying later may help."""


class LedgerReplaced(LedgerUnavailable, reason="LEDGER_REPLACED"):
    """The ledger was removed or replaced while it was in use: it has to be opened again."""


class LedgerClockDiffers(LedgerUnavailable, reason="LEDGER_CLOCK"):
    """The clocks of server and database differ too much: entries would have times that verification refuses.

    Args:
        message: how they differ.
        ahead: time by which the server's clock is ahead of the database's; negative: behind.
    """

    def __init__(self, message: str, ahead: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.ahead = ahead


class DiskReserveReached(LedgerUnavailable, reason="DISK_RESERVE"):
    """A new forecast while the disk has less space left than the reserve, which is kept for outcomes."""


class LedgerCorrupt(LedgerError, reason="LEDGER_CORRUPT", category="DATA_LOSS"):
    """The ledger's file is damaged, or an entry does not match its hash."""


class LedgerSchemaError(LedgerError, reason="LEDGER_SCHEMA", category="FAILED_PRECONDITION"):
    """The database was written by another release of the server, or is not a ledger."""


class InvalidLedgerUrl(LedgerError, reason="INVALID_LEDGER_URL"):
    """The URL does not name a database that can hold a ledger."""


class ResumeTokenExpired(
    LedgerError, FieldError, reason="RESUME_TOKEN_EXPIRED", field="resume_token", category="OUT_OF_RANGE"
):
    """A token of this ledger from which no stream can resume, because the ledger was restored.

    Args:
        found: the token, and why it expired.
    """

    def __init__(self, found: str) -> None:
        super().__init__(found, "no token, to start a new stream")


class OutcomeAlreadyRecorded(DejavuError, reason="OUTCOME_KNOWN", category="FAILED_PRECONDITION"):
    """A new forecast or revision whose outcome is known already: the ledger records none with hindsight."""


class OutcomeStands(DejavuError, reason="OUTCOME_STANDS", category="FAILED_PRECONDITION"):
    """A report that would correct the current outcome, although its caller refuses corrections.

    Args:
        message: the current outcome, and the difference of the report.
        outcome: the current outcome.
    """

    def __init__(self, message: str, outcome: ReportedOutcome) -> None:
        super().__init__(message)
        self.outcome = outcome


class UnknownOutcome(FieldError, reason="UNKNOWN_OUTCOME", field="game_id", category="NOT_FOUND"):
    """No outcome was ever reported for a game and horizon."""

    def __init__(self, game_id: str, place: str) -> None:
        super().__init__(f"{game_id}, which has no outcome {place}", "a game with a reported outcome")


class GameFull(DejavuError, reason="GAME_FULL", category="FAILED_PRECONDITION"):
    """A new forecast of a game, or a new revision of an outcome, beyond the limit of the ledger."""


class ModelsChanged(DejavuError, reason="MODELS_CHANGED", category="UNAVAILABLE"):
    """A new forecast whose model was chosen by a roster that a later change of models has replaced.

    The server computes such a forecast again, with the model that answers now.

    Args:
        sequence: sequence number of the newest change of models; 0 if there is none.
    """

    def __init__(self, sequence: int) -> None:
        super().__init__(f"the models have changed at {sequence} in the ledger since the one to answer was chosen")
        self.sequence = sequence


class InvalidResumeToken(InvalidInput, reason="INVALID_RESUME_TOKEN", field="resume_token"):
    """The resume_token is malformed or belongs to another ledger."""


class InvalidDifferential(InvalidInput, reason="INVALID_DIFFERENTIAL", field="differential"):
    """A differential is beyond ±200 points, 0 at the end, or too far from that of the game's other horizon."""


class InvalidTime(InvalidInput, reason="INVALID_TIME", field="observed_time"):
    """A time is malformed, before 1970, in the future, outside the season of the game id, or before its game's end."""


class InvalidOvertimes(InvalidInput, reason="INVALID_OVERTIMES", field="overtimes"):
    """The number of overtimes is too large, or was given for halftime."""


class InvalidPlayers(InvalidInput, reason="INVALID_PLAYERS", field="players"):
    """A box score is not possible, or was given for halftime."""


class ReadStopped(Exception):
    """A read ended early because it was stopped."""


_ErrorT = TypeVar("_ErrorT", bound=DejavuError)


def copy_of(error: _ErrorT) -> _ErrorT:
    """Return a copy of an error for another caller, because raising an error extends its traceback."""
    copy: _ErrorT = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy


def mebibytes_left(number: int) -> str:
    """Return a number of free bytes in MiB for a message, rounded down: less than a whole limit never reads like it."""
    tenths = number * 10 >> 20
    return f"{tenths // 10:,}" + (f".{tenths % 10}" if tenths % 10 else "")
