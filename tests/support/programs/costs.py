"""The CPU time that a refusal costs a program, as a multiple of a reference task in Python."""

from __future__ import annotations

import json
import time

import psutil

MOST_REFERENCES = 4
"""Greatest cost of a refusal, in reference tasks. Measured: a task takes 9 ms, and no refusal more than 20 ms."""

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
