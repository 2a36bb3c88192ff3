"""Idle connections that take all descriptors of a bare grpc.aio server lock no client out of ours."""

from __future__ import annotations

import json

import pytest
from bench.faults.idle_connections import Outcome, main


@pytest.mark.nightly
def test_new_clients_are_answered_beside_more_idle_connections_than_the_soft_limit_permits() -> None:
    shown: list[str] = []
    options = ("--connections", "700", "--soft", "256", "--clients", "12", "--json")
    assert main(options, show=shown.append) == 0
    outcomes = {name: Outcome(**each) for name, each in json.loads(shown[0])["servers"].items()}
    assert [outcome.answered for outcome in outcomes.values()] == [0, 12, 12]
