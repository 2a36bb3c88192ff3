"""Compares the times of entries with the times at which checkpoints were signed.

A checkpoint at a sequence was signed after the entries up to it were recorded, and before the others. A later entry
with an invented earlier time is dated before a checkpoint that does not contain it.

Workers date their entries and checkpoints. Their clocks, one clock with SQLite, are assumed to agree within the
tolerance.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.records import Checkpoint

CLOCK_TOLERANCE: Final = timedelta(seconds=120)
"""Default for the difference that does not count as a contradiction. A forecast is dated before it is recorded: by up
to the 60 s that a call can take (`interceptors.MAX_CALL_SECONDS`), and the wait for the disk. The rest is for
corrections of the clock."""


class SignedTimes:
    """Times between which entries can have been recorded, according to checkpoints.

    Args:
        checkpoints: the checkpoints, in any order.
        tolerance: difference that does not count as a contradiction.
    """

    def __init__(self, checkpoints: Iterable[Checkpoint], tolerance: timedelta = CLOCK_TOLERANCE) -> None:
        self._tolerance_us = tolerance // timedelta(microseconds=1)
        signed = sorted((each.sequence, microseconds(each.signed_time)) for each in checkpoints)
        self._sequences = array("q", (sequence for sequence, _ in signed))
        # `_after`: latest time of the checkpoints up to each, which is a lower bound for entries after it. `_up_to`:
        # earliest time of the checkpoints from each on, which is an upper bound for entries up to it.
        self._after = array("q", (time for _, time in signed))
        self._up_to = array("q", self._after)
        for index in range(1, len(signed)):
            self._after[index] = max(self._after[index], self._after[index - 1])
        for index in range(len(signed) - 2, -1, -1):
            self._up_to[index] = min(self._up_to[index], self._up_to[index + 1])

    def check(self, sequence: int, time: datetime, *, may_be_older: bool = False) -> None:
        """Check the time of an entry: when its forecast was made or its outcome recorded, in UTC.

        Args:
            sequence: sequence of the entry.
            time: its time.
            may_be_older: whether it may have waited before it was recorded.

        Raises:
            LedgerCorrupt: if a checkpoint before it was signed later, or one that contains it was signed earlier.
        """
        time_us = microseconds(time)
        index = bisect_left(self._sequences, sequence)  # of the first checkpoint that contains the entry
        if index and not may_be_older and time_us < self._after[index - 1] - self._tolerance_us:
            signed = _text(self._after[index - 1])
            raise _differs(sequence, time, f"but was recorded after a checkpoint that was signed at {signed}")
        if index < len(self._sequences) and time_us > self._up_to[index] + self._tolerance_us:
            signed = _text(self._up_to[index])
            raise _differs(sequence, time, f"but is in a checkpoint that was signed at {signed}")


def _differs(sequence: int, time: datetime, why: str) -> LedgerCorrupt:
    dated = time.astimezone(UTC).isoformat()
    return LedgerCorrupt(
        f"entry {sequence}: its time is {dated}, {why}: it was made up, or the clock was set back (--clock-tolerance)"
    )


def _text(time_us: int) -> str:
    return from_microseconds(time_us).isoformat()
