"""Servers whose PostgreSQL is stopped, killed, stalled, full, read-only or out of connections, or moves."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.postgres import PostgresServer, own_server
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import HALFTIME, DejavuClient, HealthStatus, UnavailableError
from dejavu_ledger import verify
from dejavu_server.api.health import LEDGER

ANSWERED_WITHIN = 30.0
"""Bound for a refusal while the database does not answer: far above the 4 s it takes, for a machine under load."""


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    with own_server() as server:
        yield server


class Server:
    """A server on a database that the test may break, and a caller of it."""

    def __init__(self, process: SpawnedServer, client: DejavuClient) -> None:
        self.process = process
        self.client = client
        self.recorded = set[int]()
        self.predict(0)

    def predict(self, number: int) -> None:
        """Record a forecast of a game."""
        self.recorded.add(self.client.predict(PATTERN, horizon=HALFTIME, game_id=game(number)).sequence)

    def refused(self) -> UnavailableError:
        """Record forecasts of further games until one is refused: the first may come before the fault is felt."""
        began = time.monotonic()
        while True:
            try:
                self.predict(900 + len(self.recorded))
            except UnavailableError as error:
                assert time.monotonic() - began < ANSWERED_WITHIN
                return error

    def recovers(self, database: PostgresServer) -> None:
        """Wait until every worker records again; check that each forecast that was answered is in the ledger."""
        self.until(lambda: self.client.health(LEDGER) is HealthStatus.SERVING)
        for name in self.failing_workers():
            self.process.wait_for("ledger_recovered", lambda entry, name=name: entry["worker"] == name, seconds=90)  # type: ignore[misc]
        self.predict(2)
        assert verify(database.url("nba", "dejavu")).sequence >= len(self.recorded)
        rows = database.execute("SELECT sequence FROM entries", "nba")
        assert self.recorded <= {sequence for (sequence,) in rows}
        events = {entry["event"] for entry in self.process.events}
        assert not events & {"part_stalled", "worker_hung", "worker_died"}

    def failing_workers(self) -> set[str]:
        """Return the names of the workers that could not use the ledger."""
        return {entry["worker"] for entry in self.process.events if entry["event"] == "ledger_failing"}

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert time.monotonic() < deadline, self.process.log()
            time.sleep(0.05)


WORKERS = 2


@contextmanager
def serving(database: PostgresServer, folder: Path, tablespace: str = "pg_default") -> Iterator[Server]:
    database.execute("CREATE ROLE dejavu LOGIN")
    database.execute(f"CREATE DATABASE nba OWNER dejavu TABLESPACE {tablespace}")
    options = ("--workers", str(WORKERS), "--ledger", database.url("nba", "dejavu"), "--signing-key", f"{folder}/key")
    with (
        spawned_server(*options, makes_ledger=True) as process,
        DejavuClient(process.address, timeout=30) as client,
    ):
        yield Server(process, client)


def _lock_out(database: PostgresServer) -> None:
    database.execute("ALTER ROLE dejavu CONNECTION LIMIT 0")
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dejavu'")


def _become_standby(database: PostgresServer) -> None:
    database.stop()
    (database.folder / "data" / "standby.signal").touch()
    database.start()


FAULTS: dict[str, tuple[Callable[[PostgresServer], object], str, Callable[[PostgresServer], object]]] = {
    "killed": (PostgresServer.kill, "not reachable", PostgresServer.start),
    "out of connections": (
        _lock_out,
        "no free connection",
        lambda database: database.execute("ALTER ROLE dejavu CONNECTION LIMIT -1"),
    ),
    "a standby": (
        _become_standby,
        "read-only: its database is a standby",
        lambda database: database.execute("SELECT pg_promote()"),
    ),
}
"""Each fault: its cause, part of the refusals' message, and its remedy."""


@pytest.mark.nightly
@pytest.mark.parametrize("fault", list(FAULTS))
def test_whatever_befalls_the_database_passes_without_a_restart_and_loses_no_answer(
    database: PostgresServer, tmp_path: Path, fault: str
) -> None:
    befall, told, pass_ = FAULTS[fault]
    with serving(database, tmp_path) as server:
        befall(database)
        refused = server.refused()
        assert told in refused.message
        assert refused.reason == "LEDGER_UNAVAILABLE"
        assert refused.retry_after is not None
        assert server.client.predict(PATTERN).sequence == 0
        assert server.client.health() is HealthStatus.SERVING
        server.until(lambda: server.client.health(LEDGER) is HealthStatus.NOT_SERVING)
        pass_(database)
        server.recovers(database)


@pytest.mark.nightly
def test_a_database_that_hangs_is_told_in_time_and_makes_no_worker_unready(
    database: PostgresServer, tmp_path: Path
) -> None:
    """Callers with the default deadline, of 3 s, are told what is the matter; what-ifs are answered all the time."""
    with serving(database, tmp_path) as server, DejavuClient(server.process.address) as caller:
        for each in database.processes():
            each.suspend()
        server.refused()
        server.until(lambda: len(server.failing_workers()) == WORKERS)
        for _ in range(2 * WORKERS):  # perhaps one caller of each tries a new connection
            server.refused()
        for number in range(10):
            with pytest.raises(UnavailableError, match="its database does not answer"):
                caller.predict(PATTERN, horizon=HALFTIME, game_id=game(700 + number))
            assert caller.predict(PATTERN).sequence == 0
            assert caller.health() is HealthStatus.SERVING
        for each in database.processes():
            each.resume()
        server.recovers(database)


@contextmanager
def small_disk(database: PostgresServer) -> Iterator[Path]:
    """Mount a disk of 24 megabytes in the folder of a database."""
    disk = database.folder / "small"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=24m,uid={disk.parent.stat().st_uid}", "small", disk],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield disk
    finally:
        database.kill()
        subprocess.run(["umount", disk], check=True)


@pytest.mark.nightly
def test_a_full_disk_of_the_database_is_told_and_passes(database: PostgresServer, tmp_path: Path) -> None:
    with small_disk(database) as disk:
        database.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        with serving(database, tmp_path, "small") as server:
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            assert "full: no space left" in server.refused().message
            filler.unlink()
            server.recovers(database)


@pytest.mark.nightly
def test_a_standby_takes_over_with_all_that_was_answered(tmp_path: Path) -> None:
    with ExitStack() as stack:
        primary = stack.enter_context(own_server(max_connections=100))
        name = primary.new_database()
        standby = PostgresServer.standby_of(primary)
        stack.callback(standby.remove)
        ledger = f"postgresql://postgres@127.0.0.1:{primary.port}/{name}"
        arguments = ("--workers", "1", "--ledger", ledger, "--signing-key", f"{tmp_path}/key")
        servers = [stack.enter_context(spawned_server(*arguments)) for _ in range(2)]
        clients = [stack.enter_context(DejavuClient(server.address, timeout=20.0)) for server in servers]
        events = clients[1].stream_predictions(heartbeats=True)
        assert next(events).HasField("heartbeat")
        answered, streamed = dict[int, str](), dict[int, str]()

        def recorded(number: int) -> bool:
            try:
                forecast = clients[number % 2].predict(PATTERN, horizon=HALFTIME, game_id=game(number))
            except UnavailableError:
                return False
            answered[forecast.sequence] = forecast.game_id
            return True

        assert all(map(recorded, range(1, 21)))
        primary.kill()  # with everything that it had not sent to the standby
        assert not recorded(22)
        standby.promote()
        standby = standby.moved(primary.port)
        again = filter(recorded, range(23, 223))
        assert len([*itertools.islice(again, 20)]) == 20
        while max(answered) not in streamed:
            event = next(events)
            streamed[event.forecast.sequence] = event.forecast.game_id
        assert answered.items() <= streamed.items(), "the stream of the other server, across the failover"
        assert verify(standby.url(name)).sequence >= len(answered)
        assert answered.keys() <= {sequence for (sequence,) in standby.execute("SELECT sequence FROM entries", name)}
