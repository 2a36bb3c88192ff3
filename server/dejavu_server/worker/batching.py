"""Makes the batcher of a worker, and writes the metrics that its calls only sum."""

from __future__ import annotations

from contextlib import AsyncExitStack

from dejavu_server.admission.controller import AdmissionController
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.observability.deferred import FLUSH_SECONDS
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask


def new_batcher(stack: AsyncExitStack, metrics: Metrics, admission: AdmissionController) -> Batcher:
    """Returns what computes the forecasts of a worker's calls.

    Args:
        stack: closes it.
        metrics: the metrics to update.
        admission: knows the calls in progress.
    """
    deferred = metrics.deferred
    batcher = Batcher(
        observe=deferred.observations(metrics.batch_size).observe,
        dropped=metrics.count_dropped,
        waited=deferred.observations(metrics.queue_seconds).observe,
        computed=deferred.observations(metrics.compute_seconds).observe,
        alone=lambda: admission.one_forecast,
    )
    stack.push_async_callback(batcher.close)
    return batcher


def start_writing(stack: AsyncExitStack, metrics: Metrics) -> None:
    """Starts to write what calls add to the metrics, every FLUSH_SECONDS and when the stack is closed."""

    async def write() -> None:
        metrics.deferred.flush()

    stack.callback(metrics.deferred.flush)
    task = PeriodicTask("metrics-writer", FLUSH_SECONDS, write)
    stack.push_async_callback(task.close)
    task.start()
