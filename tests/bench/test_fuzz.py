"""Fuzzing programs: the server and the bundle's readers withstand them, and faults are reported."""

from __future__ import annotations

import math
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench.fuzz.__main__ import fuzz
from bench.fuzz.checks import wrong_with_answer
from bench.fuzz.messages import PREDICT, RECORD
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.processes.servers import running_worker

from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_store.default_bundles import default_bundle

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("number", "seed"),
    [(600, 16), *(pytest.param(100_000, seed, marks=pytest.mark.nightly) for seed in (1, 2))],
)
def test_no_messages_break_anything(tmp_path: Path, number: int, seed: int) -> None:
    result = fuzz(options(messages=number, seed=seed), tmp_path)
    codes = result.codes
    assert result.breaches() == []
    assert codes.total() == number
    assert codes["Predict OK"] > number // 16
    assert codes["Predict INVALID_ARGUMENT"] > number // 16
    assert not [rpc.name for rpc in RECORD if f"{rpc.name} OK" not in codes]


def options(**changes: Any) -> Namespace:
    return Namespace(**{"messages": 5000, "seed": 1, "only": -1, "address": "", **changes})


@pytest.mark.nightly
def test_a_server_that_gives_way_is_told_of_with_what_did_it(tmp_path: Path) -> None:
    def give_way(_: Sequence[Any]) -> None:
        raise ZeroDivisionError

    model = EveryMinuteForecaster()
    model.before = give_way
    with running_worker(tmp_path, model) as address:
        told = fuzz(options(messages=300, seed=6, address=address), tmp_path).breaches()
    [first, *_] = [each for each in told if "INTERNAL: internal error" in each]
    assert "python -m bench.fuzz --seed 6 --only " in first


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_mutations_of_the_files_of_a_bundle_are_refused_or_answered() -> None:
    # In a process of its own: it forks, and this one has threads by now.
    program = (sys.executable, "-m", "bench.fuzz.bundles", "--mutations", "1000")
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(ended.stdout.splitlines()) == len(list(default_bundle().iterdir()))


EXPLANATION: dict[str, Any] = {
    "attribution": {"before_tipoff": 0.5, "minutes": [1.0, -0.5]},
    "components": [{"name": "linear", "prediction": 1.0, "weight": 1.0}],
    "contributions": [{"name": "minutes", "points": 1.5}, {"name": "ratings", "points": -0.5}],
    "similar_games": [{"distance": 1.0}],
    "similar_summary": {"games": 2, "same_lead": 1, "home_led": 1, "turned": 1},
}
SOUND: dict[str, Any] = {
    "point_forecast": 1.0,
    "interval_lower": 0.0,
    "interval_upper": 2.0,
    "home_lead_probability": 0.5,
    "coverage_probability": 0.95,
    "model_version": "v",
    "elapsed_minutes": 2,
    "quantiles": [{"level": 0.9, "value": 2.0}, {"level": 0.1, "value": 0.0}],
    "expected_margin": 3.5,
    "explanation": EXPLANATION,
}


@pytest.mark.parametrize(
    "change",
    [
        {"point_forecast": math.nan},
        {"home_lead_probability": 1.1},
        {"expected_margin": 3.0},
        {"quantiles": [{"level": 0.9, "value": 0.0}, {"level": 0.1, "value": 2.0}]},
        {"explanation": {**EXPLANATION, "similar_games": [{"distance": -1.0}]}},
        {"explanation": {**EXPLANATION, "components": [{"name": "linear", "prediction": 1.0, "weight": 0.5}]}},
    ],
    ids=str,
)
def test_an_impossible_answer_is_found(change: dict[str, Any]) -> None:
    request = pb.PredictRequest(pattern=[2, 1], quantile_levels=[0.9, 0.1], pregame_margin=3.5).SerializeToString()
    for fields, found in ((SOUND, False), ({**SOUND, **change}, True)):
        response = pb.PredictResponse(forecast=forecast_pb2.Forecast(**fields)).SerializeToString()
        assert bool(wrong_with_answer(PREDICT, request, response)) == found
