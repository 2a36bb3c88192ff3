"""An MLflow tracking server of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes.connections import answers


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Start a tracking server that keeps all in a folder; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    places = (f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}", f"--artifacts-destination={folder / 'art'}")
    at = ("--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--workers", "1")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # jobs need huey
    environment = {**os.environ, **quiet, "PYTHONWARNINGS": ""}
    with (folder / "log").open("wb") as log:
        program = Path(sys.executable).with_name("mlflow")
        command = (program, "server", *at, *places)
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while not answers(address):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
            yield f"http://{address}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            process.wait()
