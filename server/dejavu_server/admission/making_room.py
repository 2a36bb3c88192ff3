"""The choice of calls without requests that end to make room for another call.

Clients normally send headers and request together. Callers that send headers only must not be able to hold the places
of all others, nor to end the slow uploads of others.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict
from collections.abc import Collection
from typing import Final

from dejavu_server.admission.concurrency import Shortage
from dejavu_server.admission.controller import PATIENCE_SECONDS, Permit

MANY_WITHOUT_REQUEST: Final = 8
"""Number of one caller's calls of a kind without requests from which the oldest of them can be ended at any time."""

CROWDED_PATIENCE_SECONDS: Final = 0.005
"""Seconds for which a call keeps its place, instead of PATIENCE_SECONDS, if calls without requests take more than half
of the places and the caller's last call ended without its request. Otherwise addresses with one call each, renewed in
time, could hold all places. Other callers keep PATIENCE_SECONDS, since a request can take several round trips."""

MAX_ABANDONING: Final = 4096
"""Maximum number of callers whose abandoned calls are counted; beyond it, the one that has abandoned none for longest
is forgotten."""


class Abandoned:
    """Counts by caller (token or address) the calls that ended without a request since its last request."""

    def __init__(self) -> None:
        self._numbers = OrderedDict[str, int]()

    def add(self, caller: str) -> None:
        """Count a call."""
        self._numbers[caller] = self._numbers.pop(caller, 0) + 1
        if len(self._numbers) > MAX_ABANDONING:
            self._numbers.popitem(last=False)

    def clear(self, caller: str) -> None:
        """Forget the calls that a caller has abandoned, because a request arrived."""
        self._numbers.pop(caller, None)

    def of(self, caller: str) -> int:
        """Return the number of a caller's abandoned calls."""
        return self._numbers.get(caller, 0)


def calls_to_end(calls: Collection[Permit], shortage: Shortage, now: float, abandoned: Abandoned) -> list[Permit]:
    """Return the calls that make room for another: the oldest candidates of the callers that have abandoned the most.

    Candidates are calls that have had PATIENCE_SECONDS, or whose caller (token or address) has MANY_WITHOUT_REQUEST
    such calls. If calls without requests take more than half of the places, two calls of a caller are already many, and
    CROWDED_PATIENCE_SECONDS are enough for a caller that has abandoned its last call. Otherwise many addresses with a
    few such calls each could take all places by turns. Among callers that have abandoned equally many, those with the
    most calls come first.

    Args:
        calls: the calls without a request, oldest first.
        shortage: shortage of places for the other call.
        now: the time, on the clock of the permits.
        abandoned: number of abandoned calls by caller.

    Returns:
        As many calls as must end; none if there are too few candidates.
    """
    waiting = [permit for permit in calls if permit.has_place]
    crowded = 2 * len(waiting) > shortage.in_progress
    numbers = Counter(permit.caller for permit in waiting)
    candidates = list[tuple[tuple[int, int], Permit]]()
    for permit in waiting:
        number, gone = numbers[permit.caller], abandoned.of(permit.caller)
        patient_until = now + PATIENCE_SECONDS - CROWDED_PATIENCE_SECONDS if crowded and gone else now
        is_awaited = permit.keeps_place_until < math.inf
        if shortage.gives_way(permit.caller) and (
            permit.keeps_place_until <= patient_until
            or number >= MANY_WITHOUT_REQUEST
            or (crowded and is_awaited and number > 1)
        ):
            candidates.append(((gone, number), permit))
            numbers[permit.caller] -= 1
    if len(candidates) < shortage.places:
        return []
    return [permit for _, permit in heapq.nlargest(shortage.places, candidates, key=lambda candidate: candidate[0])]
