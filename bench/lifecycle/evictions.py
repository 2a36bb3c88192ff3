"""Measures the memory of a worker that loads models on demand and evicts them again.

    python -m bench.lifecycle.evictions

A worker keeps 8 models, the lowest setting of a server. A caller requests eight models by version, in turn. Since the
champion also stays loaded, each call from the second round on loads a model and evicts another one. Compares the PSS of
the process, in which worker and caller run, after the first --warm rounds, in which memory still grows, with that at
the end. Fails if a call fails, or if memory grows by more than --margin.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import grpc
import psutil
import structlog
from tests.support.builders.bundles import store_variants
from tests.support.processes.servers import settings_in
from tests.support.programs.model_servers import ServedModels, register

from dejavu.v1.model_service_pb2 import ListModelsRequest
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_server.forecasting.lifecycle import loader
from dejavu_server.worker.worker import Worker

MODELS: Final = 8
"""Models that the worker keeps."""


class Evictions(NamedTuple):
    """Measurements of a run.

    Attributes:
        pss_mib: PSS after each round of all models, in MiB.
        loads: number of models loaded on demand.
        seconds: mean time of a call that loads a model.
    """

    pss_mib: list[float]
    loads: int
    seconds: float

    def growth(self, warm: int) -> float:
        """Return the growth of memory after the first rounds, in MiB."""
        return self.pss_mib[-1] - self.pss_mib[warm - 1]


async def measure(rounds: int, folder: Path) -> Evictions:
    """Request all models in turn, for a number of rounds."""
    stored = await asyncio.to_thread(store_variants, folder / "store", MODELS)
    settings = settings_in(folder, model_store=str(folder / "store"), load_on_demand="on", max_models=MODELS)
    loader.DEMAND_SECONDS = 0.0  # type: ignore[misc] # a worker waits between two loads, so that callers cannot keep it busy
    pss, seconds, loads = [], 0.0, 0
    async with Worker(settings, name="0") as worker, grpc.aio.insecure_channel(worker.address) as channel:
        served = ServedModels(worker, channel)
        for each in stored:
            await register(served.models, each.to_json().encode())
        for _ in range(rounds):
            for each in stored:
                pattern = [random.uniform(-20, 20) for _ in range(18)]
                began = time.monotonic()
                await served.predictions.Predict(
                    PredictRequest(pattern=pattern, model_version=each.version), timeout=60.0
                )
                seconds += time.monotonic() - began
                loads += 1
                await given_up(served)
            gc.collect()
            pss.append(psutil.Process().memory_full_info().pss / 2**20)
    return Evictions(pss, loads, seconds / loads)


async def given_up(served: ServedModels) -> None:
    """Wait until the worker keeps at most MODELS models."""
    async with asyncio.timeout(60.0):
        while await loaded(served) > MODELS:  # noqa: ASYNC110 - within a second
            await asyncio.sleep(0.05)


async def loaded(served: ServedModels) -> int:
    """Return the number of models that the worker has loaded."""
    return sum(each.loaded for each in (await served.models.ListModels(ListModelsRequest())).models)


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description="measures the memory of a worker that evicts models")
    parser.add_argument("--rounds", type=int, default=12, help="number of requests for each model")
    parser.add_argument("--warm", type=int, default=3, help="first rounds, after which memory must not grow")
    parser.add_argument("--margin", type=float, default=10.0, help="allowed growth, in MiB; by default half a model")
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="dejavu-evictions-") as folder:
        result = asyncio.run(measure(options.rounds, Path(folder)))
    show(f"{result.loads} models loaded on demand, {MODELS} kept; a call that loads one took {result.seconds:.2f} s")
    show(f"PSS after each round, MiB: {', '.join(f'{each:.0f}' for each in result.pss_mib)}")
    grown = result.growth(options.warm)
    show(f"grown after round {options.warm}: {grown:+.1f} MiB")
    return int(grown > options.margin)


if __name__ == "__main__":
    sys.exit(main())
