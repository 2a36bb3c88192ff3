"""Name of the worker that answered a call, which the worker puts into the call's metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import grpc

from dejavu_client.errors import metadata_value

WORKER_KEY = "dejavu-worker"
"""Metadata key for the name of the worker that answered. The replacement of a worker has another name."""

WORKERS_KEY = "dejavu-workers"
"""Metadata key for the number of workers of the server."""

UNHEARD = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE})
"""Codes of calls that may have ended without a response from the server. Any other code came from the server."""


class WorkerIdentity(NamedTuple):
    """Worker that answered a call.

    Attributes:
        worker: name of the worker; empty if the server gave none.
        workers: number of workers of the server; 0 if the server gave none.
    """

    worker: str = ""
    workers: int = 0


def worker_identity(*metadata: Iterable[tuple[str, str | bytes]] | None) -> WorkerIdentity:
    """Read the worker from a call's metadata (initial, then trailing)."""
    for part in metadata:
        worker = metadata_value(part, WORKER_KEY)
        if worker:
            workers = metadata_value(part, WORKERS_KEY)
            return WorkerIdentity(worker, int(workers) if workers.isascii() and workers.isdigit() else 0)
    return WorkerIdentity()


def failure_identity(error: grpc.RpcError) -> WorkerIdentity:
    """Read the worker from the metadata of a failed call."""
    call = cast("grpc.Call", error)  # asynchronous errors have these methods too
    return worker_identity(call.initial_metadata(), call.trailing_metadata())
