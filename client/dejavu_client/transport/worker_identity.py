"""Identity of the worker that answered a call, from the server's metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dejavu_client.errors import metadata_value

WORKER_KEY = "dejavu-worker"
"""Metadata key for the name of the worker that answered. The replacement of a worker has another name."""

WORKERS_KEY = "dejavu-workers"
"""Metadata key for the number of workers of the server."""


class WorkerIdentity(NamedTuple):
    """Worker that answered a call.

    Attributes:
        worker: name of the worker; empty if the server gave none.
        workers: number of workers of the server; 0 if the server gave none.
    """

    worker: str = ""
    workers: int = 0


def worker_identity(*metadata: Iterable[tuple[str, str | bytes]] | None) -> WorkerIdentity:
    """Reads the worker from a call's metadata (initial, then trailing)."""
    for part in metadata:
        worker = metadata_value(part, WORKER_KEY)
        if worker:
            workers = metadata_value(part, WORKERS_KEY)
            return WorkerIdentity(worker, int(workers) if workers.isascii() and workers.isdigit() else 0)
    return WorkerIdentity()
