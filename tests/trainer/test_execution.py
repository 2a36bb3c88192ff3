"""Pieces of work run here, in processes or on a Ray cluster with the same results, also if workers are lost."""

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

from dejavu_trainer.execution import HERE, Execution, ExecutionError

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
                [Path(sys.executable).with_name("ray"), "start", *command, *options],
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            until(partial(answers, f"127.0.0.1:{server}"), "the Ray head does not start")
        address = f"ray://127.0.0.1:{server}"
        stack.callback(ray.shutdown)
        ray.init(address)
        resources: Callable[[], dict[str, float]] = ray.cluster_resources
        until(lambda: resources().get("CPU") == 2, "Ray's second node does not join")
        yield address


def until(holds: Callable[[], bool], message: str, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(message)
        time.sleep(0.1)


LOKY = Execution("loky", 2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Execution]:
    with ray_cluster() as address:
        yield Execution(address)


@pytest.fixture(params=[HERE, LOKY, pytest.param(None, marks=pytest.mark.nightly)], ids=["here", "loky", "cluster"])
def execution(request: pytest.FixtureRequest) -> Execution:
    place: Execution = request.param or request.getfixturevalue("cluster")
    return place


def test_results_come_in_order_and_do_not_depend_on_the_place_and_errors_and_warnings_come_back(
    execution: Execution,
) -> None:
    told = dict[int, int]()
    assert execution.map(square, range(6), done=told.__setitem__) == [n**2 for n in range(6)]
    assert told == {n: n**2 for n in range(6)}
    assert execution.map(square, []) == []
    with pytest.raises(ZeroDivisionError):
        execution.map(invert, [1, 0, 2])
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(400, 600)), rng.normal(size=(600, 300))  # large enough to be mapped, not copied
    products, same = (place.map(product, range(4), *matrices) for place in (execution, HERE))
    assert np.array_equal(products, same)
    with pytest.warns(UserWarning, match="piece 1 has few games"):
        assert execution.map(warn, range(3)) == [0, 1, 2]


def test_pieces_run_in_several_processes() -> None:
    assert set(HERE.map(process, range(2))) == {os.getpid()}
    assert len({os.getpid(), *LOKY.map(process, range(4))}) == 3


@pytest.mark.parametrize("place", ["loky", pytest.param("cluster", marks=pytest.mark.nightly)])
def test_pieces_of_lost_workers_run_again(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    execution = LOKY if place == "loky" else request.getfixturevalue("cluster")
    assert execution.map(kill_once, range(5), tmp_path) == list(range(5))
    assert (tmp_path / "1").exists()


@pytest.mark.nightly
def test_a_piece_that_ends_every_worker_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="workers were lost 4 times"):
        LOKY.map(partial(kill_once, always=True), range(3), tmp_path)


INTERRUPTED = """
import sys
from pathlib import Path
from dejavu_trainer.execution import Execution
from tests.support.pieces import sleep

if __name__ == "__main__":
    Execution(sys.argv[1], 2).map(sleep, range(4), Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("loky", signal.SIGINT),
        ("loky", signal.SIGKILL),
        pytest.param("cluster", signal.SIGINT, marks=pytest.mark.nightly),
    ],
)
def test_processes_end_with_their_caller(
    place: str, number: signal.Signals, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    address = place if place == "loky" else request.getfixturevalue("cluster").address
    program, marks = tmp_path / "program.py", tmp_path / "marks"
    program.write_text(INTERRUPTED)
    marks.mkdir()
    command, environment = [sys.executable, str(program), address, str(marks)], os.environ | {"PYTHONPATH": str(ROOT)}
    # A session of its own: Ctrl-C reaches a group of processes.
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
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


@pytest.mark.nightly
def test_a_cluster_without_a_module_or_of_another_release_is_refused_and_another_cpu_told(
    cluster: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_the_caller.py").write_text("def same(piece):\n    return piece\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExecutionError, match=r"a worker can't run this: .*No module named 'of_the_caller'"):
        cluster.map(importlib.import_module("of_the_caller").same, [1])
    with monkeypatch.context() as patch:
        patch.setattr("dejavu_trainer.execution.cpu_model", lambda: "Another CPU")
        with pytest.warns(UserWarning, match="computed on .*Another CPU.*: results may differ in last digits"):
            assert cluster.map(square, [2]) == [4]
    monkeypatch.setattr("dejavu_trainer.execution.libraries", lambda: {"numpy": "1.0"})
    with pytest.raises(
        ExecutionError, match=r"the worker on .+ has numpy .+ instead of 1\.0: install the same release"
    ):
        cluster.map(square, [1])


def test_unknown_addresses_are_refused_and_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("", "local", "ray://", "http://host:1"):
        with pytest.raises(ValueError, match="is none of loky, ray"):
            Execution(address)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutionError, match=r"ray is missing: pip install 'dejavu-forecast\[trainer,ray\]'"):
        Execution("ray://127.0.0.1:1").map(square, [1])
