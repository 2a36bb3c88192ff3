"""PostgreSQL servers for tests: one that all processes of a run share, and own ones that a test may kill.

The tests need only the programs of Debian's packages, not a running server. If the tests run as root, the programs run
as the user postgres, because PostgreSQL refuses root. Without the programs, tests skip; with DEJAVU_CI=1, they fail.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
from tests.support.builders.made_once import FOLDER_VARIABLE, computed_once
from tests.support.harness.required import skip_or_fail

from dejavu_ledger.database.postgres import PostgresBackend

LEDGER_VARIABLE = "DEJAVU_TEST_LEDGER"
"""Environment variable that selects the database of the tests that apply to any: sqlite (default) or postgresql."""

TEMPLATE = "empty_ledger"
"""A database on the shared server with an empty ledger."""

_named: set[str] = set()  # databases of `named_ledger` in this process


def on_postgres() -> bool:
    """Return whether the tests that run on any database run on PostgreSQL."""
    return os.environ.get(LEDGER_VARIABLE, "sqlite") == "postgresql"


def named_ledgers() -> frozenset[str]:
    """Return the databases of the named ledgers that this process has created."""
    return frozenset(_named)


def programs() -> Path:
    """Return the folder of the newest installed programs; without one, skip the test, or fail it in CI."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    initdb = folders[-1] if folders else shutil.which("initdb")
    if initdb is not None:
        return Path(initdb).parent
    return skip_or_fail("PostgreSQL is not installed (Debian: postgresql)")


def _new_place() -> tuple[Path, int]:
    """Return a new folder and a free port."""
    folder = Path(tempfile.mkdtemp(prefix="dejavu-postgres-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        return folder, free.getsockname()[1]


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A server with a folder of its own, which also has its Unix socket.

    Attributes:
        folder: its folder, owned by the user postgres if the tests run as root.
        port: its port, on 127.0.0.1 and of the socket.
    """

    folder: Path
    port: int

    @classmethod
    def make(cls, **settings: Any) -> PostgresServer:
        """Create a server with the settings for tests and the given ones, and start it."""
        server = cls(*_new_place())
        folder = server.folder
        server._run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
        values = {"listen_addresses": "127.0.0.1", "port": server.port, "unix_socket_directories": str(folder)}
        values |= {"fsync": "off", "shared_buffers": "32MB", "max_wal_size": "256MB", "log_min_messages": "warning"}
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in (values | settings).items())
        server.start()
        return server

    @classmethod
    def standby_of(cls, primary: PostgresServer) -> PostgresServer:
        """Create a standby that replicates a server synchronously: its commits wait for it from now on."""
        standby = cls(*_new_place())
        folder = standby.folder
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        standby._run("pg_basebackup", "-D", f"{folder}/data", "-R", "-X", "stream", "-c", "fast", "-d", source)
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"port = {standby.port}\nunix_socket_directories = '{folder}'\n")
        standby.start()
        wait_for(lambda: primary.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"))
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.execute("SELECT pg_reload_conf()")
        wait_for(lambda: primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))
        return standby

    def promote(self) -> None:
        """Let a standby accept writes."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-t", "100", "-w", "promote")

    def moved(self, port: int) -> PostgresServer:
        """Let it serve at another port from now on."""
        self.stop()
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"port = {port}\n")
        server = PostgresServer(self.folder, port)
        server.start()
        return server

    def _run(self, program: str, *arguments: str) -> None:
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        command = [*prefix, str(programs() / program), *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C"}
        ended = subprocess.run(
            command, check=False, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        if ended.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed: {ended.stderr!r} {log.read_text()[-2000:] if log.exists() else ''}")

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-t", "100", "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, ending its connections: fast, or immediate as in a crash."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-t", "100", "-w", "-m", mode, "stop")

    def processes(self) -> list[psutil.Process]:
        """Return its processes, the postmaster first."""
        postmaster = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        return [postmaster, *postmaster.children(recursive=True)]

    def send(self, signal_: signal.Signals) -> None:
        """Send a signal to all its processes."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal_)

    def kill(self) -> None:
        """Kill all its processes, and wait until they are gone."""
        processes = self.processes()
        self.send(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=60)

    def remove(self) -> None:
        """End it and remove its folder."""
        with suppress(OSError, psutil.Error):  # it does not run
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, user: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser; return its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template1") -> str:
        """Create a database; return its name."""
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def named_ledger(self, name: str) -> str:
        """Return the URL of a named ledger; create it, empty, if this process has none of that name."""
        database = f"named_{hashlib.sha256(name.encode()).hexdigest()[:24]}"
        if database not in _named:
            self.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE}")
            _named.add(database)
        return self.url(database)

    def drop_named(self, keep: frozenset[str]) -> None:
        """Drop the named ledgers except those in `keep`."""
        for database in _named - keep:
            self.execute(f"DROP DATABASE {database} WITH (FORCE)")
            _named.remove(database)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Create a database, yield its URL and drop it at the end."""
        name = self.new_database(template)
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def shared_server() -> PostgresServer:
    """Return the server of the run, started by the first process of the run that requests it."""
    programs()
    return computed_once("postgres", _make_shared)


def _make_shared() -> PostgresServer:
    # Four test processes, each with several ledgers of a dozen connections.
    server = PostgresServer.make(max_connections=400)
    backend = PostgresBackend(server.url(TEMPLATE))
    try:
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        backend.open(make=True)
    except BaseException:
        server.remove()
        raise
    finally:
        backend.close()
    return server


def stop_shared_server() -> None:
    """Remove the server of the run, if one was started."""
    if (Path(os.environ[FOLDER_VARIABLE]) / "postgres").exists():
        shared_server().remove()


def database_without_ledger() -> AbstractContextManager[str]:
    """Yield the URL of an empty database on the shared server."""
    return shared_server().database()


def postgres_ledger() -> AbstractContextManager[str]:
    """Yield the URL of an empty ledger on the shared server; all of a run have the same ledger id and epoch."""
    return shared_server().database(TEMPLATE)


@contextmanager
def own_server(**settings: Any) -> Iterator[PostgresServer]:
    """Start a server that the test may stop and kill; remove it at the end."""
    programs()
    server = PostgresServer.make(**settings)
    try:
        yield server
    finally:
        with suppress(OSError, psutil.Error):
            server.send(signal.SIGCONT)
        server.remove()


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    """Poll until a condition on the database holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.01)


def ledger_url(folder: Path, name: str = "ledger.sqlite3") -> str:
    """Return the URL of the ledger with a name in a folder; equal arguments give the same ledger.

    In PostgreSQL, the first call creates the ledger, empty; it is dropped at the end of the test. In SQLite, the ledger
    does not exist until it is opened.
    """
    if on_postgres():
        return shared_server().named_ledger(str(folder / name))
    return f"sqlite:///{folder / name}"
