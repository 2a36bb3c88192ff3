"""Entry point of a worker process: `python -m dejavu_server.worker_main SUPERVISOR_PID`, started by the supervisor.

Imports the slow modules, then waits for a WorkerStart on standard input. Most workers are not started this way, but
forked from a process that has done the imports (fork_server.py); they wait for the WorkerStart at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from dejavu_common import build, tracing
from dejavu_common.build import install
from dejavu_common.processes import die_with_parent
from dejavu_models.errors import DejavuError
from dejavu_server.supervisor.heartbeat import send_heartbeats

if TYPE_CHECKING:
    from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus
    from dejavu_server.worker.models import PreloadedModels

EXIT_SECONDS = 15.0
"""Seconds after the grace period at which a worker that received SIGTERM is killed by its own timer."""

GC_THRESHOLDS = (2000, 5, 10)
"""Thresholds of garbage collection (see `gc.set_threshold`); Python's default is 700, 10, 10. Calls that name a game
leave objects in the ledger's cache and so cause collections, each of which visits the objects of all calls in progress.
"""

SERVER_FAILED = 70
"""Exit code of a worker whose gRPC server failed: EX_SOFTWARE of sysexits.h."""

_log = structlog.get_logger(__name__)


def main() -> None:
    """Run a worker for a supervisor: read a WorkerStart, write a WorkerStatus, serve until SIGTERM."""
    supervisor = int(sys.argv[1])
    prepare(supervisor)
    import_modules()
    gc.freeze()
    sys.exit(run(supervisor))


def prepare(supervisor: int) -> None:
    """Prepare a process that the supervisor has started."""
    # A terminal signals the whole process group, but only the supervisor may start a drain.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The workers of a supervisor killed by SIGKILL must not continue and share the port with its successor.
    die_with_parent(supervisor, signal.SIGTERM)


def import_modules() -> None:
    """Import a worker's modules, which takes about a second. Garbage collection is then off until the worker serves.

    Call `prepare` first, so that the process ends with its supervisor even during the imports.
    """
    # Objects created during the start stay alive, and garbage collection would take a tenth of the start's time.
    gc.disable()
    import uvloop  # noqa: F401, PLC0415

    import dejavu_server.supervisor.protocol  # noqa: PLC0415
    import dejavu_server.worker.worker  # noqa: F401, PLC0415


def run(supervisor: int, models: PreloadedModels | None = None) -> int:
    """Read a WorkerStart from standard input, and serve until SIGTERM; return the exit code.

    Args:
        supervisor: process id of the supervisor, which is this process's parent.
        models: models that the fork server has loaded; None if this process was not forked by it.
    """
    import uvloop  # noqa: PLC0415 - already imported by import_modules

    from dejavu_server.observability import logs  # noqa: PLC0415
    from dejavu_server.supervisor.protocol import WorkerStart  # noqa: PLC0415

    line = sys.stdin.readline()
    if not line:  # the supervisor has ended, or does not need this process
        return 0
    die_with_parent(supervisor, signal.SIGTERM)  # again: a forked process does not inherit it
    order = WorkerStart.from_json(line)
    name = f"{order.slot}-{os.getpid()}"
    logs.configure(order.settings.log_level, order.settings.log_format, worker=name)
    _configure_tracing()
    try:
        return uvloop.run(_serve(order, name, models))
    finally:
        tracing.shutdown()


def _configure_tracing() -> None:
    if not tracing.requested():
        return
    try:
        tracing.configure("dejavu-server", build.release())
    except ModuleNotFoundError as error:
        advice = f"{install('tracing')}"
        _log.error("tracing_unavailable", missing=error.name, advice=advice, effect="no spans are sent")


async def _serve(order: WorkerStart, name: str, models: PreloadedModels | None = None) -> int:
    """Start a worker, report its status to the supervisor and drain it on SIGTERM; return the exit code."""
    from dejavu_server.observability import metrics  # noqa: PLC0415 - already imported by import_modules
    from dejavu_server.observability.statistics import package_versions  # noqa: PLC0415
    from dejavu_server.supervisor.protocol import WorkerStatus  # noqa: PLC0415
    from dejavu_server.worker.worker import Worker  # noqa: PLC0415

    settings = order.settings
    stop = asyncio.Event()

    def request_stop() -> None:
        # SIGALRM kills the process if the shutdown itself hangs in a thread or on a disk.
        signal.setitimer(signal.ITIMER_REAL, settings.grace_seconds + EXIT_SECONDS)
        stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, request_stop)
    metrics.allocate_files()
    worker = Worker(
        settings,
        name=name,
        reuse_port=True,
        make_ledger=order.make_ledger,
        first=order.slot == 0,
        folder=Path(order.folder),
        preloaded=models,
    )
    async with contextlib.AsyncExitStack() as serving:
        starting = asyncio.create_task(serving.enter_async_context(worker))
        stop_requested = asyncio.create_task(stop.wait())
        await asyncio.wait([starting, stop_requested], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            return 0
        except (DejavuError, OSError) as error:
            _send_status(order, WorkerStatus(refusal=str(error)))
            return 1
        except Exception as error:
            _log.exception("start_failed")
            summary = " ".join(f"{type(error).__name__}: {error}".split())
            _send_status(order, WorkerStatus(refusal=f"internal error, see the log: {summary}"))
            return 1
        # Loaded models are never freed: freeze them, so that garbage collection does not scan them and delay calls.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        _send_status(order, WorkerStatus(models=worker.models, versions=package_versions(), ledger=worker.has_ledger))
        beats = asyncio.create_task(
            send_heartbeats(order.report_fd, lambda: worker.has_ledger, lambda: worker.hung_part), name="beats"
        )
        serving.callback(beats.cancel)
        failed = asyncio.create_task(worker.wait_for_failure())
        await asyncio.wait([stop_requested, failed], return_when=asyncio.FIRST_COMPLETED)
        if failed.done() and (cause := failed.result()) is not None:
            _log.error("worker_broken", error=repr(cause)[:200], effect="the worker exits now and is replaced")
            sys.stderr.flush()
            os._exit(SERVER_FAILED)  # memory may be corrupt, so skip all cleanup: see docs/decisions/0036
        _log.info("draining", grace_seconds=settings.grace_seconds)
    return 0


def _send_status(order: WorkerStart, status: WorkerStatus) -> None:
    # The pipe breaks if the supervisor died; SIGTERM of die_with_parent follows.
    with contextlib.suppress(BrokenPipeError), open(order.report_fd, "w", encoding="utf-8", closefd=False) as pipe:
        pipe.write(status.to_json() + "\n")


if __name__ == "__main__":
    main()
