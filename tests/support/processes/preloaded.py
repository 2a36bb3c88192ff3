"""Starts `python -m MODULE` in a fork of an interpreter that has imported the product: the imports take over a second.

The interpreter has also loaded the shipped bundle. The process has its own arguments, environment, files, signals and
exit code, like a new interpreter. Start a new interpreter where a test depends on imports, on the code on disk or on
the memory of a process. Nightly runs always do; "by day" means in all other runs.
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
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

ROOT = Path(__file__).resolve().parents[3]

_CHILDREN = {(sys.executable, "-P", "-m", f"dejavu_server.{name}") for name in ("worker_main", "fork_server")}
"""Commands by which a supervisor starts other processes."""

_REQUEST_BYTES = 1 << 17
_RESTORED = (signal.SIGTERM, signal.SIGCHLD)


class Child(Protocol):
    """The part of `subprocess.Popen[str]` that tests use."""

    @property
    def pid(self) -> int: ...
    @property
    def stderr(self) -> IO[str] | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class _Signalled(ABC):
    """A process that takes signals."""

    pid: int

    @abstractmethod
    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""

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


class ForkedChild(_Signalled):
    """A process that was forked for this one; the interpreter that forked it reports how it ended.

    Args:
        pid: process id.
        ended: reading end of the pipe on which the exit code arrives.
        stderr: reading end of its standard error.
    """

    def __init__(self, pid: int, ended: IO[bytes], stderr: IO[str]) -> None:
        self.pid = pid
        self.stderr: IO[str] | None = stderr
        self._ended = ended
        self._code: int | None = None
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: if it still runs after the time-out, in seconds.
        """
        with self._reading:
            if self._code is None:
                if not select.select([self._ended], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
                with self._ended:
                    self._code = int(self._ended.read())
            return self._code


class _Interpreter:
    """An interpreter that has imported the product and forks processes on request; ends with this process."""

    def __init__(self) -> None:
        self._control, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requesting = threading.Lock()
        self.path = Path(tempfile.mkdtemp(prefix="preloaded-")) / "socket"
        with its_end, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self.path))
            listener.listen()
            ends = [its_end.fileno(), listener.fileno()]
            command = [sys.executable, "-m", "tests.support.processes.preloaded", *map(str, ends)]
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=ends,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # a fork needs one thread
            )
        atexit.register(self._end)

    def fork(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> ForkedChild:
        request = json.dumps([module, list(arguments), dict(environment), str(Path.cwd())])
        ended, reports_end = os.pipe()
        read, written = os.pipe()
        try:
            with self._requesting, Path(os.devnull).open() as nothing:
                files = [nothing.fileno(), 1, written, reports_end]
                socket.send_fds(self._control, [request.encode()], files)
                answer = self._control.recv(64)
        except ConnectionError:  # its imports failed; its standard error has the reason
            answer = b""
        finally:
            os.close(reports_end)
            os.close(written)
        if not answer:
            raise RuntimeError(f"the preloaded interpreter ended: exit code {self._process.wait(30)}")
        stderr = os.fdopen(read, encoding="utf-8", errors="backslashreplace")
        return ForkedChild(int(answer), os.fdopen(ended, "rb"), stderr)

    def _end(self) -> None:
        self._control.close()
        self._process.wait(30)
        shutil.rmtree(self.path.parent, ignore_errors=True)


class _Use:
    enabled = False


def enable() -> None:
    """Let this process start servers preloaded; others, such as benchmarks, start new interpreters."""
    _Use.enabled = True


def enabled() -> bool:
    """Return whether servers of this process start preloaded."""
    return _Use.enabled


@functools.cache
def _interpreter(process: int) -> _Interpreter:
    return _Interpreter()


def start_preloaded(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> ForkedChild:
    """Start `python -m MODULE ARGUMENTS` with nothing on standard input and a pipe from standard error.

    Args:
        module: dejavu_server, dejavu_gateway, or another that the interpreter has imported.
        arguments: arguments of the program.
        environment: its whole environment. Of the variables that the interpreter itself reads, only PYTHONUNBUFFERED
            and a sitecustomize.py on PYTHONPATH have an effect, in workers too.
    """
    return _interpreter(os.getpid()).fork(module, arguments, environment)


def requests_path() -> Path:
    """Return the path of the socket at which any process can ask for a fork, as the program of `commands` does."""
    return _interpreter(os.getpid()).path


# What follows runs in the preloaded interpreter and in its forks.


class _Forks:
    """Forks a process for each request, and reports how each ended.

    Args:
        control: socket of the process that started this one; this one ends when that socket closes.
        listener: socket at which other processes request forks; a fork is killed when its requester disconnects.
    """

    def __init__(self, control: socket.socket, listener: socket.socket) -> None:
        self._control, self._listener = control, listener
        self._asking = {control: set[int]()}
        self._report_to = dict[int, int]()
        self._wakes, self._woken = os.pipe()
        for end in (self._wakes, self._woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> list[str] | None:
        """Serve requests. Return the command in a fork; return None in this process once `control` is closed."""
        while self._control in self._asking:
            ends = [self._listener.fileno(), self._wakes, *(each.fileno() for each in self._asking)]
            ready, _, _ = select.select(ends, [], [])
            if self._wakes in ready:
                self._report_ended()
            if self._listener.fileno() in ready:
                self._asking[self._listener.accept()[0]] = set()
            for asks in [each for each in self._asking if each.fileno() in ready]:
                if (command := self._answer(asks)) is not None:
                    return command
        return None

    def _answer(self, asks: socket.socket) -> list[str] | None:
        try:
            request, files, _, _ = socket.recv_fds(asks, _REQUEST_BYTES, 4)
        except ConnectionError:
            request, files = b"", []
        if not request:
            forked = self._asking.pop(asks)
            for pid in forked & self._report_to.keys() if asks is not self._control else ():
                os.kill(pid, signal.SIGKILL)
            asks.close()
            return None
        with _blocked_signals():
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                for number in _RESTORED:
                    signal.signal(number, signal.SIG_DFL)
                for end in (self._listener, *self._asking):
                    end.close()
                for file in (self._wakes, self._woken, *self._report_to.values()):
                    os.close(file)
                return _become(json.loads(request), files)
        self._report_to[pid] = files.pop()
        self._asking[asks].add(pid)
        for file in files:
            os.close(file)
        with contextlib.suppress(ConnectionError):  # the requester was killed, and its process will be too
            asks.send(str(pid).encode())
        return None

    def _report_ended(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakes, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                with contextlib.suppress(BrokenPipeError), os.fdopen(self._report_to.pop(pid), "w") as pipe:
                    pipe.write(str(os.waitstatus_to_exitcode(status)))


def _become(request: list[Any], files: list[int]) -> list[str]:
    """Make a fork the process that was requested; return its module and arguments."""
    module, arguments, environment, folder = request
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through="PYTHONUNBUFFERED" in environment)  # type: ignore[union-attr]
    for folder in environment.get("PYTHONPATH", "").split(os.pathsep):
        if folder and (program := Path(folder, "sitecustomize.py")).exists():
            runpy.run_path(str(program))
    setattr(subprocess, "Popen", _ForkingPopen)  # noqa: B010 - another type
    return [module, *arguments]


@contextlib.contextmanager
def _blocked_signals() -> Any:
    """Block all signals in a fork and the process that forks it, until the fork has its own handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_Popen = subprocess.Popen


class _ForkingPopen(subprocess.Popen[Any]):
    """Forks a worker or fork server of a forked server; starts any other command as usual."""

    def __new__(cls, command: Sequence[str], **options: Any) -> Any:
        if tuple(command[:4]) not in _CHILDREN:
            return _Popen(command, **options)
        return _ForkedChild(command[3:], options["stdin"], options.get("pass_fds", ()), options["env"])


class _ForkedChild(_Signalled):
    """A process forked from its supervisor, with the part of `subprocess.Popen` that asyncio uses."""

    stdin = stdout = stderr = None

    def __init__(
        self, command: Sequence[str], stdin: int, pass_fds: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        self.returncode: int | None = None
        with _blocked_signals():
            self.pid = os.fork()
            if self.pid == 0:
                signal.set_wakeup_fd(-1)
                for number in (*_RESTORED, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.pid == 0:
            _run_child(command, stdin, pass_fds, environment)

    def poll(self) -> int | None:
        return self.returncode


def _run_child(command: Sequence[str], stdin: int, pass_fds: Sequence[int], environment: Mapping[str, str]) -> None:
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
            if file not in {0, 1, 2, nothing, *pass_fds}:
                with contextlib.suppress(OSError):  # the descriptor of the listing itself
                    os.fstat(file)
                    os.dup2(nothing, file, inheritable=False)
        os.environ.clear()
        os.environ.update(environment)
        asyncio._set_running_loop(None)  # noqa: SLF001 - of the interpreter, as are the two below
        from prometheus_client import values

        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # its import reads the environment
        module, *arguments = command
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
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


def _preload_shipped_bundle() -> None:
    """Load the shipped bundle once, and give each fork a copy."""
    from tests.support.builders.shipped import shipped_bundle

    from dejavu_server.worker import models
    from dejavu_store.bundle import load_bundle
    from dejavu_store.default_bundles import default_bundle

    shipped, loaded = default_bundle(), shipped_bundle()

    def load_or_copy(folder: Path, **options: Any) -> Any:
        return copy.copy(loaded) if folder == shipped else load_bundle(folder, **options)

    setattr(models, "load_bundle", load_or_copy)  # noqa: B010 - another type


def _main() -> None:
    ends = [socket.socket(fileno=int(number)) for number in sys.argv[1:]]
    for end in ends:
        end.set_inheritable(False)
    gc.disable()
    import uvloop  # noqa: F401

    import dejavu_gateway.app
    import dejavu_gateway.cli  # noqa: F401
    import dejavu_server.cli.serve
    import dejavu_server.worker.worker  # noqa: F401

    _preload_shipped_bundle()
    gc.freeze()
    gc.enable()
    # Python 3.12 and later warn if a supervisor with threads forks a worker. The worker takes no lock of those threads.
    warnings.filterwarnings("ignore", r".* is multi-threaded, use of fork\(\)", DeprecationWarning)
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("an import has started a thread: this interpreter cannot be forked")
    command = _Forks(*ends).serve()
    if command is not None:
        program, *arguments = command
        sys.argv = [program, *arguments]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        module, _, function = program.partition(":")
        if function:  # an entry point of an installed command
            getattr(importlib.import_module(module), function)()
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
