"""Two servers behind nginx or HAProxy, with the configurations of docs/deployment.md."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from tests.support.harness.documents import blocks
from tests.support.harness.required import required_program
from tests.support.processes.connections import free_port
from tests.support.processes.servers import SpawnedServer, spawned_server


def nginx_configuration(folder: Path, http: str, server: str, main: str = "") -> str:
    """Return a configuration of nginx that needs no folder of the system's.

    Args:
        folder: folder of its files.
        http: directives of the http block.
        server: directives of the server block, including listen.
        main: further directives of the main context.
    """
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{name}_temp_path {folder}/{name};" for name in names)
    return (
        f"daemon off; {main} pid {folder}/pid; error_log {folder}/error.log; events {{ }}"
        f"http {{ access_log off; {folders} {http} server {{ {server} }} }}"
    )


@contextmanager
def running_proxy(kind: str, configuration: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx or haproxy with a file; without its program, skip the test, or fail it in CI."""
    program = required_program(kind, kind)
    options = ["-W", "-db", "-f"] if kind == "haproxy" else ["-e", str(configuration.parent / "error.log"), "-c"]
    process = subprocess.Popen([program, *options, str(configuration)])
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        for child in children:
            with suppress(psutil.NoSuchProcess):  # a worker of an earlier configuration
                child.kill()
        process.wait()


RELOAD = {"nginx": signal.SIGHUP, "haproxy": signal.SIGUSR2}

DOCUMENT = "docs/deployment.md"


class ProxiedServers:
    """Two servers of one worker each behind a proxy.

    Args:
        stack: ends them.
        folder: for the ledger and the proxy's files.
        kind: nginx or haproxy.
        options: more options of the servers.

    Attributes:
        address: HOST:PORT of the proxy.
    """

    def __init__(self, stack: ExitStack, folder: Path, kind: str, *options: str) -> None:
        self._stack = stack
        self._kind = kind
        self._arguments = ("--ledger", f"sqlite:///{folder}/ledger.sqlite3", "--workers", "1", *options)
        self._servers = [self._serve("127.0.0.1:0") for _ in range(2)]
        self._addresses = [server.address for server in self._servers]
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        configuration = {"nginx": nginx, "haproxy": haproxy}[kind](folder, port)
        for documented, actual in zip(("127.0.0.1:50051", "127.0.0.1:50052"), self._addresses, strict=True):
            assert documented in configuration
            configuration = configuration.replace(documented, actual)
        (folder / "proxy.conf").write_text(configuration)
        self._process = stack.enter_context(running_proxy(kind, folder / "proxy.conf"))

    def _serve(self, listen: str) -> SpawnedServer:
        arguments = ("--listen", listen, *self._arguments)
        return self._stack.enter_context(spawned_server(*arguments))

    async def kill(self, index: int) -> None:
        """Kill a server and its worker, and start it again on its port."""
        supervisor = self._servers[index].process
        workers = psutil.Process(supervisor.pid).children()
        supervisor.kill()
        for worker in workers:
            worker.kill()
        supervisor.wait()
        psutil.wait_procs(workers, timeout=20)
        self._servers[index] = await asyncio.to_thread(self._serve, self._addresses[index])
        await asyncio.to_thread(self._servers[index].wait_for, "serving")

    def memory(self) -> int:
        """Return the resident memory of the largest worker in MiB."""
        return max(worker.memory_info().rss for server in self._servers for worker in server.workers) >> 20

    def reload(self) -> None:
        """Let the proxy read its configuration again: new processes take over."""
        self._process.send_signal(RELOAD[self._kind])


def nginx(folder: Path, port: int) -> str:
    """Return the configuration of nginx, without TLS."""
    block = {block.about: block.text for block in blocks(DOCUMENT, "nginx")}
    return nginx_configuration(folder, block["http"], f"listen 127.0.0.1:{port} http2; {block['server']}")


def haproxy(folder: Path, port: int) -> str:
    """Return the configuration of HAProxy, without TLS."""
    [block] = blocks(DOCUMENT, "haproxy")
    bind = f"frontend callers\n    bind 127.0.0.1:{port} proto h2\n"
    assert "frontend callers\n" in block.text
    return f"global\n    pidfile {folder}/pid\n" + block.text.replace("frontend callers\n", bind)
