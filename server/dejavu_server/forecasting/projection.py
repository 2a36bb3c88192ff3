"""A pure fold over the outcomes of a ledger, which can be rewound for corrections and withdrawals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from dejavu_ledger.queries.learning import SettledGame

_T = TypeVar("_T")

SNAPSHOT_EVERY: Final = 50
"""Number of outcomes between two snapshots."""

SNAPSHOTS_KEPT: Final = 20
"""Number of snapshots kept in memory: corrections are almost always of recent days."""


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[_T]):
    """A state of a projection.

    Attributes:
        sequence: sequence number of the last outcome included.
        count: number of outcomes included.
        state: the state.
    """

    sequence: int
    count: int
    state: _T


class Projection(Generic[_T]):
    """A pure fold over outcomes that can be rewound to earlier snapshots.

    Args:
        start: the state before the first outcome.
        step: returns the state after one more outcome.

    Attributes:
        current: the current state.
    """

    def __init__(self, start: _T, step: Callable[[_T, SettledGame], _T]) -> None:
        self._step = step
        self._snapshots = [Snapshot(0, 0, start)]
        self.current = self._snapshots[0]

    def restore(self, snapshot: Snapshot[_T]) -> None:
        """Continue from a stored snapshot."""
        self._snapshots.append(snapshot)
        self.current = snapshot

    def rewind(self, before: int) -> None:
        """Rewind to the newest snapshot that includes no outcome at or after a sequence number."""
        self._snapshots = [snapshot for snapshot in self._snapshots if snapshot.sequence < before]
        self.current = self._snapshots[-1]

    def advance(self, games: Sequence[SettledGame]) -> list[Snapshot[_T]]:
        """Fold in the outcomes that come after the last one included; return the new snapshots."""
        snapshots = []
        for game in games:
            if game.sequence <= self.current.sequence:
                continue
            self.current = Snapshot(game.sequence, self.current.count + 1, self._step(self.current.state, game))
            if self.current.count % SNAPSHOT_EVERY == 0:
                snapshots.append(self.current)
        self._snapshots.extend(snapshots)
        del self._snapshots[1:-SNAPSHOTS_KEPT]
        return snapshots
