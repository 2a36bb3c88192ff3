"""Answers of a gateway to a real server: the numbers of its RPCs, described by the interface's document."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from google.protobuf.json_format import MessageToDict
from tests.gateway.conftest import GAMES, MINUTES, OUTCOME, Site
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker

from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu_client import FINAL, DejavuClient
from dejavu_client.requests import Scope
from dejavu_common.clock import game_day, utc_now
from dejavu_gateway.api.games import GameEndpoints
from dejavu_gateway.api.pages import PAGE_PATHS, REFERENCE_PATH, WebBuild
from dejavu_gateway.api.share import drawn
from dejavu_gateway.app import routes
from dejavu_gateway.settings import GatewaySettings

QUERY = "?includeReplays=true&horizon=HORIZON_FINAL"


@pytest.fixture(scope="module")
def document(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.get("/openapi.json").json()
    return found


def check(document: dict[str, Any], method: str, path: str, status: str, body: object) -> None:
    """Check a body against the schema of its answer."""
    import jsonschema  # slow: it makes a grammar of URIs

    answer = document["paths"][path][method]["responses"][status]
    schema = {**answer["content"]["application/json"]["schema"], "components": document["components"]}
    jsonschema.validate(body, schema, cls=jsonschema.Draft202012Validator)


def as_dict(message: Any) -> Any:
    return MessageToDict(message, always_print_fields_with_no_presence=True)


@pytest.mark.nightly  # it takes five seconds
def test_the_document_is_openapi(site: Site) -> None:
    from openapi_spec_validator import validate

    validate(site.get("/openapi.json").json())


def test_the_document_has_every_route(site: Site) -> None:
    document = site.get("/openapi.json").json()
    undescribed = {"/assets/{path:path}", "/{path}", REFERENCE_PATH, *PAGE_PATHS}  # the page itself
    for route in routes(WebBuild(GatewaySettings().web), GameEndpoints()):
        if route.path not in undescribed:
            methods = getattr(route, "methods", None) or {"GET"}
            assert {method.lower() for method in methods - {"HEAD"}} == document["paths"].pop(route.path).keys()
    assert not document["paths"]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        (f"/api/predictions{QUERY}&pageSize=4", "/api/predictions"),
        (f"/api/predictions{QUERY}&returnExplanation=true", "/api/predictions"),
        (f"/api/predictions/{game(0)}?horizon=HORIZON_FINAL", "/api/predictions/{gameId}"),
        (f"/api/scorecard{QUERY}&limit=1&maxBets=1&minDifference=0.02", "/api/scorecard"),
        (f"/api/leaderboard{QUERY}&metric=LEADERBOARD_METRIC_MAE&minGames=1&limit=1", "/api/leaderboard"),
        ("/api/models", "/api/models"),
        ("/api/checkpoint", "/api/checkpoint"),
        ("/api/stats", "/api/stats"),
        ("/api/status", "/api/status"),
        ("/readyz", "/readyz"),
        ("/healthz", "/healthz"),
        ("/api/games", "/api/games"),
        ("/api/games?date=2024-05-06", "/api/games"),
        (f"/api/games/{game(0)}", "/api/games/{gameId}"),
    ],
)
def test_every_answer_has_the_form_that_is_described(
    site: Site, document: dict[str, Any], path: str, template: str
) -> None:
    answer = site.get(path)
    assert answer.status_code == 200, answer.text
    check(document, "get", template, "200", answer.json())


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/predictions?pageSize=-1", 400, "INVALID_ARGUMENT"),
        (f"/api/predictions/{game(90)}?horizon=HORIZON_FINAL", 404, "NOT_FOUND"),
        (f"/api/games/{game(90)}", 404, "NOT_FOUND"),
        ("/api/games/12", 400, "INVALID_ARGUMENT"),
        ("/api/games?date=2024-02-30", 400, "INVALID_ARGUMENT"),
        ("/api/games?date=0001-01-01", 400, "INVALID_ARGUMENT"),
        ("/api/scorecard?modelVersion=none&team=XXX", 400, "INVALID_ARGUMENT"),
        ("/api/leaderboard?horizon=HORIZON_FINAL", 400, "INVALID_ARGUMENT"),
        ("/api/predictions?modelVersion=a&modelVersion=b", 400, "INVALID_ARGUMENT"),
    ],
)
def test_an_error_has_the_form_that_is_described_and_names_the_field(
    site: Site, document: dict[str, Any], path: str, status: int, code: str
) -> None:
    answer = site.get(path)
    template = path.partition("?")[0].replace(game(90), "{gameId}").replace("/12", "/{gameId}")
    check(document, "get", template, "default", answer.json())
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["requestId"]
    assert not any("_" in each["field"] for each in error["fields"])
    assert error["fields"] or status == 404


def test_numbers_are_those_of_the_rpcs(site: Site) -> None:
    asked: Scope = {"horizon": FINAL, "include_replays": True}
    calls: dict[str, Callable[[DejavuClient], Any]] = {
        f"/api/scorecard{QUERY}": lambda client: client.get_scorecard(**asked),
        f"/api/leaderboard{QUERY}&metric=LEADERBOARD_METRIC_CRPS&minGames=1": lambda client: client.get_leaderboard(
            min_games=1, **asked
        ),
        f"/api/predictions/{game(0)}?horizon=HORIZON_FINAL": lambda client: client.get_prediction(
            game(0), horizon=FINAL
        ),
    }
    with DejavuClient(site.server) as client:
        for path, call in calls.items():
            answer, expected = site.get(path).json(), as_dict(call(client))
            assert answer.get("scorecard", answer) == expected
        listed = [
            as_dict(each)
            for each in client.list_predictions(
                explain=True, include_superseded=True, horizon=FINAL, include_replays=True
            )
        ]
    found = site.get(f"/api/predictions{QUERY}&includeSuperseded=true&returnExplanation=true").json()
    assert found["predictions"] == listed
    of_games = [
        each for number in range(GAMES) for each in site.get(f"/api/games/{game(number)}").json()["predictions"]
    ]
    for each in of_games:
        for similar in each["forecast"]["explanation"]["similarGames"]:
            similar["course"] = []  # the newest ones have theirs
    assert of_games == listed[::-1]


def test_a_day_has_its_games_with_the_newest_forecasts_outcomes_and_neighbours(site: Site) -> None:
    today = game_day(utc_now())
    day = site.get("/api/games").json()
    assert day["date"] == str(today)
    assert day["dates"] == {"previous": None, "next": None}
    assert [each["gameId"] for each in day["games"]] == [game(number) for number in range(GAMES)]
    assert day["resumeToken"], "a stream goes on from here"
    first, second, *_ = day["games"]
    assert first["newest"]["half"] is None
    assert first["newest"]["final"]["forecast"]["elapsedMinutes"] == max(MINUTES)
    assert (first["homeTeam"], first["awayTeam"], first["forecasts"]) == ("BOS", "LAL", len(MINUTES))
    assert [each["differential"] for each in first["outcomes"]] == [OUTCOME]
    assert second["outcomes"] == []
    before = today - timedelta(days=40)
    empty = site.get(f"/api/games?date={before}").json()
    assert (empty["games"], empty["dates"]) == ([], {"previous": None, "next": str(today)})
    assert site.get(f"/api/games?date={today + timedelta(days=1)}").json()["dates"]["previous"] == str(today)


def test_a_game_of_the_past_is_under_its_day_and_a_gateway_may_record_another(tmp_path: Path, build: Path) -> None:
    today, played = game_day(utc_now()), game_day(utc_now()) - timedelta(days=9)
    with running_worker(tmp_path, EveryMinuteForecaster()) as server, DejavuClient(server, timeout=30.0) as client:
        client.predict(PATTERN, game_id=game(0), game_date=played, horizon=FINAL)
        with running_gateway(server, "--web", str(build), "--allow-record") as gateway:
            site = Site(server, gateway.address)
            assert site.get("/api/games").json()["games"] == []
            assert site.get("/api/games").json()["dates"]["previous"] == f"{played}"
            [listed] = site.get(f"/api/games?date={played}").json()["games"]
            recorded = site.post(
                "/api/predict", {"pattern": [*PATTERN], "gameId": game(51), "horizon": "HORIZON_FINAL"}
            ).json()["forecast"]
            assert recorded["sequence"] == "2"
    assert listed["newest"]["final"]["forecast"]["late"] == "LATE_REASON_GAME_DATE"
    assert listed["course"] == [], f"it was forecast on {today}"


def test_the_newest_forecast_of_a_game_comes_with_the_courses_of_its_similar_games(tmp_path: Path, build: Path) -> None:
    with running_worker(tmp_path, EveryMinuteForecaster()) as server, DejavuClient(server, timeout=30.0) as client:
        for minutes in (17, 18):
            client.predict(PATTERN[:minutes], game_id=game(0), horizon=FINAL)
        with running_gateway(server, "--web", str(build)) as gateway:
            site = Site(server, gateway.address)
            predictions = site.get(f"/api/games/{game(0)}").json()["predictions"]
            [listed] = site.get("/api/games?includeReplays=1").json()["games"]
    courses = [
        [len(similar.get("course", ())) for similar in each["forecast"]["explanation"]["similarGames"]]
        for each in predictions
    ]
    assert courses == [[0, 0], [47, 47]]
    seen = listed["seen"]
    assert seen["elapsedMinutes"] == 18, "the board names the newest similar games"
    assert [similar["course"] for similar in seen["explanation"]["similarGames"]] == [[], []]


def test_a_what_if_is_answered_as_by_the_rpc_and_records_nothing(site: Site, document: dict[str, Any]) -> None:
    body = {"pattern": [*PATTERN], "horizon": "HORIZON_FINAL", "returnExplanation": True, "quantileLevels": [0.1, 0.9]}
    answer = site.post("/api/predict", body)
    assert answer.status_code == 200, answer.text
    check(document, "post", "/api/predict", "200", answer.json())
    with DejavuClient(site.server) as client:
        expected = as_dict(client.predict(PATTERN, horizon=FINAL, explain=True, quantile_levels=[0.1, 0.9], timeout=30))
    found = answer.json()["forecast"]
    for name in ("generatedTime", "expiresTime"):
        assert found.pop(name)
        expected.pop(name)
    assert found == expected
    batch = site.post("/api/predict-batch", {"requests": [body, {"pattern": []}, body]})
    check(document, "post", "/api/predict-batch", "200", batch.json())
    results = batch.json()["results"]
    assert math.isclose(results[0]["forecast"]["pointForecast"], expected["pointForecast"])
    assert results[1]["error"]["reason"] == "INVALID_PATTERN"
    risks = site.post("/api/assess-risk", {"games": [{"pattern": [*PATTERN], "totalPoints": 80}, {"pattern": []}]})
    check(document, "post", "/api/assess-risk", "200", risks.json())
    risk, refused = risks.json()["results"]
    assert 0 <= risk["assessment"]["score"] <= 100
    assert refused["error"]["reason"] == "INVALID_PATTERN"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/predict", {"pattern": [*PATTERN], "gameId": game(50)}, "gameId"),
        ("/api/predict-batch", {"requests": [{}, {"pattern": [*PATTERN], "gameId": game(50)}]}, "requests[1].gameId"),
    ],
)
def test_a_browser_cannot_have_a_forecast_recorded(site: Site, path: str, body: object, field: str) -> None:
    answer = site.post(path, body)
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["reason"], error["message"].partition(":")[0]) == ("RECORDING_NOT_ALLOWED", field)
    assert site.get(f"/api/games/{game(50)}").status_code == 404


def test_json_is_revalidated_and_compressed(site: Site) -> None:
    path = f"/api/games/{game(0)}"
    answer = site.get(path)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    etag = answer.headers["etag"]
    again = site.get(path, headers={"if-none-match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    plain = site.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == answer.json()
    assert site.get(path, headers={"accept-encoding": "gzip;q=0"}).headers.get("content-encoding") is None
    assert site.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_a_share_image_shows_what_was_said_at_a_minute(site: Site) -> None:
    texts = [site.get(f"/share/game/{game(0)}.svg{query}").text for query in ("", "?minute=10", "?minute=13.5")]
    assert "after 18 minutes" in texts[0]
    assert "after 10 minutes" in texts[1] == texts[2]
    assert re.search(r"Seen before: .* After minute 10 ", texts[1])
    assert "Seen before" not in texts[0], "the game is over"
    assert [each.text for each in ET.fromstring(texts[0]).iter() if each.tag.endswith("tspan")][:3] == [
        "LAL",
        " @ ",
        "BOS",
    ]
    assert site.get(f"/share/game/{game(0)}.svg").headers["cross-origin-resource-policy"] == "cross-origin"
    wrong = ("x", "149", "0", "0.5", "010", "+5", "10.", "10.12345", "1" + 5000 * "0")
    for query, status in (("?minute=5", 404), *((f"?minute={each}", 400) for each in wrong), ("?m=1", 400)):
        assert site.get(f"/share/game/{game(0)}.svg{query}").status_code == status


def test_no_text_of_a_share_image_ends_its_attribute() -> None:
    names = ('BOS" onload="alert(1)', "<script>alert(1)</script>&\x00\u202e'")
    shown = RecordedPrediction(pattern=[1, 2])
    shown.forecast.home_team, shown.forecast.away_team = names
    [*elements] = ET.fromstring(drawn(shown)).iter()
    assert not [each for each in elements if "onload" in each.attrib]
    drawings = {"svg", "rect", "text", "tspan", "line", "polygon", "polyline", "circle"}
    assert {each.tag.rpartition("}")[2] for each in elements} <= drawings
    label = str(elements[0].get("aria-label"))
    assert label.startswith('<script>alert(1)</script>&\ufffd\ufffd\' at BOS" onload="alert(1), after 2 minutes: ')


def test_metrics_are_by_template_of_the_path(site: Site) -> None:
    for path in ("/api/games/12", "/nothing/here", "/api/nothing"):
        site.get(path)
    text = site.get("/metrics").text
    assert 'dejavu_dashboard_requests_total{endpoint="/api/games/{gameId}",status="400"}' in text
    assert 'dejavu_dashboard_requests_total{endpoint="other",status="404"}' in text
    assert "nothing" not in text
    assert "dejavu_dashboard_upstream_streaming 1.0" in text
