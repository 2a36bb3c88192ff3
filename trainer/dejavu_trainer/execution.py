"""Runs independent pieces of work in processes of this machine or on a Ray cluster, by joblib; reports progress."""

from __future__ import annotations

import os
import pickle
import platform
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import ParallelBackendBase
from threadpoolctl import threadpool_limits

from dejavu_common.build import install
from dejavu_common.processes import die_with_parent
from dejavu_models.errors import DejavuError
from dejavu_trainer.lineage import code_version, libraries

T = TypeVar("T")
R = TypeVar("R")

Advance = Callable[[int], object]
"""Called with the number of units that were just completed."""

_ATTEMPTS: Final = 4
"""How often a piece is tried whose worker is lost; then it is the cause, by its memory for example."""


class ExecutionError(DejavuError):
    """Pieces of work can't be run where they should."""


def ignore(_: int) -> None:
    """Show no progress."""


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
        with ExitStack() as stack:
            content, versions, options = packed, dict[str, str](), dict[str, Any]()
            if self.address == "loky":
                options = {"n_jobs": min(self.jobs, max(2, len(numbers))), "pre_dispatch": "n_jobs"}
                options |= {"initializer": _start_process, "initargs": (os.getpid(),)}
            else:
                backend, content = stack.enter_context(_ray(self.address, packed))
                options = {"backend": backend, "pre_dispatch": "all"}
                versions = _versions()
            tasks = (delayed(_run)(work, number, pieces[number], content, versions) for number in numbers)
            run = Parallel(return_as="generator_unordered", batch_size=1, **options)
            cpus = {cpu_model()}
            for outcome in stack.enter_context(closing(run(tasks))):
                cpus.add(outcome.cpu)
                for warning in outcome.warnings:
                    warnings.warn_explicit(*warning)
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
    result: Any  # or the exception that the piece raised
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
            _check(versions)
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


def _check(versions: Mapping[str, str]) -> None:
    found = _versions() if versions else {}
    wrong = [
        f"{name} {found[name]} instead of {version}" for name, version in versions.items() if found[name] != version
    ]
    if wrong:
        raise ExecutionError(f"the worker on {platform.node()} has {', '.join(wrong)}: install the same release")


def _start_process(parent: int) -> None:
    """Prepare a process of loky: it ends with its parent, which reports Ctrl-C for all."""
    die_with_parent(parent, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class _RayBackend(ParallelBackendBase):  # type: ignore[misc]
    """Makes joblib run pieces as futures of a Ray cluster.

    joblib's own backend for Ray uses only the workers of the beginning.

    Args:
        run: `_run` as a remote function of Ray.
        address: address of the cluster.
    """

    supports_retrieve_callback = supports_return_generator = True

    def __init__(self, run: Any, address: str) -> None:
        super().__init__()
        self._run = run
        self._address = address

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return a number above 1, with which joblib would not ask a backend."""
        return max(n_jobs, 2)

    def submit(self, func: Any, callback: Callable[[Any], object]) -> Any:
        """Begin a piece; its arguments are passed one by one, which makes Ray resolve what was sent before."""
        [(_, arguments, _)] = func.items
        with self._explained():
            future = self._run.remote(*arguments).future()
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> list[_Outcome]:
        """Return the outcome of a piece that is done; raise its exception."""
        with self._explained():
            outcome: _Outcome = out.result()
        if isinstance(outcome.result, Exception):
            raise outcome.result
        return [outcome]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise errors of the cluster, which begin with tracebacks, as ExecutionError with their cause."""
        try:
            yield
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__:
                cause = cause.__cause__
            lines = [line.strip() for line in str(cause).splitlines() if re.search(r"\w", line)]
            reason = [type(cause).__name__, *lines][-1]
            raise ExecutionError(f"{self._address}: a worker can't run this: {reason}") from error


@contextmanager
def _ray(address: str, packed: Any) -> Iterator[tuple[_RayBackend, Any]]:
    """Connect to a Ray cluster; yield a backend of joblib, and `packed` as it is passed to `_run`.

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
        yield _RayBackend(run, address), ray.put(packed)
    except BaseException:
        ray.shutdown()
        raise
