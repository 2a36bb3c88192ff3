"""What a refusal costs a program: its CPU time, in times of a work of Python that is the same everywhere."""

from __future__ import annotations

import json
import time

import psutil

MOST_REFERENCES = 4
"""What a refusal may cost at most. On the machine of the figures a reference is 9 ms, and none costs more than 20."""

_BODY = b"[" + b"0," * 200_000 + b"0]"


def reference_seconds() -> float:
    """Return the CPU time in which Python's json reads 400 kB of numbers, here and now."""
    best = 1.0
    for _ in range(5):
        started = time.process_time()
        json.loads(_BODY)
        best = min(best, time.process_time() - started)
    return best


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children so far."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)
