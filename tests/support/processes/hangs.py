"""Makes a thread of a real worker hang on a signal.

with spawned_server(…, environment=hanging(tmp_path)) as server:
    hang(server.workers[0].pid, "compute")
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

PARTS = {
    "compute": (signal.SIGUSR1, "dejavu_server.forecasting.batcher", "Batcher", "_timed"),
    "ledger-writer": (signal.SIGUSR2, "dejavu_ledger.writer", "Writer", "_commit"),
    "ledger-reader": (signal.SIGVTALRM, "dejavu_ledger.ledger", "Ledger", "_read_now"),
}

_PROGRAM = """
import importlib, signal, threading

def hang_in(module, owner, name):
    def install(*_):
        home = importlib.import_module(module)
        home = getattr(home, owner)
        work = getattr(home, name)
        def hanging(*args):
            if threading.current_thread() is threading.main_thread():  # small groups are computed on the event loop
                return work(*args)
            threading.Event().wait()
        setattr(home, name, hanging)
    return install
"""


def at_start(folder: Path, program: str) -> dict[str, str]:
    """Return the environment of processes that run a program at their start."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(program)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))}


def hanging(folder: Path) -> dict[str, str]:
    """Return the environment of a server whose workers hang in a part when they get its signal."""
    installs = [
        f"signal.signal({int(number)}, hang_in({module!r}, {owner!r}, {name!r}))"
        for number, module, owner, name in PARTS.values()
    ]
    return at_start(folder, "\n".join([_PROGRAM, *installs]))


def hang(pid: int, part: str) -> None:
    """Make a part of a worker hang at its next task."""
    os.kill(pid, PARTS[part][0])
