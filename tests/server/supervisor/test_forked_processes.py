"""A fork server forks workers that belong to the supervisor, whatever happens to it, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from tests.support.harness.waiting import until
from tests.support.processes.servers import settings_in

from dejavu_common.processes import become_subreaper
from dejavu_server.supervisor import forked_processes as module
from dejavu_server.supervisor.child_process import Launched
from dejavu_server.supervisor.forked_processes import ForkServer
from dejavu_server.supervisor.protocol import ForkServerStart
from dejavu_server.supervisor.worker_process import StartError

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def subreaper() -> Iterator[None]:
    """Make this process a subreaper like a supervisor, for one test only: other tests count their orphans."""
    become_subreaper()
    yield
    ctypes.CDLL(None).prctl(36, 0)  # PR_SET_CHILD_SUBREAPER


@asynccontextmanager
async def forking(folder: Path) -> AsyncIterator[ForkServer]:
    """A fork server that is ready."""
    server = ForkServer.spawn(ForkServerStart(settings=settings_in(folder), folder=str(folder)), ENVIRONMENT)
    try:
        await server.ready()
        yield server
    finally:
        await server.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ForkServer]:
    """A fork server shared by tests that do not change it: each new one imports the modules of workers."""
    async with forking(tmp_path_factory.mktemp("forking")) as forks:
        yield forks


of_the_module = pytest.mark.asyncio(loop_scope="module")
"""Runs a test in the event loop of the shared fork server."""


async def ended(launched: Launched) -> int:
    """Close the standard input of a process that waits for its start message; return its exit code."""
    launched.close()
    return await asyncio.wait_for(launched.process.wait(), 60)


def files(pid: int | str) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def until_ready(pid: int) -> None:
    """Wait until a forked process shows that it is a worker, and then until it waits for its start message.

    By then, it has closed all files of the fork server, and any that it opened briefly, such as those of modules.
    """
    process = psutil.Process(pid)
    await until(lambda: "dejavu_server.worker_main" in process.cmdline() and process.status() == psutil.STATUS_SLEEPING)


@of_the_module
async def test_a_forked_process_is_a_child_of_the_supervisor_and_shows_what_it_is(server: ForkServer) -> None:
    launched = await server.fork()
    forked, forker = psutil.Process(launched.process.pid), psutil.Process(server.pid)
    assert forked.ppid() == os.getpid()
    assert os.getpgid(forked.pid) == forked.pid
    assert forker.num_threads() == 1
    await until_ready(forked.pid)
    assert await ended(launched) == 0


@of_the_module
async def test_forks_leave_no_descriptor_and_no_process_behind(server: ForkServer) -> None:
    assert await ended(await server.fork()) == 0
    before, own = files(server.pid), files("self")
    in_forks = set()
    for _ in range(10):
        launched = await server.fork()
        await until_ready(launched.process.pid)
        in_forks.add(files(launched.process.pid))
        assert await ended(launched) == 0
    assert (files(server.pid), files("self")) == (before, own)
    assert len(in_forks) == 1
    assert not psutil.Process(server.pid).children()


def zombies() -> set[int]:
    """Return the pids of the children of this process that nobody has waited for."""
    return {child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE}


@of_the_module
async def test_a_fork_that_is_no_longer_wanted_ends_and_is_waited_for(server: ForkServer) -> None:
    own, of_others = files("self"), zombies()
    forks = asyncio.create_task(server.fork())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    forks.cancel()
    await asyncio.wait([forks])
    assert await ended(await server.fork()) == 0
    await until(lambda: files("self") <= own)
    assert zombies() <= of_others


@pytest.mark.nightly
async def test_a_fork_server_that_does_not_answer_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORK_SECONDS", 0.2)
    async with forking(tmp_path) as server:
        psutil.Process(server.pid).suspend()
        with pytest.raises(StartError, match=r"did not fork within 0\.2 s"):
            await server.fork()
        assert await server.wait() == -signal.SIGKILL


@pytest.mark.nightly
async def test_a_fork_server_with_threads_refuses_to_fork(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    server = ForkServer.spawn(
        ForkServerStart(settings=settings_in(tmp_path), folder=str(tmp_path)), {**ENVIRONMENT, "PYTHONPATH": path}
    )
    with pytest.raises(StartError, match="an import has started a thread: the fork server has 2 threads"):
        await server.ready()
    assert await server.wait() in {1, -signal.SIGKILL}
