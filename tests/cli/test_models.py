"""Commands about models, against a fake server: what they show, compare and change."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.fakes.service import Abort, FakeServer
from tests.support.harness.clients import Output, Run

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_comparison_pb2 as comparison_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.forecast_pb2 import MarginSource
from dejavu_cli.commands.models import chart_lines
from dejavu_client import FINAL, HALFTIME

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
        "fit: better than persistence",
        "as of 2023-06-12",
        "Warning: the ratings are of a fake",
    ):
        assert part in shown
    (model,) = json.loads(run("models", "--json").stdout)["models"]
    assert (model["version"], model["verdict"], model["ratingsDate"]) == ("fake", "VERDICT_FIT", "2023-06-12")


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
    own = pb.Model(version=A, lineage=pb.ModelLineage(parent_version=A))
    assert A in output(pb.GetModelResponse(model=own), "models", "show", "--lineage")
    assert len(server.of("GetModel")) == 4, "one that names itself ends it"


def test_the_history_says_what_was_done_by_whom_and_why(server: FakeServer, output: Output) -> None:
    made: dict[str, Any] = {"reason": "new season", "forced": True, "changed_by": "token:operator", "sequence": 12_345}
    evidence = change_pb.ModelEvidence(against_version=A, games=135, crps_e_value=24.0, brier_e_value=31.0)
    promotion = change_pb.ModelChange(action=change_pb.MODEL_ACTION_PROMOTE, model_version=B, from_version=A, **made)
    promotion.evidence.CopyFrom(evidence)
    promotion.changed_time.CopyFrom(CREATED)
    changes = [promotion, change_pb.ModelChange(action=change_pb.MODEL_ACTION_RETIRE, model_version="c" * 16)]
    listed = pb.ListModelChangesResponse(changes=changes)
    shown = output(listed, "models", "history", "--limit", "2", width=250)
    for part in ("12,345", "promoted by force", "token:operator", "new season", "135 games", "c" * 16):
        assert part in shown
    assert server.calls[-1].request.page_size == 2


def point(games: int, not_worse: float, worse: float = 0.5) -> comparison_pb.EValuePoint:
    return comparison_pb.EValuePoint(games=games, not_worse_e_value=not_worse, worse_e_value=worse)


def comparison(
    decision: comparison_pb.GateDecision.ValueType = comparison_pb.GATE_DECISION_PROMOTE,
) -> comparison_pb.ModelComparison:
    score = comparison_pb.ScoreComparison(
        score=4.401, against_score=4.412, difference=-0.011, lower=-0.02, upper=-0.002
    )
    gate = {"margin": 0.004412, "divergence": 0.00311, "not_worse_e_value": 24.5, "worse_e_value": 0.003}
    path = [point(games, 1.024**games, 0.98**games) for games in range(1, 136)]
    score.MergeFrom(comparison_pb.ScoreComparison(path=path, **gate))
    held = comparison_pb.IntervalCoverage(alpha=0.05, coverage=0.951, bound=0.93)
    scores: dict[str, Any] = {"crps": score, "brier": score, "coverage": [held], "games": 135, "forecasts": 2_565}
    reason: dict[str, Any] = {"decision": decision, "decision_reason": "CRPS and Brier at E ≥ 20"}
    return comparison_pb.ModelComparison(model_version=B, against_version=A, **scores, **reason)


@pytest.mark.parametrize(
    ("decision", "words", "width"),
    [
        (comparison_pb.GATE_DECISION_PROMOTE, "promote: it is not worse, and its intervals hold", 80),
        (comparison_pb.GATE_DECISION_RETIRE, "retire: it is worse", 120),
        (comparison_pb.GATE_DECISION_CONTINUE, "go on: there is not enough evidence yet", 80),
        (99, "the server did not say what to do", 80),
    ],
)
def test_a_comparison_shows_scores_chart_and_decision(
    server: FakeServer, output: Output, decision: comparison_pb.GateDecision.ValueType, words: str, width: int
) -> None:
    both = (pb.CompareModelsResponse(comparison=comparison(decision)),) * 2
    shown = output(both, "models", "compare", "--against", "previous", "--replays", width=width)
    assert [call.request.horizon for call in server.of("CompareModels")] == [HALFTIME, FINAL]
    for part in (f"{B} against {A}, half", "2,565 forecasts", "4.401", "−0.011", "95.1 %", "135 games"):
        assert part in shown
    assert f"{words} (CRPS and Brier at E ≥ 20)" in " ".join(shown.replace("│", " ").split())
    assert max(map(len, shown.splitlines())) <= width
    request = server.calls[-1].request
    assert (request.model_version, request.against_version, request.include_replays) == ("", "previous", True)


def test_a_comparison_without_games_and_as_json(server: FakeServer, run: Run) -> None:
    empty = pb.CompareModelsResponse(
        comparison=comparison_pb.ModelComparison(decision=comparison_pb.GATE_DECISION_CONTINUE)
    )
    some = pb.CompareModelsResponse(comparison=comparison())
    server.answers("CompareModels", empty, empty, some, some)
    shown = run("models", "compare", "--horizon", "half")
    assert "0 forecasts" in shown.stdout
    assert not {"┤", "CRPS", "e-value"} & set(shown.stdout.split())  # zeros would read as equal scores
    assert "--replays" not in shown.stderr
    half, final = map(json.loads, run("models", "compare", "--json").stdout.splitlines())
    assert (half["horizon"], final["horizon"]) == ("half", "final")
    assert half["crps"]["path"][-1]["games"] == 135


def test_a_chart_crosses_the_threshold_where_the_e_value_does() -> None:
    lines = chart_lines([point(games, float(games)) for games in range(1, 41)], columns=40)
    rows = [line[6:] for line in lines[:-2]]
    (threshold,) = [index for index, line in enumerate(lines) if line.startswith("  20 ┤")]
    above = {column for row in rows[:threshold] for column, sign in enumerate(row) if sign == "●"}
    below = {column for row in rows[threshold + 1 :] for column, sign in enumerate(row) if sign == "●"}
    assert min(above) > 19  # the column of 20 games
    assert max(below) < 19
    assert lines[-1].split() == ["1", "40", "games"]


def change(action: change_pb.ModelAction.ValueType, **fields: object) -> change_pb.ModelChange:
    return change_pb.ModelChange(action=action, model_version=B, sequence=7, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "method", "answer", "says"),
    [
        ("load", "LoadModel", pb.LoadModelResponse(change=change(change_pb.MODEL_ACTION_LOAD)), "staged"),
        ("unload", "UnloadModel", pb.UnloadModelResponse(change=change(change_pb.MODEL_ACTION_UNLOAD)), "unloaded"),
        ("promote", "PromoteModel", pb.PromoteModelResponse(change=change(change_pb.MODEL_ACTION_PROMOTE)), "promoted"),
        ("retire", "RetireModel", pb.RetireModelResponse(change=change(change_pb.MODEL_ACTION_RETIRE)), "retired"),
    ],
)
def test_a_change_is_asked_for_and_told(
    server: FakeServer, run: Run, command: str, method: str, answer: Message, says: str
) -> None:
    server.answers(method, answer)
    shown = run("models", command, B, "--reason", "new season")
    assert (shown.exit_code, shown.stdout) == (0, f"{says} {B} (sequence 7)\n")
    request = server.calls[-1].request
    assert (request.model_version, request.reason) == (B, "new season")
    again = run("models", command, B)
    assert again.stdout == "no change: already in this state\n"


def test_an_alias_is_looked_up_once_so_that_a_repeated_request_means_the_same_model(
    server: FakeServer, run: Run
) -> None:
    server.answers("GetModel", pb.GetModelResponse(model=pb.Model(version=B)))
    server.answers("PromoteModel", Abort(grpc.StatusCode.UNAVAILABLE), pb.PromoteModelResponse())
    assert run("models", "promote", "challenger", "--force").exit_code == 0
    promotions = [call.request for call in server.calls if call.method == "PromoteModel"]
    assert [(each.model_version, each.force) for each in promotions] == [(B, True)] * 2


def test_a_rollback_names_the_champion_that_it_replaces(server: FakeServer, run: Run, output: Output) -> None:
    done = change_pb.ModelChange(action=change_pb.MODEL_ACTION_ROLLBACK, model_version=A, from_version=B, sequence=9)
    server.answers("GetModel", pb.GetModelResponse(model=pb.Model(version=B)))
    assert f"rolled back to {A}, instead of {B}" in output(pb.RollbackModelResponse(change=done), "models", "rollback")
    assert server.calls[-1].request.from_version == B
    run("models", "rollback", "--from", A)
    assert server.calls[-1].request.from_version == A


@pytest.mark.parametrize(
    ("reason", "advice"), [("MODEL_NOT_PROVEN", "--force"), ("MODEL_NOT_REGISTERED", "dejavu models list")]
)
def test_a_refusal_says_what_to_do(server: FakeServer, run: Run, reason: str, advice: str) -> None:
    server.answers("PromoteModel", *[Abort(grpc.StatusCode.FAILED_PRECONDITION, "after 12 games E is 3", reason)] * 2)
    shown = run("models", "promote", B)
    assert (shown.exit_code, advice in shown.stderr) == (4, True)
    told = json.loads(run("models", "promote", B, "--json").stderr)["error"]
    assert (told["reason"], advice in told["advice"]) == (reason, True)


@pytest.mark.parametrize("option", [("--target", "127.0.0.1:1"), ("--timeout", "1"), ("--json",), ("--tls",)])
def test_an_option_before_the_command_is_refused_rather_than_ignored(
    server: FakeServer, run: Run, option: tuple[str, ...]
) -> None:
    shown = run("models", *option, "promote", B)
    assert shown.exit_code == 2
    assert "give it after the command: dejavu models promote" in " ".join(shown.stderr.split())
    assert not server.calls
