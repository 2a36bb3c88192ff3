"""A bundle with a negative backtest verdict is served only with --allow-unfit."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.support.builders.bundles import copy_of_default, mark_unfit
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.servers import new_worker, spawned_server

from dejavu.v1 import forecast_pb2, model_service_pb2
from dejavu_client import HALFTIME, AsyncDejavuClient, predict_request

REASON = "CRPS of the half no better than persistence's in 2021"


@pytest.fixture
def unfit(tmp_path: Path) -> Path:
    copy_of_default(tmp_path / "bundle")
    mark_unfit(tmp_path / "bundle", REASON)
    return tmp_path / "bundle"


async def test_every_answer_of_an_unfit_one_is_marked_also_where_it_is_recorded(tmp_path: Path, unfit: Path) -> None:
    with capture_logs() as log:
        async with (
            new_worker(tmp_path, shipped=True, bundles=(unfit,), allow_unfit=True) as worker,
            AsyncDejavuClient(worker.address, timeout=20.0) as client,
        ):
            answers = [await client.predict(PATTERN), await client.predict(PATTERN, horizon=HALFTIME, game_id=GAME)]
            answers += [each.forecast async for each in client.list_predictions()]
            answers += [each.forecast for each in await client.predict_batch([predict_request(PATTERN)])]
            [model] = await client.list_models()
    assert [entry["log_level"] for entry in log if entry["event"] == "model_unfit"] == ["warning"]
    assert (model.verdict, model.verdict_reason) == (model_service_pb2.VERDICT_UNFIT, REASON)
    assert len(answers) == 4
    for answer in answers:
        [warning] = answer.warnings
        assert warning.reason == forecast_pb2.WARNING_REASON_MODEL_UNFIT
        assert "failed its backtest" in warning.text


def test_a_server_does_not_start_with_it(tmp_path: Path, unfit: Path) -> None:
    with spawned_server(
        "--workers", "1", "--bundle", str(unfit), "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3"
    ) as server:
        refused = server.wait_for("cannot_start")
        assert server.exit_code() == 1
    assert REASON in refused["reason"]
    assert "--allow-unfit" in refused["reason"]
    assert "Traceback" not in server.log()
