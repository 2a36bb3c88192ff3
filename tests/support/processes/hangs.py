"""Makes a thread of a real worker hang on a signal.

with spawned_server(…, environment=hanging(tmp_path)) as server:
    hang(server.workers[0].pid, "compute")
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

PARTS = {
    "compute": (signal.SIGUSR1, "dejavu_server.forecasting.batcher", "batcher.compute"),
    "ledger-writer": (signal.SIGUSR2, "dejavu_server.ledger.writer", "writer.Writer._commit"),
    "ledger-reader": (signal.SIGVTALRM, "dejavu_server.ledger.ledger", "ledger.Ledger._read_now"),
}

_PROGRAM = """
import signal, threading

def hang_in(module, target):
    def install(*_):
        package, _, name = module.rpartition(".")
        exec(f"from {package} import {name}; {target} = lambda *_: threading.Event().wait()", {"threading": threading})
    return install
"""


def hanging(folder: Path) -> dict[str, str]:
    """Returns the environment of a server whose workers hang in a part when they get its signal."""
    site = folder / "site"
    site.mkdir()
    installs = [
        f"signal.signal({int(number)}, hang_in({module!r}, {target!r}))" for number, module, target in PARTS.values()
    ]
    (site / "sitecustomize.py").write_text("\n".join([_PROGRAM, *installs]))
    return {"PYTHONPATH": str(site)}


def hang(pid: int, part: str) -> None:
    """Makes a part of a worker hang at its next task."""
    os.kill(pid, PARTS[part][0])
