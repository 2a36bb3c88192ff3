"""Compares the answers of a run of promotions with the ledger: was each made by the champion at its sequence?"""

from __future__ import annotations

import asyncio
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from bench.kills import Subscriber
from bench.result import Result

from dejavu_models.errors import DejavuError
from dejavu_models.registry.stages import ModelAction
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.audit.verification import verify
from dejavu_server.ledger.queries.model_changes import KnownRoster, read_changes
from dejavu_server.records import IssuedForecast


class Answer(NamedTuple):
    """An answer to a publisher; a what-if has sequence 0."""

    game_id: str
    sequence: int
    version: str


@dataclass
class PromotionResult(Result):
    """Results of a run of promotions; see `Result`.

    Attributes:
        median_change_ms, slowest_change_ms: from the request for a change to its answer.
        median_call_ms: median of named calls.
        not_by_champion: recorded forecasts that were not made by the champion at their sequence.
        misquoted: answers that the ledger does not have, or has with a different game or model.
        never_champion: what-ifs answered by a model that was never the champion.
        disagreeing: workers whose model at the end is not the champion → their model.
        failed_changes: changes that were refused, by reason.
    """

    median_change_ms: float = 0.0
    slowest_change_ms: float = 0.0
    median_call_ms: float = 0.0
    not_by_champion: int = 0
    misquoted: int = 0
    never_champion: int = 0
    disagreeing: dict[str, str] = field(default_factory=dict)
    failed_changes: dict[str, int] = field(default_factory=dict)

    def breaches(self) -> list[str]:
        """Return the names of the failed checks."""
        own = ("not_by_champion", "misquoted", "never_champion", "disagreeing", "failed_changes")
        return [*super().breaches(), *(name for name in own if getattr(self, name))]


async def judge(
    result: PromotionResult,
    url: str,
    answers: Sequence[Answer],
    subscribers: Sequence[Subscriber],
    served: dict[str, str],
) -> None:
    """Compare answers and streams with the ledger.

    Args:
        result: receives the findings.
        url: the ledger.
        answers: all answers.
        subscribers: all streams.
        served: worker → the model that it uses at the end.
    """
    ledger = await Ledger.open(url)
    entries: list[IssuedForecast] = []
    try:
        last = 0
        while page := await ledger.read_after(last, 1000):
            entries.extend(entry for entry in page if isinstance(entry, IssuedForecast))
            last = page[-1].sequence
        changes = await ledger.read(read_changes)
        roster = await ledger.read(KnownRoster().read)
    finally:
        await ledger.close()
    switches = [each for each in changes if each.action in {ModelAction.PROMOTE, ModelAction.ROLLBACK}]
    starts, champions = [each.sequence for each in switches], [each.model_version for each in switches]
    recorded = {entry.sequence: entry for entry in entries}
    for entry in entries:
        place = bisect_left(starts, entry.sequence) - 1
        result.not_by_champion += place < 0 or champions[place] != entry.forecast.model_version
    for answer in answers:
        if answer.sequence:
            entry_ = recorded.get(answer.sequence)
            quoted = None if entry_ is None else (entry_.game_id, entry_.forecast.model_version)
            result.misquoted += quoted != (answer.game_id, answer.version)
        else:
            result.never_champion += answer.version not in champions
    result.entries, result.calls = len(entries), len(answers)
    result.acknowledged = len({answer.sequence for answer in answers if answer.sequence})
    result.rounds |= Counter(each.action.value for each in switches)
    result.disagreeing = {worker: version for worker, version in served.items() if version != roster.champion}
    for each in subscribers:
        received = each.sequences
        result.messages += len(received)
        result.dials += each.connections - 1
        result.streams_lost += len(recorded.keys() - set(received))
        result.streams_twice += len(received) - len(set(received))
        result.streams_out_of_order += sum(later < earlier for earlier, later in pairwise(received))
    try:
        await asyncio.to_thread(verify, url)
    except DejavuError as error:
        result.broken_chain = str(error)


def median_ms(seconds: Sequence[float]) -> float:
    """Return the median of some times, in milliseconds; 0 without any."""
    return 1000 * statistics.median(seconds) if seconds else 0.0
