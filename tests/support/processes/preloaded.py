"""Starts `python -m MODULE` in a fork of an interpreter that has imported the product: the imports take over a second.

The interpreter has also loaded the shipped bundle. The process has its own arguments, environment, files, signals and
exit code, like a new interpreter. Start a new interpreter where a test depends on imports, on the code on disk or on
the memory of a process. Nightly runs always do; "by day" means in all other runs.

Each process is a connection to the interpreter's socket: a request with the process's files, answered by its id and at
last by its exit code. A process whose requester disconnects is killed.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import copy
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[3]

_CHILDREN = {(sys.executable, "-P", "-m", f"dejavu_server.{name}") for name in ("worker_main", "fork_server")}
"""Commands by which a supervisor starts other processes."""


class _Process:
    """A process that takes signals, as a `subprocess.Popen` does."""

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Child(_Process):
    """`python -m MODULE ARGUMENTS` in a fork, with nothing on standard input and a pipe from standard error.

    Args:
        module: dejavu_server, dejavu_gateway, or another that the interpreter has imported.
        arguments: arguments of the program.
        environment: its whole environment. Of the variables that the interpreter itself reads, only PYTHONUNBUFFERED
            and a sitecustomize.py on PYTHONPATH have an effect, in workers too.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(str(socket_path()))
        read, written = os.pipe()
        self.stderr: IO[str] | None = os.fdopen(read, encoding="utf-8", errors="backslashreplace")
        request = json.dumps([module, list(arguments), dict(environment), str(Path.cwd())])
        with Path(os.devnull).open() as nothing, os.fdopen(written):
            socket.send_fds(self._connection, [request.encode()], [nothing.fileno(), 1, written])
            answer = self._connection.recv(64)
        if not answer:
            raise RuntimeError("the preloaded interpreter ended: its standard error has the reason")
        self.pid = int(answer)
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: if it still runs after the time-out, in seconds.
        """
        with self._reading:
            if self.returncode is None:
                if not select.select([self._connection], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
                with self._connection:
                    self.returncode = int(self._connection.recv(64))
            return self.returncode


class _Use:
    enabled = False


def enable() -> None:
    """Let this process start servers preloaded; others, such as benchmarks, start new interpreters."""
    _Use.enabled = True


def enabled() -> bool:
    """Return whether servers of this process start preloaded."""
    return _Use.enabled


def socket_path() -> Path:
    """Return the path of the socket at which any process can ask for a fork, as the programs of `commands` do."""
    return _started(os.getpid())


@functools.cache
def _started(process: int) -> Path:
    """Start the interpreter of this process, which ends with it; return the path of its socket."""
    path = Path(tempfile.mkdtemp(prefix="preloaded-")) / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        interpreter = subprocess.Popen(
            [sys.executable, "-m", "tests.support.processes.preloaded", str(listener.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # a fork needs one thread
        )

    def end() -> None:
        interpreter.kill()
        interpreter.wait()
        shutil.rmtree(path.parent, ignore_errors=True)

    atexit.register(end)
    return path


# What follows runs in the preloaded interpreter and in its forks.


def _forked(listener: socket.socket) -> list[str]:
    """Fork a process for each request; return its module and arguments in the process, and nowhere else."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch a process
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            break
        connection.close()
    listener.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, files, _, _ = socket.recv_fds(connection, 1 << 17, 3)
    if not request or (pid := os.fork()):
        _watch(connection, pid if request else 0, files)
    connection.close()
    return _become(json.loads(request), files)


def _watch(connection: socket.socket, pid: int, files: list[int]) -> None:
    """Report the id and the end of a process, and kill it if nobody wants to know; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        for file in files:
            os.close(file)
        if pid:
            connection.send(str(pid).encode())
            ended = os.pidfd_open(pid)
            if ended not in select.select([ended, connection.fileno()], [], [])[0]:
                os.kill(pid, signal.SIGKILL)
            connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    os._exit(0)


def _become(request: list[Any], files: list[int]) -> list[str]:
    """Make a fork the process that was requested; return its module and arguments."""
    module, arguments, environment, folder = request
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through="PYTHONUNBUFFERED" in environment)  # type: ignore[union-attr]
    for folder in environment.get("PYTHONPATH", "").split(os.pathsep):
        if folder and (program := Path(folder, "sitecustomize.py")).exists():
            runpy.run_path(str(program))
    popen = subprocess.Popen

    def fork_workers(command: Sequence[str], **options: Any) -> Any:
        if tuple(command[:4]) not in _CHILDREN:
            return popen(command, **options)
        return _Worker(command[3:], options["stdin"], options.get("pass_fds", ()), options["env"])

    setattr(subprocess, "Popen", fork_workers)  # noqa: B010 - another type
    return [module, *arguments]


class _Worker(_Process):
    """A worker or fork server that its supervisor forks, with the part of `subprocess.Popen` that asyncio uses."""

    stdin = stdout = stderr = None

    def __init__(
        self, command: Sequence[str], stdin: int, files: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # until it has its own handlers
        self.pid = os.fork()
        if self.pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if self.pid == 0:
            _run_worker(command, stdin, files, environment)


def _run_worker(command: Sequence[str], stdin: int, files: Sequence[int], environment: Mapping[str, str]) -> None:
    """Run a worker or fork server in a fork of its supervisor; never returns.

    The supervisor's frames are still on the stack, and the process must not return to them. Files are replaced rather
    than closed: the supervisor's file objects still exist, and would close any file that reuses their numbers.
    """
    code: int = 1
    try:
        os.setpgid(0, 0)
        os.dup2(stdin, 0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for file in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if file not in {0, 1, 2, nothing, *files}:
                with contextlib.suppress(OSError):  # the descriptor of the listing itself
                    os.fstat(file)
                    os.dup2(nothing, file, inheritable=False)
        os.environ.clear()
        os.environ.update(environment)
        asyncio._set_running_loop(None)  # noqa: SLF001 - of the interpreter, as are the two below
        from prometheus_client import values

        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # its import reads the environment
        sys.argv = list(command)
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):  # the interpreter's shutdown, without freeing the supervisor's objects
            threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
            atexit._run_exitfuncs()  # noqa: SLF001
            sys.stderr.flush()
        os._exit(code)


def _main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.set_inheritable(False)
    gc.disable()
    import uvloop  # noqa: F401
    from tests.support.builders.shipped import shipped_bundle

    import dejavu_gateway.app
    import dejavu_gateway.cli  # noqa: F401
    import dejavu_server.cli.serve
    import dejavu_server.worker.worker  # noqa: F401
    from dejavu_server.worker import models
    from dejavu_store.bundle import load_bundle
    from dejavu_store.default_bundles import default_bundle

    shipped, loaded = default_bundle(), shipped_bundle()

    def load_or_copy(folder: Path, **options: Any) -> Any:
        return copy.copy(loaded) if folder == shipped else load_bundle(folder, **options)

    setattr(models, "load_bundle", load_or_copy)  # noqa: B010 - another type
    gc.freeze()
    gc.enable()
    # Python 3.12 and later warn if a supervisor with threads forks a worker. The worker takes no lock of those threads.
    warnings.filterwarnings("ignore", r".* is multi-threaded, use of fork\(\)", DeprecationWarning)
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("an import has started a thread: this interpreter cannot be forked")
    sys.argv = _forked(listener)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module, _, function = sys.argv[0].partition(":")
    if function:  # an entry point of an installed command
        getattr(importlib.import_module(module), function)()
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
