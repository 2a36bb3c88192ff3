"""Components that plug in: a row of every explanation, recorded with it, on a server that allows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.support.builders.calls import GAME
from tests.support.builders.components import NAME, PACKAGE, WEIGHT, of_lead, put_graph, tilt
from tests.support.processes.servers import new_worker, spawned_server

from dejavu_client import FINAL, AsyncDejavuClient, DejavuClient, FailedPreconditionError

PATTERN = [2.0, -1.0, 3.0, 6.0, 4.0, 4.0, 9.0]


async def test_its_row_is_in_every_explanation_and_in_the_record(tmp_path: Path) -> None:
    put_graph(tmp_path / "bundle", tilt(0.1).SerializeToString())
    bundles = (tmp_path / "bundle",)
    async with (
        new_worker(tmp_path, shipped=True, bundles=bundles, allow_components=True) as worker,
        AsyncDejavuClient(worker.address, timeout=20.0) as client,
    ):
        [model] = await client.list_models()
        assert list(model.components) == [NAME]
        [plugged] = model.plugged_components
        assert (plugged.name, plugged.package) == (NAME, PACKAGE)
        assert (plugged.halftime_weight, plugged.final_weight) == WEIGHT
        what_if = await client.predict(PATTERN, horizon=FINAL, pregame_margin=3.0, explain=True)
        named = await client.predict(PATTERN, horizon=FINAL, pregame_margin=3.0, explain=True, game_id=GAME)
        [recorded] = [each async for each in client.list_predictions(explain=True)]
    for forecast in (what_if, named, recorded.forecast):
        [row] = forecast.explanation.components
        assert row.name == NAME
        assert row.prediction == pytest.approx(forecast.point_forecast + WEIGHT[1] * 0.2 * PATTERN[-1], abs=1e-5)
        assert forecast.point_forecast == what_if.point_forecast


async def test_a_number_that_is_none_is_left_out_logged_once_and_counted(tmp_path: Path) -> None:
    """The reciprocal of (lead − 7) / 2 passes the verification, whose rows have no lead of 7."""
    put_graph(tmp_path / "bundle", of_lead("Reciprocal", -3.5).SerializeToString())
    with capture_logs() as log:
        async with (
            new_worker(tmp_path, shipped=True, bundles=(tmp_path / "bundle",), allow_components=True) as worker,
            AsyncDejavuClient(worker.address, timeout=20.0) as client,
        ):
            sound = await client.predict([1.0, 9.0], explain=True)
            broken = [await client.predict([1.0, 7.0], explain=True, game_id=game) for game in ("", GAME)]
            scraped = worker.metrics.registry.get_sample_value("dejavu_component_failures_total", {"component": NAME})
    assert [each.name for each in sound.explanation.components] == [NAME]
    for forecast in broken:
        assert list(forecast.explanation.components) == []
        assert forecast.interval_lower < forecast.point_forecast < forecast.interval_upper
    assert scraped == 2.0
    [failed] = [entry for entry in log if entry["event"] == "component_failed"]
    assert (failed["component"], failed["reason"]) == (NAME, "a correction of inf points")


def test_a_server_starts_with_it_only_if_that_is_allowed(tmp_path: Path) -> None:
    manifest = put_graph(tmp_path / "bundle", tilt().SerializeToString())
    options = ("--workers", "1", "--bundle", str(tmp_path / "bundle"), "--ledger", f"sqlite:///{tmp_path}/l.sqlite3")
    with spawned_server(*options) as server:
        refused = server.wait_for("cannot_start")
        assert server.exit_code() == 1
    assert "has components that plug in: tilt (allow them by --allow-components)" in refused["reason"]
    with spawned_server(*options, "--allow-components") as server, DejavuClient(server.address, timeout=20.0) as client:
        forecast = client.predict(PATTERN, explain=True)
        assert forecast.model_version == manifest.version
        assert [each.name for each in forecast.explanation.components] == [NAME]


def test_a_bundle_whose_component_is_refused_is_loaded_by_no_worker(tmp_path: Path) -> None:
    """The verification, a process of its own, refuses it before the runtime is in a worker."""
    put_graph(tmp_path / "bundle", of_lead("Log").SerializeToString(), [[0.0, 0.0]])
    with spawned_server(
        *("--workers", "1", "--bundle", str(tmp_path / "bundle"), "--allow-components"),
        *("--ledger", f"sqlite:///{tmp_path}/l.sqlite3"),
    ) as server:
        assert (
            "component tilt is refused: a correction is not a finite number"
            in server.wait_for("cannot_start")["reason"]
        )
        assert server.exit_code() == 1


def options(folder: Path) -> tuple[str, ...]:
    """Return the options of a server with a store."""
    return "--workers", "1", "--model-store", str(folder / "store"), "--ledger", f"sqlite:///{folder}/l.sqlite3"


@pytest.mark.nightly
def test_a_store_refuses_an_upload_if_components_are_not_allowed(tmp_path: Path) -> None:
    put_graph(tmp_path / "bundle", tilt().SerializeToString())
    with spawned_server(*options(tmp_path)) as server, DejavuClient(server.address, timeout=60.0) as client:
        with pytest.raises(FailedPreconditionError, match="allow them by --allow-components") as refusal:
            client.register_bundle(tmp_path / "bundle")
        assert refusal.value.reason == "BUNDLE_COMPONENTS_REFUSED"


def test_a_store_takes_an_upload_and_a_server_that_may_not_load_it_tells_callers_why(tmp_path: Path) -> None:
    manifest = put_graph(tmp_path / "bundle", tilt().SerializeToString())
    with (
        spawned_server(*options(tmp_path), "--allow-components") as server,
        DejavuClient(server.address, timeout=60.0) as client,
    ):
        client.register_bundle(tmp_path / "bundle")
        client.load_model(manifest.version)
        assert client.predict(PATTERN, explain=True).model_version != manifest.version
        explained = client.predict(PATTERN, explain=True, model_version=manifest.version).explanation
        assert [each.name for each in explained.components] == [NAME]
    with spawned_server(*options(tmp_path)) as server, DejavuClient(server.address, timeout=60.0) as client:
        server.wait_for("model_load_failed")
        with pytest.raises(FailedPreconditionError, match=r"cannot be loaded: .*allow them by --allow-components"):
            client.predict(PATTERN, model_version="challenger")
