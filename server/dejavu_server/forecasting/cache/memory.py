"""Answers in the memory of one worker: bounded in bytes and entries, least recently used first out, fair to callers.

A flood of different requests must not push out what others use. Each answer counts against whoever had it computed;
callers are spread over SHARDS by a hash with a secret of the process, and the fullest shard gives way first (as in
stochastic fairness queueing, McKenney 1990). A caller that fills the cache therefore replaces its own answers, and
those of the few who share its shard. A library's cache (cachetools.TLRUCache) has one order for all callers.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

SHARDS: Final = 64
"""Groups of callers that compete for room."""

MAX_ENTRIES: Final = 65_536

MAX_REQUEST: Final = 4096
"""Longest request to keep, in bytes: every field of PredictRequest at its longest takes less."""

MAX_ANSWER: Final = 32_768
"""Longest answer to keep, in bytes; with explanation and 99 quantiles it has about 6,000."""

ENTRY_BYTES: Final = 1024
"""Memory that an entry takes beside request and answer, in bytes; a test measures that it is not more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A serialized answer to a what-if.

    Attributes:
        data: the serialized response.
        model_version: the model that answered.
        horizon: name of the horizon of the forecast: the value of a Horizon.
        generated: when it was computed; aware, UTC.
        until: when it must no longer be used; aware, UTC.
    """

    data: bytes
    model_version: str
    horizon: str
    generated: datetime
    until: datetime

    def is_current(self, now: datetime) -> bool:
        """Returns whether it may be used; not either if the clock was set back to before it was computed."""
        return self.generated <= now < self.until


class MemoryCache:
    """Answers by serialized request; must be used by one thread.

    Args:
        max_bytes: most bytes that it takes.
        max_entries: most answers.

    Attributes:
        bytes: bytes that it takes: requests, answers and ENTRY_BYTES for each.
        evictions: answers that gave way to others since the start; those that became too old or were cleared do not
            count.
    """

    def __init__(self, max_bytes: int, max_entries: int = MAX_ENTRIES) -> None:
        self.max_bytes = max_bytes
        self._max_entries = max_entries
        self._answers: dict[bytes, tuple[Answer, int]] = {}
        self._shards: list[OrderedDict[bytes, int]] = [OrderedDict() for _ in range(SHARDS)]
        self._shard_bytes = [0] * SHARDS
        self.bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        """Returns the number of answers, those included that are too old and were not looked up since."""
        return len(self._answers)

    def get(self, request: bytes, now: datetime) -> Answer | None:
        """Returns the answer to a request; None if there is none that may be used now."""
        found = self._answers.get(request)
        if found is None:
            return None
        answer, shard = found
        if not answer.is_current(now):
            self._remove(request)
            return None
        self._shards[shard].move_to_end(request)
        return answer

    def put(self, request: bytes, answer: Answer, owner: str) -> bool:
        """Keeps an answer, in place of older ones if it must; returns whether it is kept.

        Args:
            request: the serialized request.
            answer: its answer.
            owner: who had it computed.
        """
        size = len(request) + len(answer.data) + ENTRY_BYTES
        if len(request) > MAX_REQUEST or len(answer.data) > MAX_ANSWER or size > self.max_bytes:
            return False
        if request in self._answers:
            self._remove(request)
        shard = hash(owner) % SHARDS  # hashes of texts have a secret of the process
        self._answers[request] = answer, shard
        self._shards[shard][request] = size
        self._shard_bytes[shard] += size
        self.bytes += size
        while self.bytes > self.max_bytes or len(self._answers) > self._max_entries:
            self._evict()
        return request in self._answers

    def clear(self) -> int:
        """Removes all answers; returns how many there were."""
        removed = len(self._answers)
        self._answers.clear()
        for shard in self._shards:
            shard.clear()
        self._shard_bytes = [0] * SHARDS
        self.bytes = 0
        return removed

    def _evict(self) -> None:
        fullest = self._shard_bytes.index(max(self._shard_bytes))
        self._remove(next(iter(self._shards[fullest])))
        self.evictions += 1

    def _remove(self, request: bytes) -> None:
        _, shard = self._answers.pop(request)
        size = self._shards[shard].pop(request)
        self._shard_bytes[shard] -= size
        self.bytes -= size
