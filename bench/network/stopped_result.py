"""Results of `bench.network.stopped_worker`."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.network.callers import Phase

MOST_FAILED = 0.02
"""Largest share of calls that may fail while a worker is stopped."""


@dataclass
class StoppedResult:
    """Results of a run.

    Attributes:
        control: the calls before the stop, by kind of client.
        stopped: the calls that were made or under way while a worker was stopped, by kind of client.
        changed: number of repeated named calls that returned another forecast.
    """

    control: dict[str, Phase] = field(default_factory=dict)
    stopped: dict[str, Phase] = field(default_factory=dict)
    changed: int = 0

    def breaches(self) -> list[str]:
        """Describes the failed checks."""
        found = [f"{kind}: calls failed before the stop" for kind, phase in self.control.items() if phase.errors]
        for kind, phase in self.stopped.items():
            if phase.failed >= MOST_FAILED:
                found.append(f"{kind}: {phase.failed:.1%} of the calls failed while a worker was stopped")
        return [*found, *(["a repeated call returned another forecast"] if self.changed else [])]
