"""The example in the poller's docstring, unchanged except for its addresses."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.builders.evenings import Evening, game
from tests.support.fakes.service import FakeServer

import dejavu_client.poller
from dejavu_feed.replay.http_server import LocalServer

SIX_MINUTES = 1080.0

SLOW = ("silent_connection ", "slow_call ")
"""Beginnings of the lines that the client logs on a slow machine; the example is not to blame for them."""


def test_the_example_announces_a_forecast_and_ends_with_the_evening() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", dejavu_client.poller.__doc__ or "", re.DOTALL)
    evening = Evening([game("BOS", "LAL", lead=3)])
    evening.go_to(SIX_MINUTES + 1)
    with LocalServer(evening.replay.respond) as feed, FakeServer() as server:
        program = program.replace("NbaFeed()", f"NbaFeed({feed.url!r})")
        program = program.replace('"127.0.0.1:50051"', f'"{server.target}", timeout=30')
        program = program.replace("Poller(feed, client,", "Poller(feed, client, interval=0.05,")
        command = [sys.executable, "-u", "-W", "error", "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "LAL @ BOS: +3.0 at the half, sequence 0\n"
            assert process.stdout.readline() == "LAL @ BOS: +3.0 at the end, sequence 0\n"
            evening.clock.now = evening.replay.end
            assert process.wait(20) == 0
            assert process.stdout.read() == ""
            assert [line for line in process.stderr if not line.startswith(SLOW)] == []
