"""What runs in a worker's process: `python -m dejavu_server.worker_main SUPERVISOR_PID`, started by the supervisor.

It imports what takes long and then waits for its WorkerOrder on standard input. A process that has come that far is a
spare: it serves a tenth of a second after it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys

import structlog

from dejavu_models.errors import DejavuError
from dejavu_server.supervisor.heartbeat import send_heartbeats
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus, die_with_parent

EXIT_SECONDS = 15.0
"""How long after the grace time a worker that was told to end may live, even if nobody is left to see to it."""

SERVER_FAILED = 70
"""Exit code of a worker whose gRPC server broke: EX_SOFTWARE of sysexits.h."""

_log = structlog.get_logger(__name__)


def main() -> None:
    """Runs a worker for a supervisor: reads a WorkerOrder, answers with a WorkerReport, serves until SIGTERM."""
    # What a terminal sends goes to whole groups of processes; it is the supervisor who says when to drain.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(int(sys.argv[1]))

    # A second's work, and only now: a supervisor that dies meanwhile takes this process with it.
    import uvloop  # noqa: PLC0415

    import dejavu_server.worker.worker  # noqa: F401, PLC0415
    from dejavu_server.observability import logs  # noqa: PLC0415

    line = sys.stdin.readline()
    if not line:  # a spare that is not needed any more
        return
    order = WorkerStart.from_json(line)
    name = f"{order.slot}-{os.getpid()}"
    logs.configure(order.settings.log_level, order.settings.log_format, worker=name)
    sys.exit(uvloop.run(_serve(order, name)))


async def _serve(order: WorkerStart, name: str) -> int:
    """Starts a worker, tells the supervisor, and drains it when that says so; returns the exit code."""
    from dejavu_server.observability import metrics  # noqa: PLC0415 - loaded by now
    from dejavu_server.worker.worker import Worker  # noqa: PLC0415 - as well

    settings = order.settings
    stop = asyncio.Event()

    def end() -> None:
        # Should the end itself hang, in a thread or on a disk, then the kernel makes one.
        signal.setitimer(signal.ITIMER_REAL, settings.grace_seconds + EXIT_SECONDS)
        stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    metrics.reserve()
    worker = Worker(settings, name=name, workers=settings.workers, reuse_port=True, make_ledger=order.make_ledger)
    async with contextlib.AsyncExitStack() as serving:
        starting = asyncio.create_task(serving.enter_async_context(worker))
        told_to_end = asyncio.create_task(stop.wait())
        await asyncio.wait([starting, told_to_end], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        try:
            await starting
        except asyncio.CancelledError:
            return 0
        except (DejavuError, OSError) as error:
            _report(order, WorkerStatus(refusal=str(error)))
            return 1
        except Exception as error:
            _log.exception("start_failed")
            told = " ".join(f"{type(error).__name__}: {error}".split())
            _report(order, WorkerStatus(refusal=f"a fault of the program, told of in the log: {told}"))
            return 1
        # What was loaded is there to stay: to look through it for garbage again and again would hold calls up.
        gc.collect()
        gc.freeze()
        _report(order, WorkerStatus(address=worker.address, models=worker.models, ledger=worker.has_ledger, beats=True))
        beats = asyncio.create_task(send_heartbeats(order.report_fd, lambda: worker.has_ledger), name="beats")
        serving.callback(beats.cancel)
        broken = asyncio.create_task(worker.wait_for_failure())
        await asyncio.wait([told_to_end, broken], return_when=asyncio.FIRST_COMPLETED)
        if broken.done() and (fault := broken.result()) is not None:
            _log.error("worker_broken", error=repr(fault)[:200], effect="it ends at once; another takes its place")
            sys.stderr.flush()
            os._exit(SERVER_FAILED)  # not a step more than needed in memory that may be corrupt: see breakage.py
        _log.info("draining", grace_seconds=settings.grace_seconds)
    return 0


def _report(order: WorkerStart, report: WorkerStatus) -> None:
    # The pipe breaks where the supervisor is gone: the kernel's signal is then on its way.
    with contextlib.suppress(BrokenPipeError), open(order.report_fd, "w", encoding="utf-8", closefd=False) as pipe:
        pipe.write(report.to_json() + "\n")


if __name__ == "__main__":
    main()
