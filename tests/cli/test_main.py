"""The command line: forecasts as they are shown, refusals, exit codes and health."""

from __future__ import annotations

import json
from concurrent import futures

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse
from tests.support.fakes.service import Abort, FakeServer, forecast
from tests.support.harness.clients import Output, Run

from dejavu.v1 import forecast_pb2 as pb
from dejavu.v1.prediction_service_pb2 import PredictRequest, PredictResponse
from dejavu_client import FINAL

NEAREST = pb.SimilarGame(home_team="BKN", away_team="BOS", game_date="2021-03-14", distance=3.25, differential=20)
NEAREST.differential_at_horizon = 14
MIRRORED = pb.SimilarGame(home_team="LAL", away_team="NYK", game_date="2019-01-02", distance=4.5, mirrored=True)
COMPONENTS = {"linear": (17.0, {"weight": 0.6}), "dejavu": (17.75, {"weight": 0.4}), "lstm": (18.1, dict[str, float]())}
MOVED = {"minutes": 14.9, "dejavu": -3.725, "new": 0.0}
EXPLANATION = pb.Explanation(
    components=[pb.ComponentPrediction(name=n, prediction=p, **w) for n, (p, w) in COMPONENTS.items()],
    baseline_prediction=20.0,
    calibration_games=1210,
    similar_games=[NEAREST, MIRRORED],
    attribution=pb.Attribution(before_tipoff=2.1, minutes=[4.0, 0.0, -8.0, 18.9], components=0.3),
    similar_summary=pb.SimilarSummary(
        minute=18, games=3214, same_lead=1204, home_led=855, turned=349, correction=-0.75
    ),
    contributions=[pb.Contribution(name=name, points=points) for name, points in MOVED.items()],
)
EXPLAINED = PredictResponse(
    forecast=forecast(
        game_id="0022000001",
        home_team="BKN",
        away_team="GSW",
        elapsed_minutes=18,
        point_forecast=17.3,
        interval_lower=5.1,
        interval_upper=29.6,
        home_lead_probability=0.962,
        sequence=12,
        revision=1,
        explanation=EXPLANATION,
        quantiles=[pb.Quantile(level=0.1, value=8.2), pb.Quantile(level=0.625, value=19.0)],
        expected_margin=-4.5,
    )
)


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["0", "2", "-3", "1.5", "-.5"], ""),
        (["0,2,-3,1.5,-.5"], ""),
        (["0 2 -3", "1.5", "-0.5"], ""),
        (["-"], "[0, 2, -3, 1.5, -0.5]"),
    ],
)
def test_a_pattern_is_taken_in_every_form(server: FakeServer, run: Run, arguments: list[str], stdin: str) -> None:
    assert run("predict", *arguments, stdin=stdin).exit_code == 0
    assert list(server.next_call().request.pattern) == [0, 2, -3, 1.5, -0.5]


def test_every_option_of_predict_reaches_the_server(server: FakeServer, run: Run) -> None:
    options = "--game-id 0022000001 --alpha 0.2 --horizon final --home BKN --away GSW --pregame-margin -5.5 --model abc"
    more = ("--neutral-site", "--explain", "--quantiles", "0.1, .5,0.9", "-7.5")
    assert run("predict", "-4", *options.split(), *more).exit_code == 0
    assert server.next_call().request == PredictRequest(
        pattern=[-4, -7.5],
        game_id="0022000001",
        alpha=0.2,
        horizon=FINAL,
        home_team="BKN",
        away_team="GSW",
        pregame_margin=-5.5,
        model_version="abc",
        neutral_site=True,
        return_explanation=True,
        quantile_levels=[0.1, 0.5, 0.9],
    )


def test_a_forecast_is_shown_with_all_that_it_says(output: Output) -> None:
    lines = output(EXPLAINED, "predict", "20", "--explain").splitlines()
    shown, words = "\n".join(lines), " ".join(" ".join(lines).split())
    for part in ("GSW @ BKN · 0022000001", "BKN by 17.3", "+5.1 to +29.6", "96 %", "+18.1  no part in it"):
        assert part in shown
    assert "10 %: +8.2  62.5 %: +19.0" in shown
    nearest = "After minute 18 BKN led by 20, as BKN did here, and led by 14 at the half."
    assert f"Seen before: BOS at BKN, 14 March 2021. {nearest}" in words
    assert "Of the 1,204 similar games with this lead GSW's side, which was behind, led in 349 at the half" in words
    rows = [line.split("│")[1].strip() for line in lines if line.count("│") == 5 and "forecast" not in line]
    assert rows == ["the game so far", "similar games", "new"], "what moved it, ranked"

    plain = output(EXPLAINED, "predict", "0", "4", "-3", "20")
    assert "Seen before: BOS at BKN, 14 March 2021." in plain
    assert not any(part in plain for part in ("1,204", "what moved", "NYK", "linear"))


def test_json_has_every_field_in_one_order_on_one_line(output: Output, run: Run) -> None:
    full, plain = output(EXPLAINED, "predict", "20", "--json"), run("predict", "20", "--json").stdout
    assert full.count("\n") == plain.count("\n") == 1
    one, other = json.loads(full), json.loads(plain)
    assert one["sequence"] == "12"
    assert one["explanation"]["similarGames"][0]["differentialAtHorizon"] == 14
    assert [key for key in one if key not in {"explanation", "expectedMargin"}] == list(other) == sorted(other)


def test_a_refusal_exits_4_and_names_the_field(server: FakeServer, run: Run) -> None:
    abort = Abort(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_ALPHA", [("alpha", "2; expected less")])
    server.answers("Predict", abort, abort)
    result = run("predict", "1", "--alpha", "2")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "  alpha: 2; expected less" in result.stderr.splitlines()
    result = run("predict", "1", "--alpha", "2", "--json")
    assert (result.exit_code, result.stdout) == (4, "")
    assert json.loads(result.stderr)["error"] == {
        "code": "INVALID_ARGUMENT",
        "reason": "INVALID_ALPHA",
        "message": "no",
        "fieldViolations": [{"field": "alpha", "description": "2; expected less"}],
        "requestId": "request-2",
    }


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 3),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 3),
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.NOT_FOUND, 4),
        (grpc.StatusCode.FAILED_PRECONDITION, 4),
        (grpc.StatusCode.UNAUTHENTICATED, 4),
        (grpc.StatusCode.UNIMPLEMENTED, 4),
    ],
)
def test_exit_codes_tell_no_answer_from_a_refusal_from_a_fault(
    server: FakeServer, run: Run, code: grpc.StatusCode, exit_code: int
) -> None:
    server.answers("ListModels", Abort(code))
    assert run("models").exit_code == exit_code


def test_health_exits_0_only_when_serving(server: FakeServer, run: Run) -> None:
    result = run("health")
    assert (result.exit_code, result.stdout) == (0, "SERVING\n")
    server.health.set("", HealthCheckResponse.NOT_SERVING)
    result = run("health", "--json")
    assert result.exit_code == 1
    expected = {"status": "NOT_SERVING", "service": "", "target": server.target, "ledger": None}
    assert json.loads(result.stdout) == expected
    result = run("health", "no.such.Service")
    assert (result.exit_code, result.stdout) == (1, "SERVICE_UNKNOWN\n")
    server.stop()
    result = run("health")
    assert (result.exit_code, result.stdout) == (1, "UNREACHABLE\n")
    assert "is a dejavu-server running there?" in result.stderr


def test_health_of_an_address_without_health_checks_is_unknown_and_the_next_one_is_asked(
    server: FakeServer, run: Run
) -> None:
    """A proxy refuses them, because they tell strangers about the servers."""
    bare = grpc.server(futures.ThreadPoolExecutor(1))
    port = bare.add_insecure_port("127.0.0.1:0")
    bare.start()
    result = run("health", "--target", f"127.0.0.1:{port},{server.target}")
    bare.stop(None)
    assert (result.exit_code, result.stdout) == (0, f"127.0.0.1:{port}: UNKNOWN\n{server.target}: SERVING\n")
    assert "is it a proxy?" in result.stderr


def test_health_tells_of_the_ledger_beside_the_server(server: FakeServer, run: Run) -> None:
    server.health.set("dejavu.ledger", HealthCheckResponse.SERVING)
    assert run("health").stdout == "SERVING\nledger: SERVING\n"
    server.health.set("dejavu.ledger", HealthCheckResponse.NOT_SERVING)
    result = run("health")
    assert result.exit_code == 0  # what-ifs still work
    assert "ledger: NOT_SERVING" in result.stdout
    answer = json.loads(run("health", "--json").stdout)
    assert (answer["status"], answer["ledger"]) == ("SERVING", "NOT_SERVING")
    result = run("health", "dejavu.ledger")
    assert (result.exit_code, result.stdout) == (1, "NOT_SERVING\n")


def test_health_of_several_servers_names_each_and_exits_0_if_one_serves(server: FakeServer, run: Run) -> None:
    with FakeServer() as other:
        gone = other.target
    targets = f"{server.target},{gone}"
    shown = run("health", "--target", targets)
    assert (shown.exit_code, shown.stdout) == (0, f"{server.target}: SERVING\n{gone}: UNREACHABLE\n")
    server.stop()
    assert run("health", "--target", targets).exit_code == 1
