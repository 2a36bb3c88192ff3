"""A server of two processes whose disk of temporary files is full, or whose ledger's disk is away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.scrapes import scrape, value_in
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import HALFTIME, DejavuClient, FailedPreconditionError, UnavailableError

WORKERS = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@contextmanager
def serving(
    ledger: Path, *within: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[SpawnedServer, DejavuClient]]:
    """Run a server, and a client of it."""
    options = ("--workers", str(WORKERS), "--ledger", f"sqlite:///{ledger}", "--metrics-listen", "127.0.0.1:0")
    given = {"DEJAVU_LEDGER_RESERVE_MIB": "0", **(environment or {})}
    with (
        spawned_server(*options, within=within, environment=given, makes_ledger=True) as server,
        DejavuClient(server.address, timeout=30) as client,
    ):
        yield server, client


def predict(client: DejavuClient, number: int) -> int:
    """Ask for a forecast of a game; return its sequence."""
    return client.predict(PATTERN, horizon=HALFTIME, game_id=game(number)).sequence


def told(server: SpawnedServer, event: str) -> list[dict[str, Any]]:
    return [entry for entry in server.events if entry["event"] == event]


def kill(server: SpawnedServer, number: int) -> list[str]:
    """Kill some workers; return the names of their successors once these serve."""
    before = [entry["worker"] for entry in told(server, "serving")]
    killed = [worker.partition("-") for worker in before[:number]]
    for _, _, pid in killed:
        os.kill(int(pid), signal.SIGKILL)

    def serves(slot: str) -> str:
        found = server.wait_for(
            "serving", lambda entry: entry["worker"] not in before and entry["worker"].startswith(f"{slot}-")
        )
        return str(found["worker"])

    return [serves(slot) for slot, _, _ in killed]


def disk(folder: Path, mebibytes: int) -> tuple[str, ...]:
    """Return a command that executes a server where `folder` is a disk of this size, for that server alone."""
    mount = f'mount -t tmpfs -o size={mebibytes}m small "$0" && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", mount, str(folder))
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare to mount a disk for a server alone")
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    return command


@pytest.mark.nightly
def test_a_full_disk_for_temporary_files_ends_no_worker_and_keeps_none_from_starting(
    folder: Path, tmp_path: Path
) -> None:
    """The disk has room for the metrics of both workers, four files of a mebibyte each, and not of a third."""
    command = disk(folder, 4 * WORKERS + 2)
    with serving(tmp_path / "ledger.sqlite3", *command, environment={"TMPDIR": str(folder)}) as (server, client):
        mounted = Path(f"/proc/{server.process.pid}/root{folder}")
        with (mounted / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert not shutil.disk_usage(mounted).free
        assert [predict(client, number) for number in (0, 1)] == [1, 2]
        with pytest.raises(FailedPreconditionError):  # the first of its code, which is counted apart
            client.predict(PATTERN, alpha=1e-9)
        assert told(server, "worker_died") == []
        successors = kill(server, 1)
        assert [entry["worker"] for entry in told(server, "metrics_not_kept")] == successors
        assert [predict(client, number) for number in (1, 2)] == [2, 3]
        assert value_in(scrape(server), "dejavu_worker_deaths_total") == 1


@pytest.mark.nightly
def test_the_successors_of_killed_workers_make_no_ledger_in_the_place_of_one_that_is_away(folder: Path) -> None:
    with serving(folder / "ledger.sqlite3") as (server, client):
        assert predict(client, 0) == 1
        away = folder.rename(folder.with_name("away"))
        folder.mkdir()
        for name in (successors := kill(server, WORKERS)):
            server.wait_for("ledger_failing", lambda entry, name=name: entry["worker"] == name)  # type: ignore[misc]
        with pytest.raises(UnavailableError) as caught:
            predict(client, 91)
        assert caught.value.reason == "LEDGER_UNAVAILABLE"
        assert client.predict(PATTERN).sequence == 0
        assert list(folder.iterdir()) == []
        folder.rmdir()
        away.rename(folder)
        for name in successors:
            server.wait_for("ledger_recovered", lambda entry, name=name: entry["worker"] == name)  # type: ignore[misc]
        assert [predict(client, number) for number in (0, 1)] == [1, 2]
