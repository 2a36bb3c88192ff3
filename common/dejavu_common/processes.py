"""Processes: children that must not outlive their parent, forks, resource usage, open files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

_PRCTL = {"PR_SET_PDEATHSIG": 1, "PR_SET_CHILD_SUBREAPER": 36}

_MEBIBYTE = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def die_with_parent(parent_pid: int, number: signal.Signals) -> None:
    """Make the kernel send a signal to this process when its parent dies for any reason, SIGKILL included.

    Args:
        parent_pid: process id of the parent, as the parent passed it on.
        number: the signal.

    Raises:
        OSError: if the kernel refuses.
        SystemExit: if the parent has died already.
    """
    _prctl("PR_SET_PDEATHSIG", number)
    if os.getppid() != parent_pid:  # the parent died before the prctl call
        raise SystemExit(1)


def become_subreaper() -> None:
    """Make this process the parent of descendants whose own parent ends; it then has to wait for them (waitpid).

    Raises:
        OSError: if the kernel refuses.
    """
    _prctl("PR_SET_CHILD_SUBREAPER", 1)


def _prctl(option: str, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PRCTL[option], value) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def thread_count() -> int:
    """Return the number of threads of this process, including threads of libraries."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only


def replace_in_command_line(old: bytes, new: bytes) -> None:
    """Replace a part of the command line that ps and /proc show of this process; do nothing if it has no such part.

    A forked process keeps the command line of its parent, although it does something else.

    Args:
        old: the part.
        new: its replacement, of the same length, because it is written in place.

    Raises:
        ValueError: if the lengths differ.
    """
    if len(old) != len(new):
        raise ValueError(f"{new!r} is not as long as {old!r}")
    # Fields 48 and 49 of man 5 proc: the addresses at which the arguments begin and end; 0 if they are not readable.
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    if not 0 < start < end:
        return
    at = ctypes.string_at(start, end - start).find(old)
    if at >= 0:
        ctypes.memmove(start + at, new, len(new))


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory (RSS) of a process, in MiB; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / _MEBIBYTE
    except (OSError, IndexError):
        return 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far, in seconds; resolution 0.01 s.

    Raises:
        OSError: if it has ended.
    """
    return state_and_cpu_seconds(Path(f"/proc/{pid}/stat"))[1]


def state_and_cpu_seconds(stat: Path) -> tuple[str, float]:
    """Return the state of a process or thread, a letter as in `man 5 proc`, and its CPU time so far, in seconds.

    Args:
        stat: its file `stat` below /proc.

    Raises:
        OSError: if it has ended.
    """
    fields = stat.read_text().rpartition(")")[2].split()  # before ")": the program's name, which may contain spaces
    return fields[0], (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def return_freed_memory() -> None:
    """Return freed memory to the system if the C library can: otherwise the heap keeps it for reuse."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit.

    The usual soft limit of 1,024 is there for programs that use select(2), which can't handle more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # the hard limit is above the kernel's current maximum
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return file_limit()


def file_limit() -> int:
    """Return the soft limit of open files."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
