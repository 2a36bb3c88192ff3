"""`dejavu doctor` at real servers: each fault is found, by its name, with a remedy that the documentation has."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from tests.support.builders.bundles import light_bundle
from tests.support.builders.games import close_game
from tests.support.fakes.certificates import Authority
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.gateway import running_gateway, spawned_gateway
from tests.support.processes.redis_server import RedisProcess
from tests.support.processes.servers import running_worker, settings_in, spawned_server
from typer.testing import CliRunner, Result

from dejavu_cli.doctor.findings import Finding, Severity
from dejavu_cli.doctor.installation_checks import examine_installation
from dejavu_cli.doctor.server_checks import DoctorAccess
from dejavu_cli.main import app
from dejavu_client.access import ClientTlsFiles, tls_credentials
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.client import DejavuClient
from dejavu_client.transport.servers import parse_servers
from dejavu_common.address import Address
from dejavu_common.clock import utc_now
from dejavu_ledger.copies import renew_epoch
from dejavu_models.manifest import LINEAR
from dejavu_poller.metrics import serve_poll_metrics
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.observability.statistics import Statistics, StatisticsWriter
from dejavu_server.worker.worker import Worker

ROOT = Path(__file__).parents[2]
READ, PREDICT, RECORD, OUTCOME = (AccessScope(name) for name in ("read", "predict", "record", "outcome"))

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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def target(folder: Path) -> Iterator[str]:
    """The address of a worker without tokens."""
    with running_worker(folder) as address:
        yield address


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of a worker with tokens, by "", and tokens by their scopes."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    scopes: Sequence[tuple[AccessScope, ...]] = ((READ, PREDICT, RECORD, OUTCOME), (READ,), (PREDICT,))
    made = {
        " ".join(scope.value for scope in each): token_file.create(path, each[-1].value, each, utc_now())
        for each in scopes
    }
    return {**made, "": str(path)}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tokens: dict[str, str]) -> Iterator[str]:
    """The address of a worker that asks for these tokens."""
    with running_worker(tmp_path_factory.mktemp("guarded"), tokens=tokens[""]) as address:
        yield address


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_server_without_a_poller_is_well_but_for_the_poller(target: str) -> None:
    found = examine(target)
    assert troubles(found) == {"poller": "warning"}
    assert {"reach", "token", "clock", "version", "workers", "calls", "ledger", "games"} <= found.keys()
    assert "every program" in found["token"].message
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


def test_nothing_is_recorded_and_nothing_is_published(target: str) -> None:
    with DejavuClient(target, timeout=30.0) as client:
        before = client.get_checkpoint().sequence
        examine(target)
        stats = client.get_service_stats()
        assert client.get_checkpoint().sequence == before
        assert not list(client.list_games())
        assert not stats.feeds
        assert not any(each.recorded for each in stats.windows[-1].predictions)


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
    guarded: str, tokens: dict[str, str], token: str | None, severity: str, said: str
) -> None:
    found = examine(guarded, DoctorAccess(token=token and tokens.get(token, token)))["token"]
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


def _shifted(by: timedelta) -> datetime:
    return utc_now() + by


async def test_a_clock_that_is_off_is_found_with_its_direction(tmp_path: Path) -> None:
    for number, (seconds, severity, said) in enumerate(
        ((-120, "fault", "2 min behind"), (20, "warning", "ahead of"), (0, "ok", "agrees"))
    ):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        registry = ServingModels([PersistenceForecaster()])
        clock = partial(_shifted, timedelta(seconds=seconds))
        async with Worker(settings_in(folder), registry=registry, clock=clock) as worker:
            found = await asyncio.to_thread(examine, worker.address)
        assert (found["clock"].severity, said in found["clock"].message) == (severity, True), found["clock"].message


def test_a_ledger_that_cannot_be_used_and_servers_of_different_ledgers_are_found(target: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with running_worker(tmp_path, ledger=f"sqlite:///{file}/ledger.sqlite3") as broken:
        found = examine(broken)
    assert troubles(found)["ledger"] == "fault"
    assert "runbook.md#dejavuledgerunavailable" in found["ledger"].section
    with running_worker(tmp_path, ledger=f"sqlite:///{tmp_path}/another.sqlite3") as second:
        found = examine(f"{target},{second}")
    assert troubles(found) == {"ledgers": "fault", "poller": "warning"}
    options: Any = {"ledger": f"sqlite:///{tmp_path}/another.sqlite3"}
    restored = f"sqlite:///{tmp_path}/restored.sqlite3"
    shutil.copyfile(tmp_path / "another.sqlite3", tmp_path / "restored.sqlite3")
    renew_epoch(restored)
    with running_worker(tmp_path, **options) as old, running_worker(tmp_path, ledger=restored) as new:
        found = examine(f"{old},{new}")
    assert troubles(found) == {"ledgers": "fault", "poller": "warning"}
    other = str(tmp_path / "other-key.pem")
    with running_worker(tmp_path, **options) as first, running_worker(tmp_path, **options, signing_key=other) as second:
        found = examine(f"{first},{second}")
    assert troubles(found) == {"keys": "warning", "poller": "warning"}
    with running_worker(tmp_path, **options) as first, running_worker(tmp_path, **options, adaptive="off") as second:
        found = examine(f"{first},{second}")
    assert troubles(found) == {"settings": "warning", "poller": "warning"}
    assert found["settings"].message == f"the servers differ: adaptive is on at {first}, off at {second}"


def test_of_a_full_disk_only_the_cause_is_a_fault(tmp_path: Path) -> None:
    with running_worker(tmp_path, ledger_reserve_mib=1_048_576) as address:
        while "disk" not in (found := examine(address)):
            pass  # until the server has looked at the disk, and its statistics are newer
    assert troubles(found) == {"disk": "fault", "poller": "warning"}


def test_the_age_of_the_feed_is_that_of_the_newest_report(tmp_path: Path) -> None:
    with running_worker(tmp_path) as address, DejavuClient(address, timeout=30.0) as client:
        for read, data, live, severity, section in (
            (300.0, None, 0, "fault", "dejavufeedunread"),
            (3.0, 4000.0, 2, "warning", "dejavufeedold"),
            (3.0, 4.0, 2, "ok", ""),
        ):
            client.report_feed("nba", read, data_age_seconds=data, live_games=live)
            while [each.live_games for each in client.get_service_stats().feeds] != [live] or (
                client.get_service_stats().feeds[0].data_age_seconds < (data or 0)
            ):
                pass
            found = examine(address)["poller"]
            assert (found.severity, section in found.section) == (severity, True), found


def test_the_feed_is_judged_by_the_reports_of_the_games_publisher(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    publisher = token_file.create(tokens, "poller", (READ, RECORD, OUTCOME), utc_now())
    recorder = token_file.create(tokens, "recorder", (READ, RECORD), utc_now())
    with (
        running_worker(tmp_path, tokens=str(tokens)) as address,
        DejavuClient(address, token=publisher, timeout=30.0) as poller,
        DejavuClient(address, token=recorder, timeout=30.0) as other,
    ):
        poller.publish_games([close_game("0022600001", observed_time=utc_now())])
        poller.report_feed("nba", 300.0)
        other.report_feed("nba", 1.0)
        while len(other.get_service_stats().feeds) != 2:
            pass
        found = examine(address, DoctorAccess(token=publisher))["poller"]
    assert (found.severity, "dejavufeedunread" in found.section) == (Severity.FAULT, True), found


def test_a_file_of_tokens_that_is_damaged_is_found(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    access = DoctorAccess(token=token_file.create(tokens, "tests", (READ, PREDICT, RECORD, OUTCOME), utc_now()))
    with running_worker(tmp_path, tokens=str(tokens)) as address:
        assert "access" not in examine(address, access)
        tokens.write_text("{")
        while "access" not in (found := examine(address, access)):
            pass  # until the server has looked at it, and its statistics are newer
    assert found["access"].section == "runbook.md#dejavuaccessfileoutdated"
    assert "tokens" in found["access"].message


@pytest.mark.nightly
def test_a_reload_that_failed_is_found(tmp_path: Path) -> None:
    bundle = shutil.copytree(light_bundle(), tmp_path / "bundle")
    options = ("--workers", "1", "--bundle", str(bundle), "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3")
    with spawned_server(*options) as server:
        assert "reload" not in examine(server.address)
        (bundle / LINEAR).write_bytes(b"no model")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reload_failed")
        while "reload" not in (found := examine(server.address)):
            pass  # until the statistics of the server are newer
        assert found["reload"].severity is Severity.FAULT
        assert found["reload"].section == "runbook.md#dejavureloadfailed"


async def test_workers_that_have_died_or_hung_are_found_although_others_serve(tmp_path: Path) -> None:
    registry = ServingModels([PersistenceForecaster()])
    async with Worker(settings_in(tmp_path, workers=1), registry=registry) as worker:
        for ended, section in (("deaths", "dejavuworkerdied"), ("hangs", "dejavuworkerhung")):
            Counter(f"dejavu_worker_{ended}", "Workers that ended.", registry=worker.metrics.registry).inc(3)
            found = await asyncio.to_thread(examine, worker.address)
            while section not in found["workers"].section:  # until the statistics are newer
                found = await asyncio.to_thread(examine, worker.address)
            assert (found["workers"].severity, "; 3 died since" in found["workers"].message) == (Severity.WARNING, True)


async def test_a_supervisor_that_stands_still_is_found_by_the_age_of_its_statistics(tmp_path: Path) -> None:
    folder, registry = tmp_path / "server", ServingModels([PersistenceForecaster()])
    folder.mkdir()
    before = Statistics(CollectorRegistry(), "server", list, wall_clock=lambda: time.time() - 60)
    await StatisticsWriter(folder, before).write()
    async with Worker(settings_in(tmp_path), registry=registry, folder=folder) as worker:
        found = await asyncio.to_thread(examine, worker.address)
    assert (found["supervisor"].severity, found["supervisor"].section) == (Severity.FAULT, "runbook.md#dejavudown")


async def test_a_poller_that_reports_no_longer_is_a_fault_before_its_feed_is_old(tmp_path: Path) -> None:
    passed = timedelta()

    def clock() -> datetime:
        return utc_now() + passed

    async with Worker(settings_in(tmp_path), registry=ServingModels([PersistenceForecaster()]), clock=clock) as worker:
        async with AsyncDejavuClient(worker.address, timeout=30.0) as client:
            await client.report_feed("nba", 1.0, live_games=2)
            while not (await client.get_service_stats()).feeds:
                pass
            passed = timedelta(seconds=90)
            while (await client.get_service_stats()).feeds[0].report_age_seconds < passed.total_seconds():
                pass
        found = (await asyncio.to_thread(examine, worker.address))["poller"]
    assert found.severity is Severity.FAULT
    assert "none has reported for 9" in found.message
    assert "dejavupollerdown" in found.section


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server")
def test_a_shared_cache_that_is_bypassed_is_found(tmp_path: Path) -> None:
    server = RedisProcess(tmp_path)
    try:
        with running_worker(tmp_path, cache=server.url) as address:
            assert examine(address)["cache"].severity is Severity.OK
            server.kill()
            while (found := examine(address)["cache"]).severity is Severity.OK:
                pass  # until a probe has failed
    finally:
        server.kill()
    assert (found.severity, found.section) == (Severity.WARNING, "runbook.md#dejavusharedcachefailed")


def test_the_page_and_the_pollers_are_checked_if_they_are_given(target: str, nowhere: str) -> None:
    registry = CollectorRegistry()
    leads = Gauge("dejavu_poll_leads", "Leads.", registry=registry)
    age = Gauge("dejavu_poll_scoreboard_age_seconds", "Age.", registry=registry)
    with serve_poll_metrics(registry, Address("127.0.0.1", 0)) as url:
        cases: Sequence[tuple[int, int, dict[str, str]]] = (
            (1, 3, {}),
            (0, 3, {"metrics": "warning"}),
            (1, 500, {"metrics": "fault"}),
        )
        for leading, seconds, said in cases:
            leads.set(leading)
            age.set(seconds)
            assert troubles(examine(target, pollers=[url])) == {"poller": "warning", **said}
        for page in (url.removesuffix("/metrics"), f"http://{nowhere}", f"http://{target}", "file:///etc"):
            found = examine(target, page=page)
            assert troubles(found)["page"] == "fault"
            assert page in found["page"].message
    with running_gateway(target) as gateway:
        found = examine(target, page=f"http://{gateway.address}/")
        assert (found["page"].severity, troubles(found)) == (Severity.OK, {"poller": "warning"})
    with spawned_gateway("--target", nowhere) as gateway:
        found = examine(target, page=f"http://{gateway.address}")
        assert "SERVER_GONE" in found["page"].message
        assert troubles(found)["page"] == "fault"


def test_every_section_that_a_finding_names_exists() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "client/dejavu_cli/doctor").glob("*.py"))
    named = set(re.findall(r'"([a-z-]+\.md)(?:#([a-z0-9-]+))?"', sources))
    assert len(named) > 15
    for page, anchor in named:
        text = (ROOT / "docs" / page).read_text()
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert not anchor or anchor in anchors, f"{page}#{anchor}"
