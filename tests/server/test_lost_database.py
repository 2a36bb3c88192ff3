"""Servers whose PostgreSQL is stopped, killed, stalled, full, read-only or out of connections, or moves."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.postgres import PostgresServer, own_server
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import HALFTIME, DejavuClient, HealthStatus, UnavailableError
from dejavu_ledger import verify
from dejavu_server.api.health import LEDGER

WORKERS = 2

ANSWERED_WITHIN = 30.0
"""Bound for a refusal while the database does not answer: far above the 4 s it takes, for a machine under load."""


class Server:
    """A server on a database that the test may break, and a caller of it."""

    def __init__(self, process: SpawnedServer, client: DejavuClient, database: PostgresServer, url: str) -> None:
        self.process = process
        self.client = client
        self.database = database
        self.url = url
        self.recorded: list[int] = []

    @property
    def name(self) -> str:
        """The name of the database."""
        return self.url.rpartition("/")[2]

    def predict(self, number: int) -> int:
        """Record a forecast of a game."""
        sequence = self.client.predict(PATTERN, horizon=HALFTIME, game_id=game(number)).sequence
        self.recorded.append(sequence)
        return sequence

    def predict_until_refused(self) -> None:
        """Record forecasts of further games until one is refused: the first may come before the fault is felt."""
        while True:
            self.predict(900 + len(self.recorded))

    def lives_without_a_ledger(self) -> str:
        """Check the guarantees without a ledger; return the message of a refusal."""
        began = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            self.predict_until_refused()
        assert time.monotonic() - began < ANSWERED_WITHIN
        assert caught.value.reason == "LEDGER_UNAVAILABLE"
        assert caught.value.retry_after is not None
        assert self.client.predict(PATTERN).sequence == 0
        assert self.client.health() is HealthStatus.SERVING
        self.until(lambda: self.client.health(LEDGER) is HealthStatus.NOT_SERVING)
        return caught.value.message

    def until_recovered(self) -> None:
        """Wait until every worker records again."""
        self.until(lambda: self.client.health(LEDGER) is HealthStatus.SERVING)
        for worker in self.failing_workers():
            self.process.wait_for("ledger_recovered", partial(_is_of, worker), seconds=90)

    def failing_workers(self) -> set[str]:
        """Return the names of the workers that could not use the ledger."""
        return {entry["worker"] for entry in self.process.events if entry["event"] == "ledger_failing"}

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert time.monotonic() < deadline, self.process.log()
            time.sleep(0.05)

    def holds_what_it_answered(self) -> None:
        """Check that each forecast that was answered is in the ledger, and that no worker was replaced."""
        assert verify(self.url).sequence >= len(set(self.recorded))
        rows = self.database.execute("SELECT sequence FROM entries ORDER BY sequence", self.name)
        assert set(self.recorded) <= {sequence for (sequence,) in rows}
        assert [entry for entry in self.process.events if entry["event"] in {"worker_hung", "worker_died"}] == []


def _is_of(worker: str, entry: dict[str, Any]) -> bool:
    return bool(entry["worker"] == worker)


@contextmanager
def serving(
    database: PostgresServer, folder: Path, statement: str = "CREATE DATABASE nba OWNER dejavu"
) -> Iterator[Server]:
    database.execute("CREATE ROLE dejavu LOGIN")
    database.execute(statement)
    url = database.url("nba", "dejavu")
    options = ("--workers", str(WORKERS), "--ledger", url, "--signing-key", str(folder / "key.pem"))
    with (
        spawned_server(*options, makes_ledger=True) as process,
        DejavuClient(process.address, timeout=30) as client,
    ):
        server = Server(process, client, database, url)
        assert server.predict(0) == 1
        yield server


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    with own_server() as server:
        yield server


def _lock_out(database: PostgresServer) -> None:
    database.execute("ALTER ROLE dejavu CONNECTION LIMIT 0")
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dejavu'")


def _become_standby(database: PostgresServer) -> None:
    database.stop()
    (database.folder / "data" / "standby.signal").touch()
    database.start()


FAULTS: dict[str, tuple[Callable[[PostgresServer], object], str, Callable[[PostgresServer], object]]] = {
    "stopped": (PostgresServer.stop, "not reachable", PostgresServer.start),
    "killed": (PostgresServer.kill, "not reachable", PostgresServer.start),
    "out of connections": (
        _lock_out,
        "no free connection",
        lambda database: database.execute("ALTER ROLE dejavu CONNECTION LIMIT -1"),
    ),
    "no longer allowed": (
        lambda database: database.execute("REVOKE ALL ON entries FROM dejavu", "nba"),
        "permission denied",
        lambda database: database.execute("GRANT ALL ON entries TO dejavu", "nba"),
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
        assert told in server.lives_without_a_ledger()
        pass_(database)
        server.until_recovered()
        server.predict(2)
        server.holds_what_it_answered()


@pytest.mark.nightly
def test_a_database_that_hangs_is_told_in_time_and_makes_no_worker_unready(
    database: PostgresServer, tmp_path: Path
) -> None:
    """Callers with the default deadline, of 3 s, are told what is the matter; what-ifs are answered all the time."""
    with serving(database, tmp_path) as server, DejavuClient(server.process.address) as caller:
        for each in database.processes():
            each.suspend()
        with pytest.raises(UnavailableError):
            server.predict_until_refused()
        server.until(lambda: len(server.failing_workers()) == WORKERS)
        for _ in range(2 * WORKERS):  # perhaps one caller of each tries a new connection
            with pytest.raises(UnavailableError):
                server.predict(800)
        for number in range(10):
            with pytest.raises(UnavailableError, match="its database does not answer"):
                caller.predict(PATTERN, horizon=HALFTIME, game_id=game(700 + number))
            assert caller.predict(PATTERN).sequence == 0
            assert caller.health() is HealthStatus.SERVING
        assert not [entry for entry in server.process.events if entry["event"] in ("part_stalled", "worker_hung")]
        for each in database.processes():
            each.resume()
        server.until_recovered()
        server.predict(2)
        server.holds_what_it_answered()


@pytest.mark.nightly
def test_a_full_disk_of_the_database_is_told_and_passes(database: PostgresServer, tmp_path: Path) -> None:
    with small_disk(database) as disk:
        database.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        with serving(database, tmp_path, "CREATE DATABASE nba OWNER dejavu TABLESPACE small") as server:
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
            with pytest.raises(UnavailableError, match="full: no space left"):
                server.predict_until_refused()
            filler.unlink()
            server.until_recovered()
            server.predict(2)
            server.holds_what_it_answered()


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


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.nightly
def test_a_standby_takes_over_with_all_that_was_answered(tmp_path: Path, stack: ExitStack) -> None:
    primary = stack.enter_context(own_server(max_connections=100))
    name = primary.new_database()
    standby = PostgresServer.standby_of(primary)
    stack.callback(standby.remove)
    key = ("--signing-key", str(tmp_path / "key.pem"))
    arguments = ("--workers", "1", "--ledger", f"postgresql://postgres@127.0.0.1:{primary.port}/{name}", *key)
    servers = [stack.enter_context(spawned_server(*arguments)) for _ in range(2)]
    clients = [stack.enter_context(DejavuClient(server.address, timeout=20.0)) for server in servers]
    events = clients[1].stream_predictions(heartbeats=True)
    assert next(events).HasField("heartbeat")
    answered = dict[int, str]()

    def record(client: DejavuClient, number: int) -> bool:
        try:
            answered[client.predict(PATTERN, horizon=HALFTIME, game_id=game(number)).sequence] = game(number)
        except UnavailableError:
            return False
        return True

    numbers = itertools.count(1)
    for number in itertools.islice(numbers, 20):
        assert record(clients[number % 2], number)
    primary.kill()  # with everything that it had not sent to the standby
    assert not record(clients[0], next(numbers))
    standby.promote()
    standby = standby.moved(primary.port)
    recovered = 0
    for number in itertools.islice(numbers, 200):
        recovered += record(clients[number % 2], number)
        if recovered == 20:
            break
    assert recovered == 20
    streamed = dict[int, str]()
    for event in events:
        if event.HasField("forecast"):
            streamed[event.forecast.sequence] = event.forecast.game_id
        if max(answered) in streamed:
            break
    assert answered.items() <= streamed.items(), "the stream of the other server has every one, across the failover"
    assert verify(standby.url(name)).sequence >= len(answered)
    rows = standby.execute("SELECT sequence FROM entries", name)
    assert answered.keys() <= {sequence for (sequence,) in rows}
