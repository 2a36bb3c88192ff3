"""`dejavu models compare`: the e-values over the games as a chart, and the decision in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import Output, Run

from dejavu.v1 import model_comparison_pb2 as comparison_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu_cli.output.model_comparison import chart_lines
from dejavu_client import FINAL, HALFTIME


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
    reason = {"decision": decision, "decision_reason": "CRPS and Brier at E ≥ 20"}
    return comparison_pb.ModelComparison(model_version="b" * 16, against_version="a" * 16, **scores, **reason)


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
    shown = output(
        (pb.CompareModelsResponse(comparison=comparison(decision)),) * 2,
        "models",
        "compare",
        "--against",
        "previous",
        "--replays",
        width=width,
    )
    assert [call.request.horizon for call in server.of("CompareModels")] == [HALFTIME, FINAL]
    for part in (
        f"{'b' * 16} against {'a' * 16}, half",
        f"{'b' * 16} against {'a' * 16}, final",
        "135",
        "2,565 forecasts",
        "4.401",
        "−0.011",
        "0.0031",
        "not worse up to 0.0044: enough",
        "95.1 %",
        "135 games",
    ):
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


def test_where_only_replays_exist_that_is_said(server: FakeServer, run: Run) -> None:
    empty = pb.CompareModelsResponse()

    def answer(request: pb.CompareModelsRequest) -> pb.CompareModelsResponse:
        return pb.CompareModelsResponse(comparison=comparison()) if request.include_replays else empty

    server.answers("CompareModels", *[answer] * 4)
    assert "Only games of replays were forecast by both: see --replays." in run("models", "compare").stderr


def test_a_chart_crosses_the_threshold_where_the_e_value_does() -> None:
    lines = chart_lines([point(games, float(games)) for games in range(1, 41)], columns=40)
    rows = [line[6:] for line in lines[:-2]]
    (threshold,) = [index for index, line in enumerate(lines) if line.startswith("  20 ┤")]
    above = {column for row in rows[:threshold] for column, sign in enumerate(row) if sign == "●"}
    below = {column for row in rows[threshold + 1 :] for column, sign in enumerate(row) if sign == "●"}
    assert min(above) > 19  # the column of 20 games
    assert max(below) < 19
    assert lines[-1].split() == ["1", "40", "games"]
