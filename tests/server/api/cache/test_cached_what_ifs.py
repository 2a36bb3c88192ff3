"""What-ifs answered from the cache by a real worker: equal, never across a change, and only what-ifs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from prometheus_client import Counter
from tests.support.builders.calls import GAME, PATTERN
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.fakes.what_ifs import untimed, what_if
from tests.support.processes.servers import settings_in

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Market, Odds
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_server.worker.worker import Worker

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


def count(counter: Counter) -> float:
    """Return the sum of a counter over its labels."""
    return sum(each.value for metric in counter.collect() for each in metric.samples if each.name.endswith("_total"))


async def test_an_equal_what_if_is_not_computed_again_and_says_when_it_was(
    service: PredictionServiceAsyncStub, model: PersistenceForecaster, worker: Worker
) -> None:
    model.groups.clear()  # those of the start
    first, *others = [await service.Predict(what_if()) for _ in range(3)]
    assert others == [first, first], "times included"
    assert model.groups == [1]
    await service.Predict(what_if(1))
    assert model.groups == [1, 1]
    assert (count(worker.metrics.cache_hits), count(worker.metrics.cache_misses)) == (2, 2)
    assert count(worker.metrics.forecasts) == 4, "every answer is counted"
    assert count(worker.metrics.calls) == 4


async def test_a_named_forecast_is_never_answered_from_the_cache(
    service: PredictionServiceAsyncStub, model: PersistenceForecaster, worker: Worker
) -> None:
    named = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
    model.groups.clear()
    await service.Predict(what_if())
    sequences = {(await service.Predict(named)).forecast.sequence for _ in range(3)}
    assert len(sequences) == 1
    assert 0 not in sequences
    assert model.groups == [1] * 4
    assert not (await service.Predict(what_if())).forecast.sequence
    assert count(worker.metrics.cache_hits) == 1


WHAT_IFS = [
    what_if(),
    what_if(3),
    pb.PredictRequest(pattern=PATTERN, horizon=HORIZON_FINAL, home_team="BOS", away_team="LAL", alpha=0.2),
    pb.PredictRequest(
        pattern=PATTERN,
        horizon=HORIZON_FINAL,
        home_team="BOS",
        away_team="LAL",
        return_explanation=True,
        quantile_levels=[0.1, 0.5],
        markets=[Market(kind=MARKET_KIND_LEAD, line=-3.5, above=Odds(decimal=1.9), below=Odds(decimal=1.9))],
    ),
]


async def test_answers_with_the_cache_equal_those_without_to_the_last_bit_across_outcomes(tmp_path: Path) -> None:
    """Two workers on one ledger whose intervals and ratings learn; one of them has the cache."""
    rng, clock = random.Random(1), SteppedClock()
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                Worker(settings_in(tmp_path, adaptive="on", cache=cache), clock=clock, name=cache)
            )
            for cache in ("memory", "off")
        ]
        clients = [await stack.enter_async_context(AsyncDejavuClient(each.address)) for each in workers]
        stubs: list[PredictionServiceAsyncStub] = [
            PredictionServiceStub(await stack.enter_async_context(grpc.aio.insecure_channel(each.address)))
            for each in workers
        ]
        answers, reported = set[bytes](), dict[str, int]()
        for step in range(40):
            match rng.choice(["ask"] * 6 + ["report", "report", "withdraw", "wait", "clear"]):
                case "report":
                    game = f"00225{step:05d}"
                    client, differential = clients[step % 2], rng.randint(20, 30)
                    await client.predict(PATTERN, game_id=game, horizon=FINAL, home_team="BOS", away_team="LAL")
                    report = await client.report_outcome(
                        game, differential, horizon=FINAL, home_team="BOS", away_team="LAL"
                    )
                    reported[game] = report.outcome.sequence
                case "withdraw" if reported:
                    await clients[0].withdraw_outcome(reported.popitem()[0], horizon=FINAL)
                case "wait":
                    clock.step(rng.choice([1, 61, 20_000]))
                case "clear":
                    await clients[0].clear_cache()
            await learned(stubs, max(reported.values(), default=0))
            for request in rng.choices(WHAT_IFS, k=3):
                cached, computed = [untimed(await stub.Predict(request)) for stub in stubs]
                assert cached == computed
                answers.add(computed)
        assert len(answers) > len(WHAT_IFS), "nothing was learned"
        stats = await clients[0].get_cache_stats()
        assert stats.hits > 50, "40 of them while it was waited for what was learned"


async def learned(stubs: Sequence[PredictionServiceAsyncStub], sequence: int) -> None:
    """Wait until the newest outcome from which the workers have learned has a sequence."""
    async with asyncio.timeout(30):
        for stub in stubs:
            while (await stub.Predict(what_if())).forecast.calibration_sequence != sequence:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.01)
