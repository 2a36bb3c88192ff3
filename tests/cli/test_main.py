"""The command line: requests to the server, output and exit codes."""

from __future__ import annotations

import json
from concurrent import futures

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse
from tests.support.fakes.service import Abort, FakeServer, forecast
from tests.support.harness.clients import Run

from dejavu.v1.forecast_pb2 import (
    Attribution,
    ComponentPrediction,
    Contribution,
    Explanation,
    Quantile,
    SimilarGame,
    SimilarSummary,
)
from dejavu.v1.model_service_pb2 import VERDICT_UNFIT, ListModelsResponse, Model
from dejavu.v1.prediction_service_pb2 import PredictRequest, PredictResponse
from dejavu_client import FINAL

EXPLAINED = forecast(
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
    explanation=Explanation(
        components=[
            ComponentPrediction(name="linear", prediction=17.0, weight=0.6),
            ComponentPrediction(name="dejavu", prediction=17.75, weight=0.4),
            ComponentPrediction(name="lstm", prediction=18.1),
        ],
        baseline_prediction=20.0,
        calibration_games=1210,
        similar_games=[
            SimilarGame(
                home_team="BKN",
                away_team="BOS",
                game_date="2021-03-14",
                distance=3.25,
                differential=20,
                differential_at_horizon=14,
                home_points=58,
                away_points=38,
                final_home_points=104,
                final_away_points=109,
            ),
            SimilarGame(home_team="LAL", away_team="NYK", game_date="2019-01-02", distance=4.5, mirrored=True),
        ],
        attribution=Attribution(before_tipoff=2.1, minutes=[4.0, 0.0, -8.0, 18.9], components=0.3),
        similar_summary=SimilarSummary(
            minute=18, games=3214, same_lead=1204, home_led=855, turned=349, correction=-0.75
        ),
        contributions=[
            Contribution(name="minutes", points=14.9),
            Contribution(name="dejavu", points=-3.725),
            Contribution(name="new", points=0.0),
        ],
    ),
    quantiles=[Quantile(level=0.1, value=8.2), Quantile(level=0.625, value=19.0)],
    expected_margin=-4.5,
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
    assert (
        run(
            "predict", "-4", *options.split(), "--neutral-site", "--explain", "--quantiles", "0.1, .5,0.9", "-7.5"
        ).exit_code
        == 0
    )
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


def test_a_forecast_is_shown_with_all_that_it_says(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=EXPLAINED))
    shown = run("predict", "20", "--explain").stdout
    for part in (
        "GSW @ BKN · 0022000001",
        "after 18 minutes",
        "BKN by 20",
        "BKN by 17.3",
        "95 % interval",
        "+5.1 to +29.6",
        "96 %",
        "+17.0  60 % of the forecast",
        "Dejavu",
        "+17.8  40 % of the forecast",
        "+18.1  no part in it",
        "+20.0",
        "1,210 games",
        "10 %: +8.2  62.5 %: +19.0",
        "GSW by 4.5 expected at the end",
        "BKN leads then",
        "12, revision 1",
        "minutes that moved it most: 4 (+18.9), 3 (−8.0), 1 (+4.0)",
    ):
        assert part in shown
    assert (
        "Seen before: BOS at BKN, 14 March 2021. After minute 18 BKN led by 20, as BKN did here, and led by 14 at the"
        " half."
    ) in " ".join(shown.split())
    assert "Of the 1,204 similar games with this lead GSW's side, which was behind, led in 349 at the half" in " ".join(
        shown.split()
    )
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines()]
    assert ["NYK at LAL, 2 January 2019", "it was level and NYK was level at the half", "4.5"] in cells


def test_without_explain_a_forecast_names_the_most_similar_game_alone(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=EXPLAINED))
    shown = run("predict", "0", "4", "-3", "20").stdout
    assert "Seen before: BOS at BKN, 14 March 2021." in shown
    assert not any(part in shown for part in ("1,204", "what moved", "NYK", "linear"))


def test_what_moved_a_forecast_is_one_ranked_list_with_bars(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=EXPLAINED))
    lines = run("predict", "0", "4", "-3", "20", "--explain").stdout.splitlines()
    rows = {line.split("│")[1].strip(): line for line in lines if line.count("│") == 5 and "forecast" not in line}

    assert list(rows) == ["the game so far", "similar games", "new"]
    assert [rows[name].count("█") for name in rows] == [16, 4, 0]
    assert rows["similar games"].split("│")[2].strip() == "−3.7"
    left, right = rows["similar games"].split("│")[3:5]
    assert ("█" in left, "█" in right) == (True, False), "it spoke for the away team"
    assert any("│ forecast" in line and "+17.3" in line for line in lines)


def test_json_has_every_field_in_one_order_on_one_line(server: FakeServer, run: Run) -> None:
    server.answers("Predict", PredictResponse(forecast=EXPLAINED))
    full = run("predict", "20", "--json").stdout
    plain = run("predict", "20", "--json").stdout
    assert full.count("\n") == plain.count("\n") == 1
    one, other = json.loads(full), json.loads(plain)
    assert one["sequence"] == "12"
    assert one["explanation"]["similarGames"][0]["differentialAtHorizon"] == 14
    assert one["explanation"]["attribution"]["minutes"] == [4.0, 0.0, -8.0, 18.9]
    assert [quantile["value"] for quantile in one["quantiles"]] == [8.2, 19.0]
    assert [key for key in one if key not in {"explanation", "expectedMargin"}] == list(other) == sorted(other)


def test_a_refusal_exits_4_and_names_the_field(server: FakeServer, run: Run) -> None:
    abort = Abort(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_ALPHA", [("alpha", "2; expected less")])
    server.answers("Predict", abort, abort)
    result = run("predict", "1", "--alpha", "2")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "Error: no",
        "  alpha: 2; expected less",
        "  (INVALID_ARGUMENT · INVALID_ALPHA · request request-1)",
    ]
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


def test_models_are_shown(run: Run) -> None:
    shown = run("models").stdout
    for part in (
        "fake · active",
        "2,000 games of 2020–2021",
        "1,000 games of 2022",
        "the half, from 1 to 23 minutes",
        "the end, from 1 to 47 minutes",
        "fit: better than persistence in every season tested",
        "as of 2023-06-12, with 3 reported finals · 8 days old",
        "Warning: the ratings are of a fake",
        "3,000 past games",
    ):
        assert part in shown
    (model,) = json.loads(run("models", "--json").stdout)["models"]
    assert (model["version"], model["trainSeasons"]) == ("fake", [2020, 2021])
    assert (model["verdict"], model["ratingsDate"]) == ("VERDICT_FIT", "2023-06-12")


@pytest.mark.parametrize("width", [80, 120])
def test_a_model_is_shown_with_its_inputs_its_verdict_and_the_rest_in_any_width(
    server: FakeServer, run: Run, width: int
) -> None:
    model = Model(version="m", inputs=["total_points", "last_score"], verdict=VERDICT_UNFIT)
    model.verdict_reason = "its intervals hold too seldom, " * 9
    model.metrics.add(name="calibration.halftime.minute_18.ensemble.mae_over_persistence", value=0.991)
    server.answers("ListModels", ListModelsResponse(models=[model, Model(version="less")]))
    first, second = run("models", width=width).stdout.split("less")
    assert max(map(len, first.splitlines())) <= width
    assert first.count("stated by the bundle") == 2, "the verdict and the metrics"
    parts = ("calibration.halftime.minute_18", "ensemble.mae_over_persistence  0.991")
    for part in ("unfit: its", "trained on", *parts, "total_points, last_score"):
        assert part in first
    assert not [part for part in ("verdict", "as of") if part in second]


def test_health_exits_0_only_when_serving(server: FakeServer, run: Run) -> None:
    result = run("health")
    assert (result.exit_code, result.stdout) == (0, "SERVING\n")
    server.health.set("", HealthCheckResponse.NOT_SERVING)
    result = run("health", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "status": "NOT_SERVING",
        "service": "",
        "target": server.target,
        "ledger": None,
    }
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
    first, second = result.stdout.splitlines()
    assert first == "SERVING"
    assert second.startswith("ledger: NOT_SERVING; forecasts with a game id fail, perhaps streams and the record too")
    answer = json.loads(run("health", "--json").stdout)
    assert (answer["status"], answer["ledger"]) == ("SERVING", "NOT_SERVING")
    result = run("health", "dejavu.ledger")
    assert (result.exit_code, result.stdout) == (1, "NOT_SERVING\n")


def test_the_log_level_is_checked(run: Run) -> None:
    assert run("--log-level", "loud", "health").exit_code == 2
    assert run("--log-level", "ERROR", "health").exit_code == 0


def test_health_of_several_servers_names_each_and_exits_0_if_one_serves(server: FakeServer, run: Run) -> None:
    with FakeServer() as other:
        gone = other.target
    targets = f"{server.target},{gone}"
    shown = run("health", "--target", targets)
    assert shown.exit_code == 0
    assert f"{server.target}: SERVING" in shown.stdout
    assert f"{gone}: UNREACHABLE" in shown.stdout
    server.stop()
    assert run("health", "--target", targets).exit_code == 1
