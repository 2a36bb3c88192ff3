"""The servers that a target names, and a pool of connections to several: their use, exclusion and return."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_client.transport.channel_pool import ChannelPool, PooledChannel
from dejavu_client.transport.servers import (
    LONGEST_CHECK_PAUSE,
    MAX_SERVERS,
    ServerAddress,
    WorkerIdentity,
    parse_servers,
)

A, B, C = (ServerAddress(f"{name}:1") for name in "abc")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("a:1", ["a:1"]),
        ("unix:/run/a,b.sock", ["unix:/run/a,b.sock"]),
        ("a:1,b:2", ["a:1", "b:2"]),
        ("[::1]:1, b:2", ["[::1]:1", "b:2"]),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", ["ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"]),
    ],
)
def test_a_target_names_one_server_or_a_list(target: str, expected: list[str]) -> None:
    servers = parse_servers(target)
    assert [each.target for each in servers.addresses] == expected
    assert (servers.several, servers.name) == (len(expected) > 1, None)


@pytest.mark.parametrize("target", ["dns:///name:50051", "dns:name:50051"])
def test_a_dns_name_names_the_servers_of_its_records(target: str) -> None:
    servers = parse_servers(target)
    assert servers.several
    assert servers.name == ("name", 50051)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("a:1,b", "'b' is not HOST:PORT"),
        ("a:1,b:99999", "port out of range"),
        ("localhost", "expected HOST:PORT"),
        ("a:1,b:1,a:1", "names a:1 twice"),
        (",".join(f"a:{port}" for port in range(1, MAX_SERVERS + 2)), f"at most {MAX_SERVERS}"),
    ],
)
def test_a_bad_list_is_refused_with_its_entry(target: str, what: str) -> None:
    with pytest.raises(ValueError, match="target") as refused:
        parse_servers(target)
    assert what in str(refused.value)


class Fleet:
    """A pool over servers whose connections the test answers or refuses."""

    def __init__(self, *servers: ServerAddress, size: int = 4) -> None:
        self.now = 100.0
        self.down = set[ServerAddress]()
        numbers = itertools.count()
        self.pool = ChannelPool(lambda address: (address, next(numbers)), size, servers, now=lambda: self.now)

    def call(self) -> ServerAddress:
        """Make a call that tries further servers while there are any; return the server that answered."""
        tried = list[PooledChannel[tuple[ServerAddress, int]]]()
        while True:
            pooled = self.pool.take([each.server for each in tried])
            tried.append(pooled)
            self.answer_probes()
            self.now += 0.01
            address = pooled.server.address
            if address not in self.down:
                self.pool.answered(pooled, WorkerIdentity("1", 1))
                self.pool.give_back(pooled)
                self.attempts = [each.server.address for each in tried]
                return address
            self.pool.refused(pooled)
            self.pool.give_back(pooled)

    def answer_probes(self) -> None:
        for pooled in self.pool.to_probe():
            if pooled.server.address in self.down:
                self.pool.connection_lost(pooled)
            else:
                self.pool.answered(pooled, WorkerIdentity("1", 1))


def test_a_server_that_refuses_is_left_alone_until_a_probe_is_answered() -> None:
    fleet = Fleet(A, B)
    for _ in range(8):
        fleet.call()
    fleet.down.add(A)
    used = [fleet.call() for _ in range(20)]
    assert set(used) == {B}
    assert fleet.attempts == [B], "not every call tries the server that is out"
    fleet.down.clear()
    fleet.now += LONGEST_CHECK_PAUSE
    assert {fleet.call() for _ in range(4)} == {A, B}


def test_the_only_servers_are_tried_even_if_all_are_out() -> None:
    fleet = Fleet(A, B)
    fleet.down |= {A, B}
    for _ in range(4):
        fleet.pool.refused(fleet.pool.take())
    fleet.down.clear()
    assert fleet.call() in {A, B}


def test_an_answer_that_was_sent_before_a_server_went_out_does_not_bring_it_back() -> None:
    fleet = Fleet(A, B, size=2)
    for _ in range(2):
        fleet.call()
    early, late = fleet.pool.take(), fleet.pool.take()
    server = early.server
    fleet.pool.refused(early)
    assert server.out
    fleet.pool.answered(early, WorkerIdentity("1", 1))
    assert server.out
    fleet.pool.give_back(early)
    fleet.pool.give_back(late)


def test_connections_follow_the_records_of_a_name() -> None:
    fleet = Fleet(A, size=4)
    for _ in range(8):
        fleet.call()
    fleet.pool.set_servers([B, C])
    assert {fleet.call() for _ in range(8)} == {B, C}
    fleet.pool.set_servers([A, B, C])
    used = Counter(fleet.call() for _ in range(30))
    assert set(used) == {A, B, C}
    fleet.pool.close()
    fleet.pool.set_servers([A])  # a lookup that ends after the client was closed


@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 6),
    steps=st.lists(st.sampled_from(["call", "down", "up", "wait", "records"]), max_size=80),
)
def test_every_call_is_answered_while_one_server_is_there_and_no_connection_is_lost(
    seed: int, size: int, steps: list[str]
) -> None:
    draw = random.Random(seed)
    fleet = Fleet(A, B, C, size=size)
    listed = [A, B, C]
    for step in steps:
        match step:
            case "down":
                fleet.down = {draw.choice(listed)} if len(listed) > 1 else set()
            case "up":
                fleet.down = set()
            case "wait":
                fleet.now += draw.uniform(0, 5)
            case "records":
                listed = draw.sample([A, B, C], draw.randrange(1, 4))
                fleet.down = set()
                fleet.pool.set_servers(listed)
            case _:
                assert fleet.call() in set(listed) - fleet.down
                assert len(fleet.attempts) <= 2
    assert len(fleet.pool.close()) <= max(size, 3)
