"""`dejavu` as a separate process: pipes, signals, no tracebacks, and the page of `dejavu poll --page`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from tests.support.builders.calls import PATTERN
from tests.support.fakes.service import FakeServer, event, heartbeat
from tests.support.harness.clients import Run
from tests.support.processes.servers import async_worker, spawned_server
from tests.support.programs.commands import Program, dejavu, python_m

from dejavu_cli.server_process import FIRST_RESTART_SECONDS, running_page


def start(
    server: FakeServer, *arguments: str, program: Sequence[str] = (), debug: bool = False
) -> AbstractContextManager[Program]:
    """Start `dejavu`, or another command in its place."""
    return dejavu(*arguments, command=program, DEJAVU_TARGET=server.target, DEJAVU_DEBUG="1" if debug else "")


def test_a_stream_ends_when_its_reader_has_enough(server: FakeServer) -> None:
    # No event follows the first forecast: the process must detect the closed pipe without writing.
    server.answers("StreamPredictions", [heartbeat("now"), event(1)])
    with start(server, "stream", "--json") as program:
        assert '"sequence": "1"' in program.out.readline()
        program.out.close()
        assert program.ended() == 0
        assert program.err.read() == ""


def test_writing_to_a_reader_that_left_is_no_error(server: FakeServer) -> None:
    # `models` writes once, at its end, when the pipe is already closed.
    read, write = os.pipe()
    os.close(read)
    command = [*python_m("dejavu_cli"), "models", "--json"]
    environment = {**os.environ, "DEJAVU_TARGET": server.target}
    process = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, timeout=20, check=False
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (0, "")


def test_ctrl_c_exits_130_without_a_word(server: FakeServer) -> None:
    server.answers("StreamPredictions", [event(1)])
    with start(server, "stream", "--json") as program:
        program.out.readline()
        assert program.ended(signal.SIGINT) == 130
        assert program.err.read() == ""


EARLY = """
import os, signal, sys

class Interrupt:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.modules.pop({module!r}, None)
sys.meta_path.insert(0, Interrupt)
from dejavu_cli.__main__ import main
main()
"""
"""A program that gets Ctrl-C while it imports a module."""


@pytest.mark.parametrize(
    ("module", "arguments"), [("contextlib", ["games", "--teams"]), ("dejavu_cli.commands.demo", ["demo"])]
)
def test_ctrl_c_while_the_program_loads_ends_it_as_quietly_as_later(
    module: str, arguments: list[str], server: FakeServer
) -> None:
    with start(server, *arguments, program=[sys.executable, "-c", EARLY.format(module=module)]) as program:
        assert program.ended() == 130
        assert (program.out.read(), program.err.read()) == ("", "")


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_is_reported_in_a_sentence(server: FakeServer, debug: bool) -> None:
    broken = "import dejavu_cli.commands.server as s, dejavu_cli.main as c; s.parse_servers = None; c.main()"
    with start(server, "health", program=[sys.executable, "-c", broken], debug=debug) as running:
        assert running.ended() == 1
        out, err = running.out.read(), running.err.read()
    assert out == ""
    assert "Error: TypeError: 'NoneType' object is not callable" in err
    assert ("Traceback" in err) == debug


def test_the_client_alone_needs_no_extra(server: FakeServer) -> None:
    """A command of the base installation loads no package of the extras."""
    heavy = ("numpy", "torch", "nba_api", "pandas", "pyarrow", "psycopg", "hnswlib", "dejavu_server")
    program = (
        "import sys, dejavu_cli.main as c\n"
        "try: c.main()\n"
        f"finally: sys.stderr.write(' '.join(sys.modules.keys() & set({heavy!r})))"
    )
    with start(server, "predict", "1", "--json", program=[sys.executable, "-c", program]) as running:
        assert running.ended() == 0
        assert '"pointForecast": 1.0' in running.out.read()
        assert running.err.read() == ""


WHAT_IF = json.dumps({"pattern": PATTERN})


def cache_with(run: Run, address: str, entries: str) -> Any:
    """Return the first statistics of the cache with a number of entries."""
    deadline = time.monotonic() + 30
    while (shown := json.loads(run("stats", "--cache", "--json", target=address).stdout))["entries"] != entries:
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    return shown


def test_all_workers_are_warmed_shown_and_cleared(tmp_path: Path, run: Run) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.sqlite3"
    file = tmp_path / "what-ifs.jsonl"
    file.write_text(f'{WHAT_IF}\n\n{{"pattern": [1], "alpha": 1e-9}}\n')
    with spawned_server("--workers", "2", "--ledger", ledger) as server:
        address = server.address
        warmed = run("stats", "--warm-cache", "-", "--json", "--timeout", "60", stdin=WHAT_IF, target=address)
        assert warmed.exit_code == 0, warmed.output
        told = json.loads(warmed.stdout)
        assert (told["workers"], told["workers_warmed"], told["computed"]) == (2, 2, 2)
        shown = cache_with(run, address, entries="2")
        assert (shown["backend"], shown["workers"]) == ("CACHE_BACKEND_MEMORY", 2)
        text = run("stats", "--cache", target=address).stdout
        assert "memory of each worker" in text
        assert "hit rate" in text
        refused = run("stats", "--warm-cache", str(file), target=address)
        assert refused.exit_code == 1
        assert "1 answer kept by 2 of 2 workers (0 computed)" in refused.stdout
        assert "request 2" in refused.stderr
        assert run("stats", "--clear-cache", target=address).stdout == "cleared: 2 answers\n"
        cache_with(run, address, entries="0")


PROGRAM: Final = """
import asyncio, functools
from dejavu_cli.server_process import running_page
async def main():
    async with running_page("127.0.0.1:1", "--listen", "127.0.0.1:0", tell=functools.partial(print, flush=True)):
        await asyncio.Event().wait()
asyncio.run(main())
"""


def gateway() -> psutil.Process:
    """Return the process of the page."""
    [found] = [
        each for each in psutil.Process().children() if {"dejavu_cli.child", "dejavu_gateway"} < {*each.cmdline()}
    ]
    return found


def answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}healthz", timeout=30) as answer:
        return bool(answer.status == 200)


@pytest.mark.nightly
async def test_a_page_that_was_killed_is_back_at_the_same_address_and_gone_at_the_end(tmp_path: Path) -> None:
    told = asyncio.Queue[str]()
    async with async_worker(tmp_path) as worker, asyncio.timeout(120):
        async with running_page(worker.address, "--listen", "127.0.0.1:0", tell=told.put_nowait):
            served = await told.get()
            first = gateway()
            first.kill()
            assert await told.get() == "The page ended (exit code -9); it is started again."
            assert await told.get() == served
            assert await asyncio.to_thread(answers, served.removeprefix("Page at "))
            second = gateway()
            assert second.pid != first.pid
        assert not second.is_running()
    assert told.empty()


async def test_a_page_that_cannot_start_is_told_once_and_tried_again_until_it_can() -> None:
    told = asyncio.Queue[str]()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = "--listen", f"127.0.0.1:{taken.getsockname()[1]}"
        async with running_page("127.0.0.1:1", *listen, tell=told.put_nowait), asyncio.timeout(120):
            assert "does not start, and is tried again: " in await told.get()
            await asyncio.sleep(FIRST_RESTART_SECONDS)
            taken.close()
            assert await told.get() == f"Page at http://{listen[1]}/"
    assert told.empty()


def test_a_page_ends_with_a_program_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        address = program.stdout.readline()
        [page] = psutil.Process(program.pid).children()
        program.kill()
    assert "Page at " in address
    psutil.wait_procs([page], timeout=30)
    assert not page.is_running()
