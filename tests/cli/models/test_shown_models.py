"""`dejavu models list`, `show` and `history`, against a fake server."""

from __future__ import annotations

import json
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.fakes.service import Abort, FakeServer
from tests.support.harness.clients import Run

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.forecast_pb2 import MarginSource
from dejavu_client import FINAL

CREATED = Timestamp(seconds=1_900_000_000)
CHAMPION = pb.Model(
    version="aaaaaaaaaaaaaaaa",
    active=True,
    stage=pb.MODEL_STAGE_SERVING,
    aliases=["champion"],
    loaded=True,
    create_time=CREATED,
    verdict=pb.VERDICT_FIT,
)
CHALLENGER = pb.Model(
    version="bbbbbbbbbbbbbbbb",
    stage=pb.MODEL_STAGE_STAGED,
    aliases=["challenger"],
    create_time=CREATED,
    lineage=pb.ModelLineage(
        parent_version="aaaaaaaaaaaaaaaa",
        reason="new season",
        data_fingerprint="d" * 64,
        code_version="0.2.0+g1a2b3c4",
        manifest_sha256="e" * 64,
    ),
)


def test_a_store_s_models_are_a_table_and_others_are_shown_as_ever(server: FakeServer, run: Run) -> None:
    server.answers("ListModels", pb.ListModelsResponse(models=[CHAMPION, CHALLENGER]))
    header, _, first, second = run("models", "list").stdout.splitlines()
    assert header.split() == ["model", "stage", "alias", "stated", "verdict", "created", "why", "here"]
    assert first.split()[:4] == ["aaaaaaaaaaaaaaaa", "serving", "champion", "fit"]
    assert second.split()[:3] == ["bbbbbbbbbbbbbbbb", "staged", "challenger"]
    assert "new season" in second
    server.answers("ListModels", pb.ListModelsResponse(models=[CHAMPION, CHALLENGER]))
    narrow = run("models", "list", width=60).stdout.splitlines()
    assert max(map(len, narrow)) <= 60
    assert "aaaaaaaaaaaaaaaa serving champion" in " ".join(narrow[2].split())
    assert "fake · active" in run("models").stdout


def test_a_model_is_shown_with_the_workers_that_have_it(server: FakeServer, run: Run) -> None:
    replicas = [
        pb.ModelReplica(server="host:1", worker="0", loaded=True),
        pb.ModelReplica(server="host:1", worker="1", error="lstm.npz cannot be read"),
    ]
    server.answers("GetModel", pb.GetModelResponse(model=CHALLENGER, replicas=replicas))
    shown = run("models", "show", "challenger").stdout
    assert server.calls[-1].request.model_version == "challenger"
    assert "bbbbbbbbbbbbbbbb · challenger" in shown
    assert "stage                staged" in shown
    assert "loaded by 1 of 2 workers" in shown
    assert "host:1, worker 1 cannot load it: lstm.npz cannot be read" in shown


def test_a_model_says_what_its_forecasts_are_made_of(server: FakeServer, run: Run) -> None:
    weights = [
        pb.ComponentWeight(
            component=name, horizon=FINAL, quarter=4, margin_source=source, weight=weight, lower=0.4, upper=upper
        )
        for source, weight, upper in zip(MarginSource.values(), (0.4, 0.5, 0.5), (0.4, 0.625, 0.625), strict=False)
        for name in ("linear", "dejavu")
    ]
    sizes: dict[str, Any] = {"similar_games": 3214, "network_units": 16, "half_width": 10.52, "calibration_games": 2511}
    model = pb.Model(version="a", components=["dejavu", "lstm"], weights=weights, **sizes)
    server.answers("GetModel", pb.GetModelResponse(model=model))
    shown = run("models", "show").stdout
    assert "linear, Dejavu of 3,214 similar games, LSTM of 16 units" in shown
    assert "± 10.5 points at the half, level after 18 minutes" in shown
    assert "2,511 games" in shown
    table = [[cell.strip() for cell in line.split("│")[2:-2]] for line in shown.splitlines() if line.count("│") == 6]
    assert table == [
        ["no expected margin", "", ""],
        ["end, Q4", "40", "40"],
        ["ratings, line", "", ""],
        ["end, Q4", "50 (40–62)", "50 (40–62)"],
    ]


def test_the_lineage_goes_back_as_far_as_models_are_registered(server: FakeServer, run: Run) -> None:
    orphan = pb.Model(version="aaaaaaaaaaaaaaaa", lineage=pb.ModelLineage(parent_version="0" * 16, reason="first"))
    answers = [
        pb.GetModelResponse(model=CHALLENGER),
        pb.GetModelResponse(model=orphan),
        Abort(grpc.StatusCode.NOT_FOUND, "none", "MODEL_NOT_REGISTERED"),
    ]
    server.answers("GetModel", *answers)
    shown = run("models", "show", "--lineage", "challenger").stdout
    for part in ("new season", "0.2.0+g1a2b3c4", "d" * 64, "e" * 64, "first", "not registered here"):
        assert part in shown
    assert [call.request.model_version for call in server.calls] == ["challenger", "a" * 16, "0" * 16]
    server.answers("GetModel", *answers)
    lines = run("models", "show", "--lineage", "--json", "challenger").stdout.splitlines()
    assert [json.loads(line)["version"] for line in lines] == ["b" * 16, "a" * 16]
    own = pb.Model(version="a" * 16, lineage=pb.ModelLineage(parent_version="a" * 16))
    server.answers("GetModel", pb.GetModelResponse(model=own))
    assert run("models", "show", "--lineage").exit_code == 0
    assert len(server.of("GetModel")) == 7, "one that names itself ends it"


def test_the_history_says_what_was_done_by_whom_and_why(server: FakeServer, run: Run) -> None:
    evidence = change_pb.ModelEvidence(
        against_version="a" * 16,
        games=135,
        crps_e_value=24.0,
        brier_e_value=31.0,
        crps_difference=-0.01,
        coverage=0.951,
    )
    changes = [
        change_pb.ModelChange(
            action=change_pb.MODEL_ACTION_PROMOTE,
            model_version="b" * 16,
            from_version="a" * 16,
            reason="new season",
            forced=True,
            evidence=evidence,
            changed_time=CREATED,
            changed_by="token:operator",
            sequence=12_345,
        ),
        change_pb.ModelChange(action=change_pb.MODEL_ACTION_RETIRE, model_version="c" * 16),
    ]
    server.answers("ListModelChanges", pb.ListModelChangesResponse(changes=changes))
    shown = run("models", "history", "--limit", "2", width=250).stdout
    for part in ("12,345", "2030-03-17 17:46", "promoted by force", "token:operator", "new season", "135 games"):
        assert part in shown
    assert f"{'c' * 16}" in shown
    assert server.calls[-1].request.page_size == 2
    server.answers("ListModelChanges", pb.ListModelChangesResponse())
    assert run("models", "history").stdout == "No changes of models.\n"
