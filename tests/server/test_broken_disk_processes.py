"""A server of real processes on a real disk that is read-only, full, or takes no more."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.scrapes import scrape, value_in
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import (
    HALFTIME,
    DejavuClient,
    FailedPreconditionError,
    HealthStatus,
    UnavailableError,
    predict_request,
)
from dejavu_ledger import verify

WORKERS = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


class Server:
    """A server of two workers, and a caller of it."""

    def __init__(self, process: SpawnedServer, client: DejavuClient) -> None:
        self.process = process
        self.client = client

    @property
    def pids(self) -> list[int]:
        """Process ids of its workers."""
        return [int(entry["worker"].partition("-")[2]) for entry in self.told("serving")]

    def told(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.process.events if entry["event"] == event]

    def figure(self, name: str) -> float:
        return value_in(scrape(self.process), name)

    def predict(self, *numbers: int) -> list[int]:
        """Ask for a forecast of each game; return their sequences."""
        return [self.client.predict(PATTERN, horizon=HALFTIME, game_id=game(number)).sequence for number in numbers]

    def lives_without_a_ledger(self) -> None:
        """Check the guarantees without a ledger."""
        assert self.client.predict(PATTERN).sequence == 0
        results = self.client.predict_batch(
            [predict_request(PATTERN, horizon=HALFTIME, game_id=game(90)), predict_request(PATTERN)]
        )
        assert [result.error.reason for result in results] == ["LEDGER_UNAVAILABLE", ""]
        assert self.client.health() is HealthStatus.SERVING
        with pytest.raises(UnavailableError) as caught:
            self.predict(91)
        assert caught.value.reason == "LEDGER_UNAVAILABLE"


def _is_of(worker: str, entry: dict[str, Any]) -> bool:
    return bool(entry["worker"] == worker)


@contextmanager
def serving(ledger: Path, *within: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    options = ("--workers", str(WORKERS), "--ledger", f"sqlite:///{ledger}")
    given = {"DEJAVU_LEDGER_RESERVE_MIB": "0", **(environment or {})}
    with (
        spawned_server(
            *options, "--metrics-listen", "127.0.0.1:0", within=within, environment=given, makes_ledger=True
        ) as process,
        DejavuClient(process.address, timeout=30) as client,
    ):
        yield Server(process, client)


@pytest.mark.nightly
def test_workers_whose_disk_takes_no_more_record_again_once_it_does(folder: Path) -> None:
    with serving(folder / "ledger.sqlite3") as server:
        stream = server.client.stream_predictions(heartbeats=True)
        assert next(stream).HasField("heartbeat")
        assert server.predict(0) == [1]
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in server.pids}
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        server.lives_without_a_ledger()
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        assert server.predict(1, 2, 3) == [2, 3, 4]
        forecasts = (event.forecast.sequence for event in stream if event.HasField("forecast"))
        assert [next(forecasts) for _ in range(4)] == [1, 2, 3, 4]  # the stream stood all the while
        stream.close()
    assert verify(f"sqlite:///{folder}/ledger.sqlite3").sequence == 4


def disk(folder: Path, mebibytes: int) -> tuple[str, ...]:
    """Return a command that executes a server where `folder` is a disk of this size, for that server alone."""
    mount = f'mount -t tmpfs -o size={mebibytes}m small "$0" && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", mount, str(folder))
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare to mount a disk for a server alone")
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    return command


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert not shutil.disk_usage(disk).free


@pytest.mark.nightly
def test_a_full_disk_for_temporary_files_ends_no_worker_and_keeps_none_from_starting(
    folder: Path, tmp_path: Path
) -> None:
    """The disk has room for the metrics of both workers, four files of a mebibyte each, and not of a third."""
    command = disk(folder, 4 * WORKERS + 2)
    with serving(tmp_path / "ledger.sqlite3", *command, environment={"TMPDIR": str(folder)}) as server:
        fill(Path(f"/proc/{server.process.process.pid}/root{folder}"))
        assert server.predict(0, 1) == [1, 2]
        with pytest.raises(FailedPreconditionError):  # the first of its code, which is counted apart
            server.client.predict(PATTERN, alpha=1e-9)
        assert server.told("worker_died") == []
        killed = server.pids[0]
        os.kill(killed, signal.SIGKILL)
        slot = server.told("serving")[0]["worker"].partition("-")[0]
        successor = server.process.wait_for("serving", partial(_serves_after, [killed], slot))["worker"]
        assert [entry["worker"] for entry in server.told("metrics_not_kept")] == [successor]
        assert server.predict(1, 2) == [2, 3]
        assert server.figure("dejavu_worker_deaths_total") == 1


@pytest.mark.nightly
def test_the_successors_of_killed_workers_make_no_ledger_in_the_place_of_one_that_is_away(folder: Path) -> None:
    with serving(folder / "ledger.sqlite3") as server:
        assert server.predict(0) == [1]
        killed = server.pids
        away = folder.rename(folder.with_name("away"))
        folder.mkdir()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        names = [server.process.wait_for("serving", partial(_serves_after, killed, slot))["worker"] for slot in "01"]
        for name in names:
            server.process.wait_for("ledger_failing", partial(_is_of, name))
        server.lives_without_a_ledger()
        assert list(folder.iterdir()) == []
        folder.rmdir()
        away.rename(folder)
        for name in names:
            server.process.wait_for("ledger_recovered", partial(_is_of, name))
        assert server.predict(0, 1) == [1, 2]


def _serves_after(killed: list[int], slot: str, entry: dict[str, Any]) -> bool:
    """Return whether an event is of the worker in a slot that came after the killed ones."""
    of_slot, _, pid = entry["worker"].partition("-")
    return of_slot == slot and int(pid) not in killed
