"""`dejavu notify`: processes with a real server and a real target."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.notifier_kills import notifier, write_rules
from tests.support.builders.evenings import close_game
from tests.support.processes.receiver import Answer, Receiver
from tests.support.processes.servers import running_worker
from tests.support.programs.commands import python_m

from dejavu_client import DejavuClient


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def dejavu(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*python_m("dejavu_cli"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


def test_after_the_sender_was_killed_the_other_one_sends(tmp_path: Path, receiver: Receiver) -> None:
    rules = write_rules(tmp_path, receiver.url)
    with running_worker(tmp_path) as address, DejavuClient(address, timeout=30.0) as client, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(notifier(rules, address))
        client.publish_games([close_game("9900000001")])
        receiver.wait_for(1)
        [sent] = client.list_notifications()
        os.kill(int(sent.sender.split(":")[1]), signal.SIGKILL)
        client.publish_games([close_game("9900000002")])
        receiver.wait_for(2)
        assert receiver.arrivals == {f"dejavu/close_late/990000000{number}": 1 for number in (1, 2)}
        listed = dejavu("notify", "--list", "--target", address)
    assert listed.returncode == 0
    assert listed.stdout.count("Close: NYK @ BOS") == 2


def test_a_test_reaches_each_target_or_ends_with_an_error(tmp_path: Path, receiver: Receiver) -> None:
    rules = write_rules(tmp_path, f"{receiver.url}/")
    assert dejavu("notify", str(rules), "--test").returncode == 0
    assert receiver.wait_for(1)[0].json["type"] == "dejavu.test"
    receiver.answers = {"/": [Answer(403)]}
    failed = dejavu("notify", str(rules), "--test")
    assert (failed.returncode, "a: failed (HTTP 403)" in failed.stdout) == (1, True)


def test_a_dry_run_prints_what_would_be_sent_and_no_address(tmp_path: Path, receiver: Receiver) -> None:
    rules = write_rules(tmp_path, f"{receiver.url}/secret")
    with running_worker(tmp_path) as address, DejavuClient(address, timeout=30.0) as client:
        client.publish_games([close_game("9900000001")])
        command = [*python_m("dejavu_cli"), "notify", str(rules), "--dry-run", "--replays", "--target", address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
        assert process.returncode == 0
        assert '"type": "dejavu.close_late"' in line
        assert "secret" not in line + rest
        assert not client.list_notifications()
    assert not receiver.posts
