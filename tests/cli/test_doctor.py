"""`dejavu doctor`: each fault is found, by its name, with a remedy that the documentation has."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckResponse
from prometheus_client import CollectorRegistry, Gauge
from tests.support.fakes.certificates import Authority
from tests.support.fakes.service import FakeServer
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker
from typer.testing import CliRunner, Result

from dejavu.ops.v1 import operations_service_pb2 as ops
from dejavu.ops.v1.cache_service_pb2 import (
    SHARED_CACHE_STATE_FAILED,
    SHARED_CACHE_STATE_UNSPECIFIED,
    GetCacheStatsResponse,
)
from dejavu.v1.game_service_pb2 import GAME_STATUS_LIVE, Game, ListGamesResponse
from dejavu.v1.model_service_pb2 import VERDICT_UNFIT, ListModelsResponse, Model
from dejavu.v1.record_pb2 import Checkpoint
from dejavu.v1.record_service_pb2 import GetCheckpointResponse
from dejavu_cli.commands.doctor import examine_installation, print_findings
from dejavu_cli.findings import Finding, Severity
from dejavu_cli.main import app
from dejavu_cli.server_checks import DoctorAccess
from dejavu_client.access import ClientTlsFiles, tls_credentials
from dejavu_client.client import DejavuClient
from dejavu_client.transport.servers import parse_servers
from dejavu_common import build
from dejavu_common.address import Address
from dejavu_common.clock import utc_now
from dejavu_poller.metrics import serve_poll_metrics
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

ROOT = Path(__file__).parents[2]

Found = dict[str, Finding]


def examine(target: str, access: DoctorAccess | None = None, **options: Any) -> Found:
    """Return the findings by check; of several servers, the last one's."""
    findings = examine_installation(parse_servers(target), access or DoctorAccess(), 10.0, **options)
    return {each.check: each for each in findings}


def troubles(found: Found) -> dict[str, str]:
    """Return the severities of what is not ok, except the ratings, which are outdated in every test."""
    return {
        check: each.severity.value
        for check, each in found.items()
        if each.severity is not Severity.OK and check != "model"
    }


def run(*arguments: str, width: int = 80) -> Result:
    environment = {"COLUMNS": f"{width}", "TERM": "dumb"}
    return CliRunner().invoke(app, ["doctor", *arguments], env=environment)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a worker without tokens."""
    with running_worker(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a worker that asks for tokens, and tokens by their scopes."""
    folder = tmp_path_factory.mktemp("guarded")
    path = folder / "tokens.json"
    made = {}
    for scopes in ("read predict record outcome", "read", "predict"):
        wanted = tuple(map(AccessScope, scopes.split()))
        made[scopes] = token_file.create(path, wanted[-1].value, wanted, utc_now())
    with running_worker(folder, tokens=str(path)) as address:
        yield address, made


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_server_without_a_poller_is_well_but_for_the_poller(target: str) -> None:
    with DejavuClient(target, timeout=30.0) as client:
        before = client.get_checkpoint().sequence
        found = examine(target)
        assert client.get_checkpoint().sequence == before, "it records nothing"
        assert not client.get_service_stats().feeds
    assert troubles(found) == {"poller": "warning"}
    assert {"reach", "token", "clock", "version", "workers", "calls", "ledger", "games"} <= found.keys()
    shown = run("--target", target)
    assert shown.exit_code == 0
    assert "runbook.md#dejavupollerdown" in shown.stdout


def test_json_has_an_object_for_each_finding_and_the_exit_code_tells_faults(target: str, nowhere: str) -> None:
    shown = run("--target", f"{target},{nowhere}", "--json", "--timeout", "2")
    assert shown.exit_code == 1
    findings = [json.loads(line) for line in shown.stdout.splitlines() if line.startswith("{")]
    [fault] = [each for each in findings if each["severity"] == "fault"]
    assert (fault["check"], fault["server"]) == ("reach", nowhere)
    assert fault["see"].endswith("/docs/runbook.md#dejavudown")
    assert "start dejavu-server" in fault["remedy"]
    assert {each["server"] for each in findings} == {"", target, nowhere}


@pytest.mark.parametrize(
    ("token", "severity", "said"),
    [
        ("read predict record outcome", "ok", "has read, predict, record, outcome"),
        ("read", "warning", "has read; lacks predict, record, outcome"),
        ("predict", "fault", "has predict; lacks read, record, outcome"),
        ("djv_unknown", "fault", "refuses it"),
        (None, "fault", "asks for a token"),
    ],
)
def test_the_scopes_of_a_token_are_found(
    guarded: tuple[str, dict[str, str]], token: str | None, severity: str, said: str
) -> None:
    address, tokens = guarded
    found = examine(address, DoctorAccess(token=token and tokens.get(token, token)))["token"]
    assert (found.severity, said in found.message) == (severity, True), found.message
    assert "djv_" not in str(found), "no finding has a token"


@pytest.mark.nightly
def test_an_expired_certificate_another_name_and_another_authority_are_told_apart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "another")
    expired = authority.issue("server", valid=timedelta(seconds=-1))
    files: dict[str, Any] = {"tls_cert": str(expired.certificate), "tls_key": str(expired.key)}

    def seen(ca: Path, address: str) -> Found:
        tls = ClientTlsFiles(ca)
        return examine(address, DoctorAccess(credentials=tls_credentials(ca=ca), tls=tls))

    with running_worker(tmp_path, workers=2, **files) as address:
        found = seen(authority.certificate, address)
        assert found["tls"].severity is found["reach"].severity is Severity.FAULT
        assert "has expired" in found["tls"].message
        plain = examine(address)
        assert "expects TLS" in plain["reach"].message
        assert troubles(plain) == {"reach": "fault"}
        assert "not signed by another.pem" in seen(other.certificate, address)["tls"].message
        authority.issue("server")
        while "(0 days)" not in (found := seen(authority.certificate, address))["tls"].message:
            pass  # until every part of the server has the new one
        assert troubles(found).keys() == {"tls", "workers", "poller"}
    with running_worker(tmp_path, listen="127.0.0.2:0", **files) as address:
        assert "another name than 127.0.0.2" in seen(authority.certificate, address)["tls"].message
    with running_worker(tmp_path) as address:
        assert "plain text" in seen(authority.certificate, address)["tls"].message


def now(seconds: float = 0.0) -> Timestamp:
    """Return the time in some seconds."""
    made = Timestamp()
    made.FromDatetime(utc_now() + timedelta(seconds=seconds))
    return made


STATISTICS = {each.name for each in ops.GetServiceStatsResponse.DESCRIPTOR.fields}


def prepare(fake: FakeServer, told: dict[str, Any]) -> None:
    """Make a fake server answer as one that is well, but for what is told: fields of answers, or of its statistics."""
    worker = ops.WorkerInfo(name="0-1", version=build.release())
    well: dict[str, Any] = {"configured_workers": 1, "workers": [worker], "settings": [setting("on")]}
    feeds = [ops.FeedStatus(**{"feed": "nba", "report_age_seconds": 1, "read_age_seconds": 1, **told.get("feed", {})})]
    clock = now(told.get("ahead", 0.0))
    stats: dict[str, Any] = {
        "sampled_time": clock,
        "feeds": feeds,
        "server": ops.ServerInfo(**{**well, **told.get("server", {})}),
    }
    stats |= {name: value for name, value in told.items() if name in STATISTICS - {"server"}}
    head: dict[str, Any] = {"ledger_id": "ab", "epoch": "cd", "public_key": b"key", "signed_time": clock}
    model = Model(**{"version": "fake", "active": True, **told.get("model", {})})
    fake.health.set("dejavu.ledger", told.get("health", HealthCheckResponse.SERVING))
    for method, answer in (
        ("GetServiceStats", ops.GetServiceStatsResponse(**stats)),
        ("GetCheckpoint", GetCheckpointResponse(checkpoint=Checkpoint(**{**head, **told.get("head", {})}))),
        ("ListModels", ListModelsResponse(models=[model])),
        ("GetCacheStats", GetCacheStatsResponse(shared_state=told.get("cache", SHARED_CACHE_STATE_UNSPECIFIED))),
        ("ListGames", ListGamesResponse(games=[each() for each in told.get("games", [])])),
    ):
        fake.answers(method, *[answer] * 3)


def setting(value: str) -> ops.ServerSetting:
    return ops.ServerSetting(name="adaptive", value=value)


def window(seconds: int, **codes: int) -> ops.StatsWindow:
    """Return the statistics of 100 calls, of which some failed with these codes."""
    errors = [ops.ErrorCount(code=code, calls=calls) for code, calls in codes.items()]
    method = ops.MethodStats(method="dejavu.v1.PredictionService/Predict", calls=100, errors=errors)
    return ops.StatsWindow(length_seconds=seconds, methods=[method])


OLD_CHECKPOINT = ops.LedgerState(checkpoint_age_seconds=200, checkpoint_interval_seconds=60)


def live(publisher: str = "", ago: float = 0.0) -> Callable[[], Game]:
    """Return what makes a game that was published some seconds ago."""
    of: dict[str, Any] = {"game_id": "0022600001", "status": GAME_STATUS_LIVE, "published_by": publisher}
    return lambda: Game(published_time=now(-ago), **of)


@pytest.mark.parametrize(
    ("told", "check", "severity", "said"),
    [
        ({"ahead": -120}, "clock", "fault", "2 min behind"),
        ({"ahead": 20}, "clock", "warning", "ahead of"),
        ({"health": HealthCheckResponse.NOT_SERVING}, "ledger", "fault", "dejavuledgerunavailable"),
        ({"ledger_lag": ops.LedgerLag(workers_without=1)}, "ledger", "fault", "1 worker cannot record forecasts"),
        ({"ledger_lag": ops.LedgerLag(entries=3, lag_seconds=6)}, "ledger", "warning", "behind by 3 (6.0 s)"),
        ({"ledger": ops.LedgerState(disk=ops.DISK_STATE_LOW)}, "disk", "warning", "dejavudisklow"),
        ({"ledger": OLD_CHECKPOINT}, "checkpoint", "warning", "not been signed for 3 min"),
        ({"model": {"active": False}}, "model", "fault", "no model is active"),
        ({"model": {"verdict": VERDICT_UNFIT, "verdict_reason": "bad"}}, "model", "warning", "states: bad"),
        ({"cache": SHARED_CACHE_STATE_FAILED}, "cache", "warning", "dejavusharedcachefailed"),
        ({"server": {"worker_deaths": 3}}, "workers", "warning", "dejavuworkerdied"),
        ({"server": {"worker_deaths": 3, "worker_hangs": 1}}, "workers", "warning", "dejavuworkerhung"),
        ({"server": {"configured_workers": 2}}, "workers", "warning", "dejavuworkerscannotstart"),
        ({"server": {"last_reload_failed": True}}, "reload", "fault", "dejavureloadfailed"),
        ({"server": {"outdated_files": ["tokens"]}}, "access", "fault", "dejavuaccessfileoutdated"),
        ({"server": {"workers": [ops.WorkerInfo(version="0")]}}, "version", "warning", "server 0, this client"),
        ({"sampled_time": now(-60)}, "supervisor", "fault", "dejavudown"),
        ({"windows": [window(60, INTERNAL=2)]}, "calls", "fault", "2 % failed: INTERNAL 2"),
        ({"windows": [window(60, RESOURCE_EXHAUSTED=6)]}, "calls", "warning", "dejavuoverloaded"),
        ({"windows": [window(60), window(900, UNKNOWN=2)]}, "calls", "warning", "not in the last minute"),
        ({"windows": [window(60, INTERNAL=1, NOT_FOUND=9)]}, "calls", "ok", ""),
        ({"feed": {"report_age_seconds": 90}}, "poller", "fault", "none has reported for 90"),
        ({"feed": {"read_age_seconds": 300}}, "poller", "fault", "dejavufeedunread"),
        ({"feed": {"data_age_seconds": 4000, "live_games": 1}}, "poller", "warning", "dejavufeedold"),
        ({"feed": {"reported_by": "token:other"}, "games": [live("token:poller")]}, "poller", "warning", "none has"),
        ({"games": [live(ago=4000)]}, "games", "warning", "last published 67 min ago"),
        ({"games": [live()] * 2, "ledger": ops.LedgerState(caller_games=1)}, "games", "warning", "at most 1 a day"),
    ],
)  # fmt: skip
def test_each_fault_of_a_server_is_found_alone(
    server: FakeServer, told: dict[str, Any], check: str, severity: str, said: str
) -> None:
    prepare(server, told)
    found = examine(server.target)
    assert found[check].severity == severity, found[check]
    assert said in " ".join((found[check].message, found[check].section)), found[check]
    assert troubles(found).keys() | {"model"} == {"model"} | ({check} if severity != "ok" else set())


def test_of_a_full_disk_only_the_cause_is_a_fault(server: FakeServer) -> None:
    full = ops.LedgerState(disk=ops.DISK_STATE_BELOW_RESERVE)
    lost = {"ledger_lag": ops.LedgerLag(workers_without=1), "health": HealthCheckResponse.NOT_SERVING}
    prepare(server, {"ledger": full, **lost})
    assert troubles(examine(server.target)) == {"disk": "fault"}


@pytest.mark.parametrize(
    ("told", "check", "severity"),
    [
        ({"head": {"epoch": "ef"}}, "ledgers", "fault"),  # restored from the other one's
        ({"head": {"ledger_id": "ef"}}, "ledgers", "fault"),
        ({"head": {"public_key": b"another"}}, "keys", "warning"),
        ({"model": {"version": "another"}}, "models", "warning"),
        ({"server": {"settings": [setting("off")]}}, "settings", "warning"),
    ],
)
def test_servers_that_differ_are_named(server: FakeServer, told: dict[str, Any], check: str, severity: str) -> None:
    prepare(server, {})
    with FakeServer() as other:
        prepare(other, told)
        found = examine(f"{server.target},{other.target}")
    assert troubles(found) == {check: severity}
    assert server.target in found[check].message
    assert other.target in found[check].message


def test_the_page_and_the_pollers_are_checked_if_they_are_given(target: str, nowhere: str) -> None:
    registry = CollectorRegistry()
    leads = Gauge("dejavu_poll_leads", "Leads.", registry=registry)
    age = Gauge("dejavu_poll_scoreboard_age_seconds", "Age.", registry=registry)
    with serve_poll_metrics(registry, Address("127.0.0.1", 0)) as url:
        for leading, seconds, severity in ((1, 3, None), (0, 3, "warning"), (1, 500, "fault")):
            leads.set(leading)
            age.set(seconds)
            assert troubles(examine(target, pollers=[url])).get("metrics") == severity
        for page in (url.removesuffix("/metrics"), f"http://{nowhere}", "file:///etc"):
            assert troubles(examine(target, page=page))["page"] == "fault"
    with running_gateway(target) as gateway:
        found = examine(target, page=f"http://{gateway.address}/")
        assert (found["page"].severity, troubles(found)) == (Severity.OK, {"poller": "warning"})


def test_every_section_that_a_finding_names_exists() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "client/dejavu_cli").rglob("*.py"))
    named = set(re.findall(r'"([a-z-]+\.md)(?:#([a-z0-9-]+))?"', sources))
    assert len(named) > 15
    for page, anchor in named:
        text = (ROOT / "docs" / page).read_text()
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert not anchor or anchor in anchors, f"{page}#{anchor}"


def test_findings_fit_in_a_narrow_terminal_and_foreign_texts_do_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    hostile = "x\x1b]0;owned\x07\n ok  all is well [red]" + "y" * 90
    print_findings(
        [
            Finding("client", Severity.OK, "dejavu 1.0.0"),
            Finding("checkpoint", Severity.WARNING, hostile, hostile, "runbook.md#dejavucheckpointold", "a:1"),
            Finding("reach", Severity.FAULT, "refused", "start it", "", "b:1\n"),
            Finding("poller", Severity.OK, "read 3 s ago"),
        ]
    )
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines if line[:1] not in ("", " ")] == [
        *("ok", "a:1", "warning", "b:1\\u000a", "fault", "installation", "ok", "1", "pages:")
    ]
    assert "1 fault, 1 warning, 2 ok" in shown
