"""Checks that revisions count from 0 without gaps, in the order of the entries, and that each changes something.

The writer records a revision only if it differs from the newest one and from the newest timely one (see
`store.append`).
"""

from __future__ import annotations

from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.queries.verification import revisions
from dejavu_ledger.queries.verification.revisions import Revision


def check(connection: Connection) -> None:
    """Check the revisions of all forecasts and outcomes, whose rows were compared with their entries before.

    Args:
        connection: a read connection.

    Raises:
        LedgerCorrupt: at a revision whose predecessor is missing or comes later, or that changes nothing; the message
            names its entry.
    """
    for each in revisions.forecast_revisions(connection):
        _check(each, "forecast")
    for each in revisions.outcome_revisions(connection):
        _check(each, "outcome")
        _check_withdrawal(each)
    for sequence in revisions.withdrawals_of_nothing(connection):
        raise LedgerCorrupt(f"entry {sequence}: it withdraws an outcome that was not reported")


def _check(each: Revision, kind: str) -> None:
    entry = f"entry {each.sequence}: revision {each.revision} of {'an' if kind == 'outcome' else 'a'} {kind}"
    if each.before_sequence is None:
        raise LedgerCorrupt(f"{entry} without revision {each.revision - 1}: revisions count from 0")
    if each.before_sequence > each.sequence:
        raise LedgerCorrupt(f"{entry} stands before revision {each.revision - 1}, which is at {each.before_sequence}")
    if each.repeats_before or each.repeats_in_time:
        raise LedgerCorrupt(f"{entry} changes nothing: it has the values and teams of an earlier revision")


def _check_withdrawal(each: Revision) -> None:
    """Check that a withdrawal has the values of the outcome that it withdraws."""
    *values, withdrawn = each.content
    if withdrawn and each.before_sequence is not None and [*values, False] != list(each.before):
        raise LedgerCorrupt(
            f"entry {each.sequence}: it withdraws another outcome than that of revision {each.revision - 1}"
        )
