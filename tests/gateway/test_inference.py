"""The REST form of the Open Inference Protocol, of a gateway to a real server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from tests.gateway.conftest import Site
from tests.support.builders.calls import PATTERN

INFER = "/v2/models/dejavu/infer"
ROWS: list[list[Any]] = [[*PATTERN], [*PATTERN[:10], *[None] * 8]]


def tensor(name: str, data: Any, datatype: str = "FP64", shape: Sequence[float] | None = None) -> dict[str, Any]:
    """Return an input."""
    if shape is None:
        shape = [len(data), len(data[0])] if isinstance(data[0], list) else [len(data)]
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


BODY: dict[str, Any] = {"inputs": [tensor("pattern", ROWS)]}


def version_of(site: Site) -> str:
    version: str = site.get("/api/models").json()["models"][0]["version"]
    return version


TENSORS = ("inputs", "outputs")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v2", ("name", "version", "extensions")),
        ("/v2/", ("name", "version", "extensions")),
        ("/v2/health/live", ("live",)),
        ("/v2/health/ready", ("ready",)),
        ("/v2/models/dejavu", ("name", "versions", "platform", *TENSORS)),
        ("/v2/models/dejavu/ready", ("name", "ready")),
        ("/v2/models/dejavu/versions/VERSION", ("name", "versions", "platform", *TENSORS)),
        ("/v2/models/dejavu/versions/VERSION/ready", ("name", "ready")),
    ],
)
def test_server_and_model_are_described(site: Site, path: str, names: Sequence[str]) -> None:
    answer = site.get(path.replace("VERSION", version_of(site)))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.keys() >= {*names}
    assert all(found[name] for name in names if name != "extensions")
    for described in (each for name in TENSORS for each in found.get(name, [])):
        assert described.keys() == {"name", "datatype", "shape"}
        assert all(isinstance(each, int) for each in described["shape"])


@pytest.mark.parametrize("path", [INFER, "/v2/models/dejavu/versions/VERSION/infer"])
def test_rows_have_the_forecasts_of_a_batch_and_are_not_recorded(site: Site, path: str) -> None:
    teams = [tensor("home_team", ["BOS", ""], "BYTES"), tensor("away_team", ["LAL", ""], "BYTES")]
    margins = tensor("pregame_margin", [4.5, -1], "FP32")
    body: dict[str, Any] = {
        "id": "7",
        "parameters": {"horizon": "final", "alpha": 0.2},
        "inputs": [*BODY["inputs"], *teams, margins, tensor("total_points", [-1, 100], "INT32")],
    }
    before = site.get("/api/checkpoint").json()
    answer = site.post(path.replace("VERSION", version_of(site)), body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    common: dict[str, Any] = {"horizon": "HORIZON_FINAL", "alpha": 0.2}
    batch = site.post(
        "/api/predict-batch",
        {
            "requests": [
                {"pattern": PATTERN, "homeTeam": "BOS", "awayTeam": "LAL", "pregameMargin": 4.5, **common},
                {"pattern": PATTERN[:10], "totalPoints": 100, "pregameMargin": -1, **common},
            ]
        },
    ).json()
    forecasts = [each["forecast"] for each in batch["results"]]
    assert (found["id"], found["model_name"]) == ("7", "dejavu")
    assert found["model_version"] == forecasts[0]["modelVersion"]
    outputs = {each["name"]: each for each in found["outputs"]}
    for name, field in (("point", "pointForecast"), ("lower", "intervalLower"), ("upper", "intervalUpper")):
        assert outputs[name]["data"] == [each[field] for each in forecasts]
        assert (outputs[name]["shape"], outputs[name]["datatype"]) == ([2], "FP64")
    assert outputs["total_point"]["data"] == [None, forecasts[1]["total"]["pointForecast"]]
    after = site.get("/api/checkpoint").json()
    assert after["checkpoint"].get("sequence") == before["checkpoint"].get("sequence")


def test_a_program_may_leave_the_type_of_its_body_out_and_a_page_may_not(site: Site) -> None:
    url, data = f"http://{site.gateway}{INFER}", json.dumps(BODY).encode()  # as tritonclient.http sends it
    assert httpx.post(url, content=data, timeout=60).status_code == 200
    for headers in ({"origin": "http://elsewhere"}, {"content-type": "text/plain"}):
        answer = httpx.post(url, content=data, headers=headers, timeout=60)
        assert (answer.status_code, list(answer.json())) == (415, ["error"])


BINARY_INPUT = {"inputs": [{**tensor("pattern", [1]), "parameters": {"binary_data_size": 8}}]}


def binary_output(value: Any) -> dict[str, Any]:
    return {**BODY, "outputs": [{"name": "point", "parameters": {"binary_data": value}}]}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v2/models/resnet/infer", BODY, 404, "'resnet'; expected dejavu"),
        ("/v2/models/dejavu/versions/7/infer", BODY, 404, "model_version: '7'"),
        (INFER, {}, 400, "'inputs' is missing; expected an object with inputs"),
        (INFER, {"inputs": [tensor("pattern", [[1, 2]], "FP16")]}, 400, "inputs[0].datatype: 'FP16'; expected one of"),
        (INFER, {"inputs": [tensor("pattern", [1], shape=[1.5])]}, 400, "inputs[0].shape: a list; expected whole"),
        (INFER, {"inputs": [tensor("pattern", [[1, 2], [3]], shape=[2, 2])]}, 400, "does not match shape [2, 2]"),
        (INFER, {"inputs": [tensor("pattern", [[1, 2]], shape=[2, 1])]}, 400, "does not match shape [2, 1]"),
        (INFER, {"inputs": [tensor("pattern", [1, "2"], shape=[1, 2])]}, 400, "inputs[0].data[1]: '2'; expected"),
        (INFER, {"inputs": [tensor("pattern", [1.5], "INT8", [1, 1])]}, 400, "1.5; expected a value of datatype INT8"),
        (INFER, {**BODY, "parameters": {"alpha": 7}}, 400, "parameters.alpha: 7.0"),
        (INFER, {**BODY, "parameters": {"binary_data_output": True}}, 400, "binary tensor data extension"),
        (INFER, binary_output(True), 400, "outputs[0].parameters.binary_data: the binary tensor data extension"),
        (INFER, BINARY_INPUT, 400, "inputs[0].parameters.binary_data_size: the binary tensor data extension"),
        (INFER, {"inputs": [tensor("pattern", [[0] * 300_000] * 2)]}, 413, "larger than 393216 bytes"),
        ("/v2/models/dejavu", {}, 405, "POST is not allowed here"),
    ],
)
def test_a_refusal_is_a_text_that_says_what_was_expected(
    site: Site, path: str, body: object, status: int, said: str
) -> None:
    answer = site.post(path, body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]


def test_a_body_of_binary_tensors_is_refused_by_the_name_of_its_header(site: Site) -> None:
    headers = {"Inference-Header-Content-Length": "12"}
    answer = httpx.post(f"http://{site.gateway}{INFER}", content=b"{}", headers=headers, timeout=60)
    assert answer.status_code == 400
    assert "inference-header-content-length: the binary tensor data extension" in answer.json()["error"]
