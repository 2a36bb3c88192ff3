"""Runs independent pieces of work in processes of this machine, by joblib, or on a Ray cluster; reports progress.

It also lets one process use a folder at a time.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import platform
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from dejavu_common.build import install
from dejavu_common.processes import die_with_parent
from dejavu_models.components.component import Advance, ignore
from dejavu_models.errors import DejavuError
from dejavu_trainer.lineage import code_version, libraries

T = TypeVar("T")
R = TypeVar("R")

_ATTEMPTS: Final = 4
"""How often a piece is tried whose worker is lost; then it is the cause, by its memory for example."""


class ExecutionError(DejavuError):
    """Pieces of work can't be run where they should."""


class Progress:
    """Reports the progress of consecutive steps of a run; this class shows nothing."""

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Advance]:
        """Begin a step of `total` units; yield a function to call with the number of units just completed."""
        yield ignore


@dataclass(frozen=True, slots=True)
class Execution:
    """Where independent pieces of work run.

    Attributes:
        address: loky, processes of this machine; ray://HOST:PORT, or ray for the cluster of this machine or of
            RAY_ADDRESS.
        jobs: number of processes of loky; 1: pieces run in this process. A cluster runs one piece per core.

    Raises:
        ValueError: if the address is none of these.
    """

    address: str = "loky"
    jobs: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"loky|ray(://.+)?", self.address):
            raise ValueError(f"{self.address!r} is none of loky, ray, ray://HOST:PORT")

    def map(
        self,
        work: Callable[..., R],
        pieces: Sequence[T],
        *shared: object,
        done: Callable[[int, R], object] = lambda number, result: None,
    ) -> list[R]:
        """Return the results of `work(piece, *shared)`, in order; on CPUs of one kind the place does not change them.

        Each piece has one thread, in a process that runs no other. If its worker is lost, it is run again. Warnings of
        pieces are issued in this process.

        Args:
            work: function of a module, or a partial of one; its result depends on its arguments only.
            pieces: inputs of `work`; they begin in this order.
            shared: more inputs, sent once rather than with each piece.
            done: called in this process with the number of each piece and its result, as soon as it is there.

        Raises:
            ExecutionError: if the cluster can't be used, or workers are lost repeatedly.
            OSError: if the cluster can't be reached.
        """
        results = dict[int, R]()
        for attempt in range(1, _ATTEMPTS + 1):
            waiting = [number for number in range(len(pieces)) if number not in results]
            try:
                with closing(self._results(work, pieces, waiting, shared)) as found:
                    for number, result in found:
                        results[number] = result
                        done(number, result)
                break
            except BrokenProcessPool as error:  # of loky; Ray tries again itself
                if attempt == _ATTEMPTS:
                    raise ExecutionError(f"workers were lost {_ATTEMPTS} times: {error}") from error
        return [results[number] for number in range(len(pieces))]

    def _results(
        self, work: Callable[..., R], pieces: Sequence[T], numbers: Sequence[int], shared: tuple[object, ...]
    ) -> Generator[tuple[int, R], None, None]:
        """Yield the number of each piece and its result, in order of completion."""
        if not numbers:
            return
        if self == HERE:
            with threadpool_limits(1):
                for number in numbers:
                    yield number, work(pieces[number], *shared)
            return
        # As an array, which joblib maps into all processes of loky.
        packed = np.frombuffer(pickle.dumps(shared, pickle.HIGHEST_PROTOCOL), np.uint8)
        tasks = [(work, number, pieces[number]) for number in numbers]
        if self.address == "loky":
            outcomes = _on_loky(min(self.jobs, max(2, len(numbers))), tasks, packed)
        else:
            outcomes = _on_ray(self.address, tasks, packed)
        cpus = {cpu_model()}
        with closing(outcomes):
            for outcome in outcomes:
                cpus.add(outcome.cpu)
                for warning in outcome.warnings:
                    warnings.warn_explicit(*warning)
                if isinstance(outcome.result, Exception):
                    raise outcome.result
                yield outcome.number, outcome.result
        if len(cpus) > 1:
            warnings.warn(f"computed on {' and '.join(sorted(cpus))}: results may differ in last digits", stacklevel=2)


HERE: Final = Execution()
"""Runs pieces in this process, one after the other."""


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


@cache
def cpu_model() -> str:
    """Return the model of this machine's CPU, by which libraries select routines that round differently."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()


class _Outcome(NamedTuple):
    number: int
    result: Any  # or the exception that the piece raised on a cluster
    warnings: list[tuple[str, type[Warning], str, int]]
    cpu: str


def _run(
    work: Callable[..., object], number: int, piece: object, content: Any, versions: Mapping[str, str]
) -> _Outcome:
    """Run a piece, with the versions of the caller if given."""
    # A matrix product rounds differently when BLAS splits it over several threads.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("default")
        try:
            found = _versions() if versions else {}
            if wrong := [f"{name} {found[name]} instead of {of}" for name, of in versions.items() if found[name] != of]:
                has = f"the worker on {platform.node()} has {', '.join(wrong)}"
                raise ExecutionError(f"{has}: install the same release")
            result = work(piece, *pickle.loads(content))  # noqa: S301 - what `map` was given
        except Exception as error:
            if not versions:  # loky raises it with its traceback
                raise
            error.add_note(traceback.format_exc())
            result = error
    issued = [(str(each.message), each.category, each.filename, each.lineno) for each in caught]
    return _Outcome(number, result, issued, cpu_model())


def _versions() -> dict[str, str]:
    """Return the versions that determine results."""
    return libraries() | {"code": code_version()}


def _start_process(parent: int) -> None:
    """Prepare a process of loky: it ends with its parent, which reports Ctrl-C for all."""
    die_with_parent(parent, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _on_loky(jobs: int, tasks: Sequence[tuple[Any, ...]], packed: Any) -> Generator[_Outcome, None, None]:
    """Run pieces in processes of this machine; yield their outcomes."""
    run = Parallel(
        n_jobs=jobs,
        pre_dispatch="n_jobs",
        batch_size=1,
        return_as="generator_unordered",
        initializer=_start_process,
        initargs=(os.getpid(),),
    )
    with closing(run(delayed(_run)(*task, packed, {}) for task in tasks)) as outcomes:
        yield from outcomes


def _on_ray(address: str, tasks: Sequence[tuple[Any, ...]], packed: Any) -> Generator[_Outcome, None, None]:
    """Run pieces on a Ray cluster; yield their outcomes.

    The connection, which takes seconds, stays for the next pieces, unless these fail: Ray ends what runs with it.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ExecutionError(f"ray is missing: {install('trainer,ray')}") from error
    try:
        if not ray.is_initialized():
            ray.init("auto" if address == "ray" else address)
    except (ConnectionError, RuntimeError) as error:  # RuntimeError: another version of Python or Ray
        raise ExecutionError(f"no connection to Ray: {error}") from error
    run: Any = ray.remote(num_cpus=1, max_retries=_ATTEMPTS - 1)(_run)
    try:
        with _explained(address):
            content, versions = ray.put(packed), _versions()
            waiting = [run.remote(*task, content, versions) for task in tasks]
        while waiting:
            with _explained(address):
                [ready], waiting = ray.wait(waiting)
                outcome: _Outcome = ray.get(ready)
            yield outcome
    except BaseException:
        ray.shutdown()
        raise


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Raise errors of a cluster, which begin with tracebacks, as ExecutionError with their cause."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__:
            cause = cause.__cause__
        lines = [line.strip() for line in str(cause).splitlines() if re.search(r"\w", line)]
        reason = [type(cause).__name__, *lines][-1]
        raise ExecutionError(f"{address}: a worker can't run this: {reason}") from error


FETCH_LOCK: Final = ".lock"
"""File in a folder of received plays that its user has locked."""

RETRAIN_LOCK: Final = ".retrain.lock"
"""The same in a work folder of a retrain: no other folder has it, so its presence shows what may be removed."""


@contextmanager
def locked(folder: Path, name: str, refusal: Exception) -> Iterator[None]:
    """Make a folder if it does not exist, and lock it.

    The kernel releases the lock when the process that has it ends, however it ends.

    Args:
        folder: the folder.
        name: name of the file that is locked.
        refusal: raised if another process has it.

    Raises:
        OSError: if it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
