"""The log and the metrics of a server show that its ratings are too old to be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.support.builders.calls import current_game
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_server.worker import ratings_age_metrics


async def test_a_reported_final_ends_what_the_log_and_the_metrics_say_of_outdated_ratings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratings_age_metrics, "REFRESH_SECONDS", 0.05)
    with capture_logs() as log:
        async with (
            async_worker(tmp_path, shipped=True) as worker,
            AsyncDejavuClient(worker.address, timeout=30.0) as client,
        ):
            figures = worker.metrics.registry
            [model] = worker.models

            def age(model: str) -> float:
                return (figures.get_sample_value("dejavu_ratings_age_seconds", {"model": model}) or 0.0) / 86_400

            [listed] = await client.list_models()
            assert age(model) == listed.ratings_age_days > 400
            assert figures.get_sample_value("dejavu_finals_since", {"model": model}) == 0
            await client.report_outcome(current_game(1), 12, horizon=FINAL, home_team="NYK", away_team="MIA")
            await until(lambda: age(model) <= 0)
            assert figures.get_sample_value("dejavu_finals_since", {"model": model}) == 1
    [outdated] = [entry for entry in log if entry["event"] == "ratings_outdated"]
    assert (outdated["log_level"], outdated["model"], outdated["ratings_date"]) == ("warning", model, "2024-06-17")
    assert outdated["age_days"] == listed.ratings_age_days
    assert [entry["finals_since"] for entry in log if entry["event"] == "ratings_current"] == [1]
