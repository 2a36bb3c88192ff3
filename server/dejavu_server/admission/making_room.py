"""The choice of calls without requests that end to make room for another call.

Clients normally send headers and request together. Callers that send headers only must not be able to hold the places
of all others, nor to end the uploads of others that are slow.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection
from typing import Final

from dejavu_server.admission.concurrency import Shortage
from dejavu_server.admission.controller import PATIENCE_SECONDS, Permit

MANY_WITHOUT_REQUEST: Final = 8
"""Number of calls of one kind without a request from which on the oldest of a caller makes room at any time."""

CROWDED_PATIENCE_SECONDS: Final = 0.005
"""Seconds for which a call keeps its place, instead of PATIENCE_SECONDS, while calls without requests take more than
half of the places: any number of addresses with one call each, renewed in time, could otherwise hold all of them."""


def calls_to_end(calls: Collection[Permit], shortage: Shortage, now: float) -> list[Permit]:
    """Return the calls that make room for another: each is the oldest candidate of the caller with the most.

    Candidates are calls that have had PATIENCE_SECONDS, or whose caller (token or address) has MANY_WITHOUT_REQUEST of
    them. If calls without requests take more than half of the places, CROWDED_PATIENCE_SECONDS are enough, and two of a
    caller are already many: any number of addresses with a few such calls each could otherwise take all places by
    turns.

    Args:
        calls: the calls without a request, oldest first.
        shortage: what the other call lacks.
        now: the time, on the clock of the permits.

    Returns:
        As many calls as must end; none if there are too few candidates.
    """
    waiting = [permit for permit in calls if permit.has_place]
    crowded = 2 * len(waiting) > shortage.in_progress
    patient_until = now + PATIENCE_SECONDS - CROWDED_PATIENCE_SECONDS if crowded else now
    numbers = Counter(permit.caller for permit in waiting)
    candidates = list[tuple[int, Permit]]()
    for permit in waiting:
        number = numbers[permit.caller]
        is_awaited = permit.keeps_place_until < math.inf
        if shortage.gives_way(permit.caller) and (
            permit.keeps_place_until <= patient_until
            or number >= MANY_WITHOUT_REQUEST
            or (crowded and is_awaited and number > 1)
        ):
            candidates.append((number, permit))
            numbers[permit.caller] -= 1
    if len(candidates) < shortage.places:
        return []
    return [permit for _, permit in heapq.nlargest(shortage.places, candidates, key=lambda candidate: candidate[0])]
