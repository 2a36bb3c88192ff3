from __future__ import annotations

import fcntl
import importlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.support.harness.documents import ROOT
from tests.support.pieces import invert, kill_once, process, product, square, warn
from tests.support.processes.connections import answers

from dejavu_trainer import execution as execution_module
from dejavu_trainer.execution import HERE, Execution, ExecutionError

BIN = Path(sys.executable).parent

ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "GRPC_ENABLE_FORK_SUPPORT": "0",  # see docs/training.md
}
"""Environment of the workers: they import the same code as their caller, here the tests too."""


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Start a Ray head and a second node, of one CPU each; yield the address of its client server.

    This process is connected to it, and no longer at the end. Only one process of a machine has one at a time:
    two heads on one machine disturb each other.

    Raises:
        TimeoutError: if it does not start within two minutes.
    """
    import ray

    host = socket.gethostbyname(socket.gethostname())
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, ExitStack() as stack:
        lock = stack.enter_context(Path(tempfile.gettempdir(), "dejavu-ray.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Ray takes ports from 10002 on for processes of its own.
        gcs, server = itertools.islice((port for port in range(6400, 10000) if not answers(f"{host}:{port}")), 2)
        head = ("--head", f"--port={gcs}", f"--ray-client-server-port={server}", "--include-dashboard=false")
        options = ("--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block")
        for command in ((*head, f"--temp-dir={folder}"), (f"--address={host}:{gcs}",)):
            process = subprocess.Popen(
                [BIN / "ray", "start", *command, *options],
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            _until(partial(answers, f"127.0.0.1:{server}"), "the Ray head does not start")
        address = f"ray://127.0.0.1:{server}"
        stack.callback(ray.shutdown)
        ray.init(address)
        resources: Callable[[], dict[str, float]] = ray.cluster_resources
        _until(lambda: resources().get("CPU") == 2, "Ray's second node does not join")
        yield address


def _until(holds: Callable[[], bool], message: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(message)
        time.sleep(0.1)


LOKY = Execution("loky", 2)

INTERRUPTED = """
import sys
from pathlib import Path
from dejavu_trainer.execution import Execution
from tests.support.pieces import sleep

if __name__ == "__main__":
    Execution(sys.argv[1], 2).map(sleep, range(4), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module", params=[pytest.param("ray", marks=pytest.mark.nightly)])
def cluster() -> Iterator[Execution]:
    with ray_cluster() as address:
        yield Execution(address)


@pytest.mark.parametrize("execution", [HERE, LOKY])
def test_results_come_in_order_and_every_piece_is_told(execution: Execution) -> None:
    told = dict[int, int]()
    assert execution.map(square, range(6), done=told.__setitem__) == [n**2 for n in range(6)]
    assert told == {n: n**2 for n in range(6)}
    assert execution.map(square, []) == []


def test_pieces_run_in_several_processes() -> None:
    assert set(HERE.map(process, range(2))) == {os.getpid()}
    assert len({os.getpid(), *LOKY.map(process, range(4))}) == 3


def test_products_do_not_depend_on_the_place() -> None:
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(400, 600)), rng.normal(size=(600, 300))  # large enough to be mapped, not copied
    alone, together = (execution.map(product, range(4), *matrices) for execution in (HERE, LOKY))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("execution", [HERE, LOKY])
def test_what_goes_wrong_in_a_piece_is_raised(execution: Execution) -> None:
    with pytest.raises(ZeroDivisionError):
        execution.map(invert, [1, 0, 2])


def test_a_lost_worker_changes_nothing(tmp_path: Path) -> None:
    assert LOKY.map(kill_once, range(5), tmp_path) == list(range(5))
    assert (tmp_path / "1").exists()


@pytest.mark.nightly
def test_a_piece_that_ends_every_worker_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="workers were lost 4 times"):
        LOKY.map(partial(kill_once, always=True), range(3), tmp_path)


def interrupt(address: str, folder: Path, number: signal.Signals) -> None:
    """Send a signal to a program and its processes once pieces run; check that the processes of these end."""
    program, marks = folder / "program.py", folder / "marks"
    program.write_text(INTERRUPTED)
    marks.mkdir()
    command = [sys.executable, str(program), address, str(marks)]
    # A session of its own: Ctrl-C reaches a group of processes.
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as caller:
        while len(pieces := list(marks.iterdir())) < 2:
            assert caller.poll() is None, caller.communicate()[1]
            time.sleep(0.05)
        workers = [psutil.Process(int(path.name)) for path in pieces]
        if number is signal.SIGINT:
            os.killpg(caller.pid, number)
        else:
            caller.kill()
        error = caller.communicate(timeout=60)[1]
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    assert caller.returncode in (-number, 1), error  # Ray replaces the hook by which Python ends with the signal
    assert error.count("Traceback") == (number is signal.SIGINT), error  # the caller's


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_caller(tmp_path: Path, number: signal.Signals) -> None:
    interrupt("loky", tmp_path, number)


def test_a_cluster_computes_the_same_and_brings_warnings_back(cluster: Execution) -> None:
    told = dict[int, int]()
    with pytest.warns(UserWarning, match="piece 1 has few games"):
        assert cluster.map(warn, range(3), done=told.__setitem__) == [0, 1, 2]
    assert told == {0: 0, 1: 1, 2: 2}
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(400, 600)), rng.normal(size=(600, 300))
    here, there = (execution.map(product, range(4), *matrices) for execution in (HERE, cluster))
    assert all(np.array_equal(one, other) for one, other in zip(here, there, strict=True))


def test_a_cluster_runs_pieces_of_lost_workers_again(cluster: Execution, tmp_path: Path) -> None:
    assert cluster.map(kill_once, range(5), tmp_path) == list(range(5))
    assert (tmp_path / "1").exists()


def test_an_interrupt_ends_what_a_cluster_runs(cluster: Execution, tmp_path: Path) -> None:
    interrupt(cluster.address, tmp_path, signal.SIGINT)


def test_a_cluster_says_what_is_wrong(cluster: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        cluster.map(invert, [1, 0, 2])
    (tmp_path / "of_the_caller.py").write_text("def same(piece):\n    return piece\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExecutionError, match=r"a worker can't run this: .*No module named 'of_the_caller'"):
        cluster.map(importlib.import_module("of_the_caller").same, [1])
    with monkeypatch.context() as patch:
        patch.setattr(execution_module, "cpu_model", lambda: "Another CPU")
        with pytest.warns(UserWarning, match="computed on .*Another CPU.*: results may differ in last digits"):
            assert cluster.map(square, [2]) == [4]
    monkeypatch.setattr(execution_module, "libraries", lambda: {"numpy": "1.0"})
    with pytest.raises(
        ExecutionError, match=r"the worker on .+ has numpy .+ instead of 1\.0: install the same release"
    ):
        cluster.map(square, [1])


@pytest.mark.parametrize("address", ["", "local", "ray://", "http://host:1"])
def test_unknown_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is none of loky, ray"):
        Execution(address)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutionError, match=r"ray is missing: pip install 'dejavu-forecast\[trainer,ray\]'"):
        Execution("ray://127.0.0.1:1").map(square, [1])
