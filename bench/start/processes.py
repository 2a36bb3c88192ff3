"""Processes of a server, with the memory and CPU time that each of them uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ProcessUse:
    """Memory and CPU time of one process.

    Attributes:
        role: supervisor, worker, or spare: a process that waits to become or to fork a worker.
        pid: process id.
        pss_mib: proportional set size, in MiB: its own memory, and its share of memory that it shares with others.
        own_mib: memory that it does not share (USS), in MiB.
        rss_mib: resident memory, in MiB; counts shared memory in full.
        cpu_seconds: CPU time so far.
    """

    role: str
    pid: int
    pss_mib: float
    own_mib: float
    rss_mib: float
    cpu_seconds: float


def processes_of(supervisor: int, workers: set[int]) -> list[ProcessUse]:
    """Return the memory and CPU time of the processes of a server, the supervisor first.

    Args:
        supervisor: process id of the supervisor.
        workers: process ids of the workers that serve.
    """
    parent = psutil.Process(supervisor)
    family = [parent, *sorted(parent.children(recursive=True), key=lambda each: each.pid)]
    return [_use(process, _role(process.pid, supervisor, workers)) for process in family]


def anonymous_mib(pid: int) -> float:
    """Return a process's anonymous memory in MiB. Its share of mapped files depends on other processes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon:")) / 1024


def _role(pid: int, supervisor: int, workers: set[int]) -> str:
    if pid == supervisor:
        return "supervisor"
    return "worker" if pid in workers else "spare"


def _use(process: psutil.Process, role: str) -> ProcessUse:
    memory, cpu = process.memory_full_info(), process.cpu_times()
    return ProcessUse(
        role,
        process.pid,
        memory.pss / _MEBIBYTE,
        memory.uss / _MEBIBYTE,
        memory.rss / _MEBIBYTE,
        cpu.user + cpu.system + cpu.children_user + cpu.children_system,
    )
