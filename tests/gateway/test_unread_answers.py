"""Answers that browsers do not read take a bounded amount of the gateway's memory, and small ones are kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_gateway.http.gate import ConnectionGate
from dejavu_gateway.limits import GatewayLimits
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import TrustedProxies

PROXY = "10.0.0.7"


class Transport(asyncio.Transport):
    """A transport with unsent bytes."""

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self.unsent = unsent

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.unsent = 0


@dataclass
class Browser:
    """A connection that does not read."""

    transport: asyncio.Transport
    closed_callbacks: list[Any] = field(default_factory=list)
    refused: int = 0
    is_stream: bool = False
    is_waiting: bool = False

    def end_now(self, last: bytes) -> None:
        raise AssertionError(last)


@given(st.lists(st.tuples(st.sampled_from(["10.1.0.1", "10.1.0.2", PROXY]), st.integers(0, 9)), max_size=40))
def test_unread_bytes_stay_within_their_limits(connections: list[tuple[str, int]]) -> None:
    limits = GatewayLimits(unread_bytes=60, unread_bytes_per_address=20)
    gate = ConnectionGate(limits, TrustedProxies.parse([PROXY]), GatewayMetrics())
    before, transports = Counter[str](), []
    for address, unsent in connections:
        transport = Transport(unsent)
        assert gate.admit(Browser(transport), address) == ""
        transports.append((address, transport))
        before[address] += unsent
    gate.sweep(0.0)
    after = Counter[str]()
    for address, transport in transports:
        after[address] += transport.unsent
    assert after.total() <= limits.unread_bytes
    for address, unsent in before.items():
        assert after[address] <= limits.unread_bytes_per_address or address == PROXY
        if before.total() <= limits.unread_bytes and (unsent <= limits.unread_bytes_per_address or address == PROXY):
            assert after[address] == unsent


@pytest.mark.parametrize("reason", ["stalled", "lagging", "catching_up", "crowded", "unread"])
def test_the_first_browser_that_is_cut_off_shows_as_an_increase(reason: str) -> None:
    found = GatewayMetrics().registry.get_sample_value("dejavu_dashboard_cut_off_total", {"reason": reason})
    assert found == 0.0
