"""Servers on a PostgreSQL whose address moves to its standby: nothing that was answered is lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.postgres import PostgresServer, own_server
from tests.support.processes.servers import spawned_server

from dejavu_client import HALFTIME, DejavuClient, UnavailableError
from dejavu_ledger import verify


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
