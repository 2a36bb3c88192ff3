"""Recorded forecasts as a file: those that were asked for, or a refusal that names the way to have more."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import httpx
import pytest
from pyarrow import parquet
from tests.gateway.conftest import MINUTES, Site
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker

from dejavu_client import HALFTIME, DejavuClient, predict_request
from dejavu_client.export import PREDICTION_COLUMNS
from dejavu_gateway.api.downloads import MOST_ROWS
from dejavu_gateway.http.answers import PARQUET


def rows(site: Site, query: str) -> list[dict[str, str]]:
    answer = site.get(f"/api/predictions.csv?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="dejavu-forecasts.csv"'
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_a_file_has_the_forecasts_that_were_asked_for_with_the_columns_of_the_client(site: Site) -> None:
    found = rows(site, "includeReplays=true&settled=true&horizon=HORIZON_FINAL")
    assert [(row["game_id"], int(row["elapsed_minutes"])) for row in found] == [
        (game(0), minute) for minute in reversed(MINUTES)
    ]
    assert list(found[0]) == [column.name for column in PREDICTION_COLUMNS]
    assert found == rows(site, f"includeReplays=true&gameId={game(0)}")
    assert rows(site, "includeReplays=true&team=DEN") == []


def test_parquet_has_the_same_forecasts_and_columns(site: Site) -> None:
    query = "includeReplays=true&settled=true&horizon=HORIZON_FINAL"
    answer = site.get(f"/api/predictions.parquet?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, PARQUET)
    assert answer.headers["content-disposition"] == 'attachment; filename="dejavu-forecasts.parquet"'
    table = parquet.read_table(io.BytesIO(answer.content))
    assert table.column_names == [column.name for column in PREDICTION_COLUMNS]
    found = rows(site, query)
    assert table["game_id"].to_pylist() == [row["game_id"] for row in found]
    assert table["point_forecast"].to_pylist() == [float(row["point_forecast"]) for row in found]
    assert site.get("/api/status").json()["parquet"] is True


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_a_file_does_not_have_is_refused_by_name(site: Site, kind: str) -> None:
    answer = site.get(f"/api/predictions.{kind}?pageSize=5")
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["error"]["fields"]] == ["pageSize"]


@pytest.mark.nightly
def test_more_than_fit_into_memory_are_refused_with_the_way_to_have_them(tmp_path: Path) -> None:
    with (
        running_worker(tmp_path) as server,
        DejavuClient(server) as client,
        running_gateway(server) as gateway,
    ):
        for start in range(0, MOST_ROWS + 1, 1000):
            requests = [
                predict_request(PATTERN, horizon=HALFTIME, game_id=game(start + number)) for number in range(1000)
            ]
            assert all(each.HasField("forecast") for each in client.predict_batch(requests, timeout=60))
        answer = httpx.get(f"http://{gateway.address}/api/predictions.csv", timeout=60)
    assert answer.status_code == 413
    assert "dejavu predictions --csv" in answer.json()["error"]["message"]
