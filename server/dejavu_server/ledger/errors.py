"""Errors of the ledger.

DejavuError
├── LedgerError                  base; its message can be sent to callers: no SQL, no traceback
│   ├── LedgerUnavailable        cannot be opened, read or written now: locked, full, read-only, gone, closed
│   │   ├── LedgerReplaced       its file or tables were removed or replaced while it was in use
│   │   └── DiskReserveReached   a new forecast while the disk has less space left than is kept for outcomes
│   ├── LedgerCorrupt            the file is damaged, or an entry does not match its hash
│   ├── LedgerSchemaError        the database was written by a later release, or is not (or no longer) a ledger
│   ├── InvalidLedgerUrl         the URL does not name a database that can hold a ledger
│   └── ResumeTokenExpired       token of this ledger whose following entries are gone (also a FieldError)
├── OutcomeAlreadyRecorded       a forecast that would be recorded after its outcome was known
├── OutcomeStands                a report that would correct an outcome, although its caller refuses corrections
├── UnknownOutcome               no outcome to withdraw (also a FieldError)
├── GameFull                     a forecast of a game, or a revision of an outcome, beyond the limit
├── ModelsChanged                a forecast whose model was chosen before the newest change of models
└── InvalidInput
    ├── InvalidResumeToken       not a token, or a token of another ledger
    ├── InvalidDifferential      out of bounds, 0 at the end, or too far from that of the game's other horizon
    ├── InvalidTime              malformed, or impossible for its game
    ├── InvalidOvertimes         too many, or given for halftime
    └── InvalidPlayers           not a possible box score, or given for halftime
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dejavu_models.errors import DejavuError, FieldError, InvalidInput
from dejavu_server.records import ReportedOutcome


class LedgerError(DejavuError):
    """Base of the ledger's errors."""

    reason = "LEDGER_ERROR"


class LedgerUnavailable(LedgerError):
    """The ledger cannot be opened, read or written at the moment; retrying later may help."""

    reason = "LEDGER_UNAVAILABLE"


class LedgerReplaced(LedgerUnavailable):
    """The ledger was removed or replaced while it was in use: it has to be opened again."""

    reason = "LEDGER_REPLACED"


class DiskReserveReached(LedgerUnavailable):
    """A new forecast while the disk has less space left than the reserve, which is kept for outcomes."""

    reason = "DISK_RESERVE"


class LedgerCorrupt(LedgerError):
    """The ledger's file is damaged, or an entry does not match its hash."""

    reason = "LEDGER_CORRUPT"


class LedgerSchemaError(LedgerError):
    """The database was written by a later release of the server, or is not a ledger."""

    reason = "LEDGER_SCHEMA"


class InvalidLedgerUrl(LedgerError):
    """The URL does not name a database that can hold a ledger."""

    reason = "INVALID_LEDGER_URL"


class ResumeTokenExpired(LedgerError, FieldError):
    """A token of this ledger from which no stream can resume, because the ledger was restored.

    Args:
        found: the token, and why it expired.
    """

    reason = "RESUME_TOKEN_EXPIRED"
    default_field = "resume_token"

    def __init__(self, found: str) -> None:
        super().__init__(found, "no token, to start a new stream")


class OutcomeAlreadyRecorded(DejavuError):
    """A new forecast or revision whose outcome is known already: the ledger records none with hindsight."""

    reason = "OUTCOME_KNOWN"


class OutcomeStands(DejavuError):
    """A report that would correct the current outcome, although its caller refuses corrections.

    Args:
        message: the current outcome, and the difference of the report.
        outcome: the current outcome; None if it is not known.
    """

    reason = "OUTCOME_STANDS"

    def __init__(self, message: str, outcome: ReportedOutcome | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class UnknownOutcome(FieldError):
    """No outcome was ever reported for a game and horizon."""

    reason = "UNKNOWN_OUTCOME"
    default_field = "game_id"

    def __init__(self, game_id: str, place: str) -> None:
        super().__init__(f"{game_id}, which has no outcome {place}", "a game with a reported outcome")


class GameFull(DejavuError):
    """A new forecast of a game, or a new revision of an outcome, beyond the limit of the ledger."""

    reason = "GAME_FULL"


class ModelsChanged(DejavuError):
    """A new forecast whose model was chosen by a roster that a later change of models has replaced.

    The server computes such a forecast again, with the model that answers now.

    Args:
        sequence: sequence number of the newest change of models; 0 if there is none.
    """

    reason = "MODELS_CHANGED"

    def __init__(self, sequence: int) -> None:
        super().__init__(f"the models have changed at {sequence} in the ledger since the one to answer was chosen")
        self.sequence = sequence


class InvalidResumeToken(InvalidInput):
    """The resume_token is malformed or belongs to another ledger."""

    reason = "INVALID_RESUME_TOKEN"
    default_field = "resume_token"


class InvalidDifferential(InvalidInput):
    """A differential is beyond ±200 points, 0 at the end, or too far from that of the game's other horizon."""

    reason = "INVALID_DIFFERENTIAL"
    default_field = "differential"


class InvalidTime(InvalidInput):
    """A time is malformed, before 1970, in the future, outside the season of the game id, or before its game's end."""

    reason = "INVALID_TIME"
    default_field = "observed_time"


class InvalidOvertimes(InvalidInput):
    """The number of overtimes is too large, or was given for halftime."""

    reason = "INVALID_OVERTIMES"
    default_field = "overtimes"


class InvalidPlayers(InvalidInput):
    """A box score is not possible, or was given for halftime."""

    reason = "INVALID_PLAYERS"
    default_field = "players"


class ReadStopped(Exception):
    """A read ended early because it was stopped."""


_ErrorT = TypeVar("_ErrorT", bound=DejavuError)


def copy_of(error: _ErrorT) -> _ErrorT:
    """Return a copy of an error for another caller, because raising an error extends its traceback."""
    copy: _ErrorT = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy


class ReportedFailures:
    """A context that calls a function with each LedgerError of its blocks; one object serves for all of them.

    Args:
        report: the function.
    """

    def __init__(self, report: Callable[[LedgerError], None]) -> None:
        self._report = report

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Report the error, which then propagates to the caller."""
        if isinstance(error, LedgerError):
            self._report(error)


def mebibytes_left(number: int) -> str:
    """Return a number of free bytes in MiB for a message, rounded down: less than a whole limit never reads like it."""
    tenths = number * 10 >> 20
    return f"{tenths // 10:,}" + (f".{tenths % 10}" if tenths % 10 else "")
