from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.support.harness.documents import ROOT
from tests.support.pieces import invert, kill_once, process, product, square, warn
from tests.support.processes.clusters import ray_cluster

from dejavu_trainer import execution as execution_module
from dejavu_trainer.execution import HERE, Execution, ExecutionError

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
