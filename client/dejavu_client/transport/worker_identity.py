"""Who answered: what the server's metadata say about the worker that a call reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dejavu_client.errors import metadata_value

WORKER_KEY = "dejavu-worker"
"""Where an answer's metadata name the worker that it came from; a worker's successor has another name."""

WORKERS_KEY = "dejavu-workers"
"""Where they say how many workers the server has."""


class WorkerIdentity(NamedTuple):
    """Where an answer came from.

    Attributes:
        worker: the worker's name; empty if the server gave none.
        workers: how many workers the server has; 0 if it did not say.
    """

    worker: str = ""
    workers: int = 0


def worker_identity(*metadata: Iterable[tuple[str, str | bytes]] | None) -> WorkerIdentity:
    """Where an answer came from, by its metadata (initial, trailing)."""
    for part in metadata:
        worker = metadata_value(part, WORKER_KEY)
        if worker:
            workers = metadata_value(part, WORKERS_KEY)
            return WorkerIdentity(worker, int(workers) if workers.isascii() and workers.isdigit() else 0)
    return WorkerIdentity()
