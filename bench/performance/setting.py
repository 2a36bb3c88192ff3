"""Settings of a run: rounds, sizes, processors, and the installation of MLServer."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dejavu_models.registry.registry import default_bundle

ROOT = Path(__file__).resolve().parents[2]


def _first_cpu() -> frozenset[int]:
    return frozenset({min(os.sched_getaffinity(0))})


def _last_cpu() -> frozenset[int]:
    return frozenset({max(os.sched_getaffinity(0))})


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings of a run.

    Attributes:
        rounds: number of rounds that count; one more comes before them to warm up.
        quick: whether to make only a few calls, to show that everything works.
        mlserver: a Python that has MLServer installed; None: there is none.
        bundle: folder of the model that all contenders serve.
        servers: the CPU of the servers.
        callers: the CPU of the callers; the same CPU on a machine that has only one.
    """

    rounds: int
    quick: bool
    mlserver: Path | None = None
    bundle: Path = field(default_factory=default_bundle)
    servers: frozenset[int] = field(default_factory=_first_cpu)
    callers: frozenset[int] = field(default_factory=_last_cpu)

    def size(self, full: int, quick: int) -> int:
        """Return a number of calls or of similar things, reduced in a quick run."""
        return quick if self.quick else full

    def sizes(self, full: tuple[int, ...], quick: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sizes to measure."""
        return quick if self.quick else full
