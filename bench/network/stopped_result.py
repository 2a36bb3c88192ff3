"""Results of `bench.network.stopped_worker`."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.network.callers import Phase

MOST_FAILED = 0.02
"""Share of failed calls, while a worker is stopped, from which on the check fails."""


@dataclass
class StoppedResult:
    """Results of a run.

    Attributes:
        control: the calls before the stop, by kind of client.
        stopped: the calls that were made or under way while a worker was stopped, by kind of client; without named ones
            if it was stopped in a transaction.
        recorded_after: for a worker stopped in a transaction, seconds from the stop to the end of the first successful
            named call that began after the stop, by kind of client; None if there was none.
        changed: number of repeated named calls that returned a different forecast.
    """

    control: dict[str, Phase] = field(default_factory=dict)
    stopped: dict[str, Phase] = field(default_factory=dict)
    recorded_after: dict[str, float | None] = field(default_factory=dict)
    changed: int = 0

    def breaches(self) -> list[str]:
        """Describe the failed checks."""
        failing = {kind: phase.errors for kind, phase in self.control.items() if phase.errors}
        found = [f"{kind}: calls failed before the stop: {errors}" for kind, errors in failing.items()]
        for kind, phase in self.stopped.items():
            if phase.failed >= MOST_FAILED:
                found.append(f"{kind}: {phase.failed:.1%} of the calls failed while a worker was stopped")
        found += [f"{kind}: nothing was recorded again" for kind, at in self.recorded_after.items() if at is None]
        return [*found, *(["a repeated call returned another forecast"] if self.changed else [])]
