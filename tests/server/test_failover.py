"""Servers on a PostgreSQL behind an address that moves to its standby: nothing that was answered is lost."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.postgres import PostgresServer, own_server
from tests.support.processes.servers import spawned_server

from dejavu_client import HALFTIME, DejavuClient, UnavailableError
from dejavu_ledger import verify


class MovingAddress:
    """An address that leads to one database after another; when it moves, its connections end.

    Attributes:
        port: its port.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def move(self, port: int) -> None:
        """Lead to another port from now on."""
        self._target = port
        self._end()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for connections
        self._end()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _end(self) -> None:
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                try:
                    database = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._open += [client, database]
                self._threads.append(threading.Thread(target=_connect, args=(client, database), daemon=True))
                self._threads[-1].start()


def _connect(client: socket.socket, database: socket.socket) -> None:
    with client, database:
        back = threading.Thread(target=_copy, args=(database, client), daemon=True)
        back.start()
        _copy(client, database)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


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
    address = MovingAddress(primary.port)
    stack.callback(address.close)
    key = ("--signing-key", str(tmp_path / "key.pem"))
    arguments = ("--workers", "1", "--ledger", f"postgresql://postgres@127.0.0.1:{address.port}/{name}", *key)
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
    address.move(standby.port)
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
