"""`dejavu models`, `list`, `show` and `history`, against a fake server."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.fakes.service import Abort, FakeServer
from tests.support.harness.clients import Output, Run

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.forecast_pb2 import MarginSource
from dejavu_client import FINAL

CREATED = Timestamp(seconds=1_900_000_000)
A, B = "a" * 16, "b" * 16
CHAMPION = pb.Model(
    version=A, active=True, loaded=True, stage=pb.MODEL_STAGE_SERVING, aliases=["champion"], verdict=pb.VERDICT_FIT
)
CHALLENGER = pb.Model(version=B, stage=pb.MODEL_STAGE_STAGED, aliases=["challenger"], create_time=CREATED)
LINEAGE = {"code_version": "0.2.0+g1a2b3c4", "data_fingerprint": "d" * 64, "manifest_sha256": "e" * 64}
CHALLENGER.lineage.MergeFrom(pb.ModelLineage(parent_version=A, reason="new season", **LINEAGE))


def test_models_are_shown(run: Run) -> None:
    shown = run("models").stdout
    for part in (
        "fake · active",
        "2,000 games of 2020–2021",
        "1,000 games of 2022",
        "the half, from 1 to 23 minutes",
        "fit: better than persistence in every season tested",
        "as of 2023-06-12, with 3 reported finals · 8 days old",
        "Warning: the ratings are of a fake",
        "3,000 past games",
    ):
        assert part in shown
    (model,) = json.loads(run("models", "--json").stdout)["models"]
    assert (model["version"], model["verdict"], model["ratingsDate"]) == ("fake", "VERDICT_FIT", "2023-06-12")


@pytest.mark.parametrize("width", [80, 120])
def test_a_model_is_shown_with_its_inputs_its_verdict_and_the_rest_in_any_width(output: Output, width: int) -> None:
    model = pb.Model(version="m", inputs=["total_points", "last_score"], verdict=pb.VERDICT_UNFIT)
    model.verdict_reason = "its intervals hold too seldom, " * 9
    model.metrics.add(name="calibration.halftime.minute_18.ensemble.mae_over_persistence", value=0.991)
    both = pb.ListModelsResponse(models=[model, pb.Model(version="less")])
    first, second = output(both, "models", width=width).split("less")
    assert max(map(len, first.splitlines())) <= width
    assert first.count("stated by the bundle") == 2, "the verdict and the metrics"
    parts = ("calibration.halftime.minute_18", "ensemble.mae_over_persistence  0.991")
    for part in ("unfit: its", "trained on", *parts, "total_points, last_score"):
        assert part in first
    assert not [part for part in ("verdict", "as of") if part in second]


def test_a_store_s_models_are_a_table(output: Output) -> None:
    both = pb.ListModelsResponse(models=[CHAMPION, CHALLENGER])
    header, _, first, second = output(both, "models", "list").splitlines()
    assert header.split() == ["model", "stage", "alias", "stated", "verdict", "created", "why", "here"]
    assert first.split()[:4] == [A, "serving", "champion", "fit"]
    assert second.split()[:3] == [B, "staged", "challenger"]
    assert "new season" in second
    narrow = output(both, "models", "list", width=60).splitlines()
    assert max(map(len, narrow)) <= 60
    assert f"{A} serving champion" in " ".join(narrow[2].split())


def test_a_model_is_shown_with_the_workers_that_have_it(server: FakeServer, output: Output) -> None:
    replicas = [
        pb.ModelReplica(server="host:1", worker="0", loaded=True),
        pb.ModelReplica(server="host:1", worker="1", error="lstm.npz cannot be read"),
    ]
    shown = output(pb.GetModelResponse(model=CHALLENGER, replicas=replicas), "models", "show", "challenger")
    assert server.calls[-1].request.model_version == "challenger"
    assert f"{B} · challenger" in shown
    assert "stage                staged" in shown
    assert "loaded by 1 of 2 workers" in shown
    assert "host:1, worker 1 cannot load it: lstm.npz cannot be read" in shown


def test_a_model_says_what_its_forecasts_are_made_of(output: Output) -> None:
    weights = [
        pb.ComponentWeight(
            component=name, horizon=FINAL, quarter=4, margin_source=source, weight=weight, lower=0.4, upper=upper
        )
        for source, weight, upper in zip(MarginSource.values(), (0.4, 0.5, 0.5), (0.4, 0.625, 0.625), strict=False)
        for name in ("linear", "dejavu")
    ]
    sizes: dict[str, Any] = {"similar_games": 3214, "network_units": 16, "half_width": 10.52, "calibration_games": 2511}
    model = pb.Model(version="a", components=["dejavu", "lstm"], weights=weights, **sizes)
    shown = output(pb.GetModelResponse(model=model), "models", "show")
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


def test_the_lineage_goes_back_as_far_as_models_are_registered(server: FakeServer, output: Output) -> None:
    orphan = pb.Model(version=A, lineage=pb.ModelLineage(parent_version="0" * 16, reason="first"))
    missing = Abort(grpc.StatusCode.NOT_FOUND, "none", "MODEL_NOT_REGISTERED")
    answers = (pb.GetModelResponse(model=CHALLENGER), pb.GetModelResponse(model=orphan), missing)
    shown = output(answers, "models", "show", "--lineage", "challenger")
    for part in ("new season", *LINEAGE.values(), "first", "not registered here"):
        assert part in shown
    assert [call.request.model_version for call in server.calls] == ["challenger", A, "0" * 16]
    lines = output(answers, "models", "show", "--lineage", "--json", "challenger").splitlines()
    assert [json.loads(line)["version"] for line in lines] == [B, A]
    own = pb.Model(version=A, lineage=pb.ModelLineage(parent_version=A))
    assert A in output(pb.GetModelResponse(model=own), "models", "show", "--lineage")
    assert len(server.of("GetModel")) == 7, "one that names itself ends it"


def test_the_history_says_what_was_done_by_whom_and_why(server: FakeServer, output: Output) -> None:
    made: dict[str, Any] = {"reason": "new season", "forced": True, "changed_by": "token:operator", "sequence": 12_345}
    evidence = change_pb.ModelEvidence(against_version=A, games=135, crps_e_value=24.0, brier_e_value=31.0)
    promotion = change_pb.ModelChange(action=change_pb.MODEL_ACTION_PROMOTE, model_version=B, from_version=A, **made)
    promotion.evidence.CopyFrom(evidence)
    promotion.changed_time.CopyFrom(CREATED)
    changes = [promotion, change_pb.ModelChange(action=change_pb.MODEL_ACTION_RETIRE, model_version="c" * 16)]
    listed = pb.ListModelChangesResponse(changes=changes)
    shown = output(listed, "models", "history", "--limit", "2", width=250)
    for part in ("12,345", "2030-03-17 17:46", "promoted by force", "token:operator", "new season", "135 games"):
        assert part in shown
    assert "c" * 16 in shown
    assert server.calls[-1].request.page_size == 2
    assert output(pb.ListModelChangesResponse(), "models", "history") == "No changes of models.\n"
