"""A real MLflow tracking server: the client's distribution contains it, and its libraries are those of development."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("mlflow")
START_SECONDS = 120


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Starts a tracking server that keeps all in a folder; yields its address."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = (
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "art"),
    )
    command = (str(PROGRAM), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options)
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # jobs need huey
    environment = {**os.environ, **quiet, "PYTHONWARNINGS": ""}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # it tells nobody when it is ready
    pytest.fail(f"the MLflow server did not start in {START_SECONDS} seconds: {log.read_text()}")
