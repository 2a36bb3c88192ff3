"""Checks docs/clients.md and docs/calls.md against the code: errors, limits, names, columns and tensors."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from tests.support.builders.calls import PATTERN
from tests.support.contract import METHODS, SERVICES
from tests.support.harness.documents import PLACE, ROOT, blocks, rows
from tests.support.processes.gateway import spawned_gateway
from tests.support.programs import examples
from tests.support.programs.triton_environment import python_with_tritonclient, run_without_our_code

from dejavu.v1 import prediction_service_pb2
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import config
from dejavu_client.export import FIGURE_COLUMNS, PREDICTION_COLUMNS, ExportColumn, arrow_schema
from dejavu_client.transport import subscription
from dejavu_feed.live_inputs import LIVE_INPUTS
from dejavu_gateway.messages.errors import REASONS
from dejavu_ledger.errors import LedgerUnavailable
from dejavu_models.errors import DejavuError, InvalidLiveInput
from dejavu_models.forecast_query import MAX_QUANTILES
from dejavu_server.api import admissions, interceptors, paging
from dejavu_server.api.converters import prediction, record_requests
from dejavu_server.api.errors import INTERNAL
from dejavu_server.api.health import HEALTH_SERVICE, LEDGER, OVERALL
from dejavu_server.api.inference.inference_service import INFERENCE_SERVICE
from dejavu_server.api.inference.specification import INPUTS, MAX_ID, MAX_ROWS, OUTPUTS
from dejavu_server.limits import CallerLimit
from dejavu_server.settings import Settings
from dejavu_server.streaming.subscription import QUEUE_SIZE
from dejavu_server.worker import grpc_options

DOCUMENT = "docs/clients.md"
CALLS = "docs/calls.md"
MEBIBYTE = 1024 * 1024
RAISED_BASE_CLASSES: set[type[DejavuError]] = {CallerLimit, LedgerUnavailable}


def subclasses(base: type[DejavuError]) -> Iterator[type[DejavuError]]:
    for child in base.__subclasses__():
        if child.__module__.startswith("dejavu_"):
            yield child
            yield from subclasses(child)


def table() -> set[tuple[str, str]]:
    """Return each code and reason that a server can send.

    Errors with subclasses are raised only as one of these, with one exception.
    """
    raised = {error for error in subclasses(DejavuError) if not any(subclasses(error))} | RAISED_BASE_CLASSES
    known = {(error.category, error.reason) for error in raised if error.category is not None}
    # Live inputs, line-ups and moments have reasons of their own.
    known.remove(("INVALID_ARGUMENT", InvalidLiveInput.reason))
    named = [*(each.name for each in LIVE_INPUTS), "lineups", "moment"]
    known |= {("INVALID_ARGUMENT", InvalidLiveInput("", "", name).reason) for name in named}
    return {*known, ("INTERNAL", INTERNAL)}


def test_the_table_of_errors_is_the_server_s() -> None:
    listed = [row for document in (DOCUMENT, CALLS) for row in rows(document, "code")]
    described = [(code, reason) for code, reasons, *_ in listed for reason in reasons.split(", ")]
    assert len(described) == len(set(described))
    assert set(described) == table()


def test_the_table_of_the_gateway_s_refusals_has_each_reason_with_its_status() -> None:
    described = {each: int(status) for status, reasons, *_ in rows(CALLS, "status") for each in reasons.split(", ")}
    assert described == {reason: status.value for reason, (status, _) in REASONS.items()}


def test_every_call_of_the_contract_is_described() -> None:
    tables = {"dejavu.v1": "call", "dejavu.ops.v1": "call of our programs"}
    described = {f"{package}.{call}" for package, table in tables.items() for call, *_ in rows(CALLS, table)}
    contract = {method.full_name for method in METHODS}
    assert contract == {call for call in described if not call.startswith("dejavu.v1.grpc.")}


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("a request", f"{grpc_options.CHANNEL_OPTIONS['grpc.max_receive_message_length'] / MEBIBYTE:g} MiB,"),
        ("an answer", f"{grpc_options.CHANNEL_OPTIONS['grpc.max_send_message_length'] // MEBIBYTE} MiB;"),
        ("calls open on a connection", f"{grpc_options.CHANNEL_OPTIONS['grpc.max_concurrent_streams']:,},"),
        ("requests in a batch", f"{prediction.MAX_BATCH:,}"),
        ("quantile levels in a request", f"{MAX_QUANTILES}"),
        ("games named in a stream", f"{prediction.MAX_GAMES:,}"),
        ("forecasts and outcomes that wait", f"{QUEUE_SIZE:,}"),
        ("items on a page", f"{paging.MAX_PAGE}; {paging.DEFAULT_PAGE} if"),
        ("games that a leaderboard requires", f"{record_requests.DEFAULT_MIN_GAMES},"),
        ("characters of an x-request-id", f"{admissions.MAX_REQUEST_ID};"),
        ("a unary call without", f"{interceptors.MAX_CALL_SECONDS:g} s"),
        (
            "keepalive pings",
            f"one every {grpc_options.CHANNEL_OPTIONS['grpc.http2.min_ping_interval_without_data_ms'] // 1000} s",
        ),
        ("a stream's silence", f"{Settings().heartbeat_seconds:g} s,"),
    ],
)
def test_a_limit_is_the_server_s(limit: str, value: str) -> None:
    [stated] = [row[1] for row in rows(DOCUMENT, "limit") if row[0].startswith(limit)]
    assert stated.startswith(value)


def test_the_documented_names_of_health_are_those_that_it_knows(address: str) -> None:
    names = [name.strip('"') for names, *_ in rows(DOCUMENT, "name") for name in names.split(", ")]
    known = {service.full_name for service in SERVICES}
    assert set(names) == {OVERALL, LEDGER, HEALTH_SERVICE.full_name, INFERENCE_SERVICE.full_name, *known}
    with grpc.insecure_channel(address) as channel:
        check: Any = channel.unary_unary(
            f"/{HEALTH_SERVICE.full_name}/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for name in names:
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


def test_the_documented_metadata_come_with_answers_and_with_the_beginning_of_a_stream(address: str) -> None:
    documented = {key for key, *_ in rows(DOCUMENT, "metadata")}
    request_metadata = (("x-request-id", "tonight-17"),)
    with grpc.insecure_channel(address) as channel:
        service = PredictionServiceStub(channel)
        request = prediction_service_pb2.PredictRequest(pattern=PATTERN)
        _, call = service.Predict.with_call(request, timeout=10, metadata=request_metadata)
        stream = service.StreamPredictions(prediction_service_pb2.StreamPredictionsRequest(), metadata=request_metadata)
        next(stream)
        for metadata in (call.trailing_metadata(), stream.initial_metadata()):
            stated = dict(metadata or ())
            assert documented <= set(stated)
            assert (stated["x-request-id"], stated["dejavu-workers"]) == ("tonight-17", "2")
        stream.cancel()


@pytest.mark.parametrize(
    ("heading", "columns"), [("column of a forecast", PREDICTION_COLUMNS), ("column of a figure", FIGURE_COLUMNS)]
)
def test_the_documented_columns_are_those_of_the_files(heading: str, columns: tuple[ExportColumn[Any], ...]) -> None:
    documented = [name for names, *_ in rows(CALLS, heading) for name in names.split(", ")]
    assert documented == [column.name for column in columns]


STABLE_TYPES = {
    "int64": (
        "sequence revision elapsed_minutes free_throws calibration_sequence outcome outcome_sequence "
        "outcome_revision finals_since market_home_american market_away_american total_market_over_american "
        "total_market_under_american total_points last_score_seconds total_outcome overtimes"
    ),
    "string": (
        "game_id home_team away_team horizon model_version adaptation_mode market_side market_result "
        "total_market_side total_market_result late game_date ratings_date warnings last_score_side "
        "margin_source possession_side"
    ),
    "bool": ("at_moment neutral_site possession_shot_in_air superseded covered total_covered"),
    "timestamp[us, tz=UTC]": ("generated_time margin_time outcome_observed_time"),
    "list<item: double>": ("pattern distribution"),
}
"""Type in Arrow → names of the columns of a forecast, as in earlier releases; all others are double."""


def test_the_types_of_the_columns_are_stable() -> None:
    stable = {name: kind for kind, names in STABLE_TYPES.items() for name in names.split()}
    given = {field.name: str(field.type) for field in arrow_schema(PREDICTION_COLUMNS)}
    assert given == {name: stable.get(name, "double") for name in given}


def test_the_documented_retries_are_those_of_the_service_config() -> None:
    text = " ".join((ROOT / DOCUMENT).read_text().split())
    [policy] = [method["retryPolicy"] for method in json.loads(config.service_config())["methodConfig"]]
    assert set(policy["retryableStatusCodes"]) == set(re.findall(r"- \*\*([A-Z_]+)\*\*", text))
    first = float(policy["initialBackoff"].rstrip("s"))
    then = first * policy["backoffMultiplier"]
    assert (policy["maxAttempts"], f"three attempts, about {first:g} and {then:g} second apart" in text) == (3, True)


def test_the_documented_pauses_of_a_stream_are_the_python_client_s() -> None:
    text = " ".join((ROOT / DOCUMENT).read_text().split())
    assert f"{subscription.FIRST_DELAY:g} s, doubled each time, at most {subscription.LONGEST_DELAY:g} s" in text
    assert (config.DEFAULT_SILENCE, "no message for a minute" in text) == (60.0, True)


GATEWAY = "127.0.0.1:8080"


def commands(program: str) -> list[str]:
    """Return the commands of a program; their JSON goes over several lines."""
    console = "".join(block.text for block in blocks(CALLS, "console"))
    return [each for each in re.split(r"^\$ ", console, flags=re.MULTILINE) if each.startswith(program)]


@pytest.fixture(scope="module")
def gateway(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a gateway of the server."""
    folder: Path = tmp_path_factory.mktemp("no-page")
    with spawned_gateway("--target", address, "--web", str(folder)) as process:
        process.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
        yield str(process.wait_for("listening")["address"])


def test_the_program_runs_unchanged(address: str) -> None:
    [program] = [block for block in blocks(CALLS, "python") if "tritonclient" in block.text]
    done = run_without_our_code(python_with_tritonclient(), "-c", program.text.replace(PLACE, address))
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "point",
        "lower",
        "upper",
        "home_lead_probability",
    ]


def test_grpcurl_gets_a_forecast(address: str) -> None:
    [command] = [command for command in commands("grpcurl") if "GRPCInferenceService" in command]
    done = examples.run("sh", "-c", command.replace(PLACE, address), address=address)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["name"] == "point"


@pytest.mark.parametrize("command", commands("curl"))
def test_curl_gets_an_answer(gateway: str, command: str) -> None:
    words = shlex.split(command.replace(GATEWAY, gateway))
    [url] = [word for word in words if word.startswith("http")]
    if "-d" not in words:
        assert httpx.get(url, timeout=60).json()["name"] == "dejavu"
        return
    name, _, value = words[words.index("-H") + 1].partition(": ")
    answer = httpx.post(url, content=words[words.index("-d") + 1], headers={name: value}, timeout=60)
    assert answer.status_code == 200, answer.text
    [point] = answer.json()["outputs"]
    assert (point["name"], point["shape"]) == ("point", [2])


@pytest.mark.parametrize(("heading", "table"), [("input", INPUTS), ("output", OUTPUTS)])
def test_the_tables_name_every_tensor(heading: str, table: dict[str, object]) -> None:
    assert [name for cells in rows(CALLS, heading) for name in cells[0].split(", ")] == list(table)


def test_the_limits_are_those_of_the_server() -> None:
    text = (ROOT / CALLS).read_text()
    assert f"1 to {MAX_ROWS:,} rows" in text
    assert f"more than {MAX_ID:,} characters" in text
