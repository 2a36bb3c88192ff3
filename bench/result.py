"""Results of rounds in `bench.kills`, `bench.restarts` and `bench.promotions`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Result:
    """Results of a run: first the numbers of attempts, then the counts that must be 0 or empty."""

    rounds: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    slowest_seconds: float = 0.0
    errors_without_server: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    entries: int = 0
    messages: int = 0
    dials: int = 0
    back_seconds: list[float] = field(default_factory=list)
    missing: int = 0
    twice: int = 0
    changed_on_retry: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    streams_lost: int = 0
    streams_twice: int = 0
    streams_out_of_order: int = 0
    orphans: int = 0
    broken_chain: str = ""

    def breaches(self) -> list[str]:
        """Return the names of the failed checks."""
        checked = ("missing", "twice", "changed_on_retry", "errors", "streams_lost", "streams_twice")
        return [name for name in (*checked, "streams_out_of_order", "orphans", "broken_chain") if getattr(self, name)]
