"""The compose file is valid, agrees with the programs, and is as closed as it says; its secrets can be used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.containers import ROOT
from tests.deploy.manifests import VERSION, image_environment, settings, stages, unknown_to_trainer, variables
from tests.support.processes.promtool import RULES, promtool

from dejavu_common.address import Address
from dejavu_ledger.audit.checkpoints import load_or_create
from dejavu_server.supervisor.recycling import KILL_FACTOR

COMPOSE = ROOT / "deploy/compose.yaml"
PROMETHEUS = ROOT / "deploy/prometheus.yaml"
FILE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("dejavu-")}


def target(service: dict[str, Any]) -> str:
    """Return the target of the Dockerfile that a service of ours runs."""
    return str(service["image"].removeprefix("dejavu-").partition(":")[0])


def test_it_has_the_schema_of_compose_files(tmp_path: Path) -> None:
    check = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    broken = tmp_path / "broken.yaml"
    broken.write_text(COMPOSE.read_text().replace("read_only:", "readonly:"))
    run = subprocess.run(
        [*check, "--output-format", "json", str(COMPOSE), str(broken)], check=False, capture_output=True, text=True
    )
    assert {each["filename"] for each in json.loads(run.stdout)["errors"]} == {str(broken)}


def test_what_a_service_names_is_there() -> None:
    for service in SERVICES.values():
        assert set(service["networks"]) <= FILE["networks"].keys()
        assert set(service.get("secrets", ())) <= FILE["secrets"].keys()
        for volume in service.get("volumes", ()):
            source, _, _ = volume.partition(":")
            assert (COMPOSE.parent / source).is_file() if source.startswith(".") else source in FILE["volumes"]
        assert set(service.get("depends_on", ())) <= {name for name in SERVICES if "healthcheck" in SERVICES[name]}


def test_every_service_is_closed() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "cap_add" not in service or name == "postgres"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert "mem_limit" in service
    assert FILE["networks"]["inside"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == SERVICES["redis"]["networks"] == ["inside"]
    for service in SERVICES.values():  # passwords come from files
        given = service.get("environment", {})
        named = [name for name in given if re.search("PASSWORD$|TOKEN$|SECRET$", name)]
        assert all(given[name].startswith("/run/secrets/") for name in named)


def test_services_run_the_images_of_this_version_with_variables_and_ports_that_they_know() -> None:
    assert {target(service) for service in OURS.values()} == {"server", "poller", "dashboard", "trainer"}
    for service in OURS.values():
        assert service["image"] == f"dejavu-{target(service)}:{VERSION}"
        assert service["build"]["target"] == target(service)
        assert target(service) in stages()
        given = service.get("environment", {})
        assert {name for name in given if name.startswith("DEJAVU_")} <= variables(target(service))
        image = image_environment(target(service))
        listened = {str(Address.parse(value).port) for name, value in image.items() if name.endswith("LISTEN")}
        assert {port.rpartition(":")[2] for port in service.get("ports", ())} <= listened
        assert given.get("DEJAVU_TARGET", "server:50051") == "server:50051"
    feed, replay = SERVICES["replay-poller"]["environment"]["DEJAVU_FEED_URL"], SERVICES["replay"]["command"]
    assert feed.removeprefix("http://replay:") == replay[replay.index("--listen") + 1].removeprefix("0.0.0.0:")


def test_a_server_has_time_to_drain_and_memory_for_its_workers() -> None:
    server = SERVICES["server"]
    chosen = settings(server["environment"])
    assert int(server["stop_grace_period"].removesuffix("s")) >= chosen.grace_seconds + 5
    others = 150 + 64  # supervisor and fork server, /tmp
    assert KILL_FACTOR * chosen.workers * chosen.max_rss + others <= int(server["mem_limit"].removesuffix("m"))
    assert server["healthcheck"]["test"] == ["CMD", "dejavu", "health"]


def test_the_trainer_runs_a_command_of_its_own_on_the_servers_store_and_ledger() -> None:
    trainer, server = SERVICES["trainer"], SERVICES["server"]
    assert unknown_to_trainer(trainer["command"]) == []
    options = dict(each.partition("=")[::2] for each in trainer["command"][1:])
    assert options["--store"] == server["environment"]["DEJAVU_MODEL_STORE"]
    assert trainer["volumes"] == server["volumes"]
    [(_, mounted)] = [volume.split(":") for volume in server["volumes"]]
    assert all(options[name].startswith(f"{mounted}/") for name in ("--store", "--work"))
    assert f"--from={server['environment']['DEJAVU_LEDGER']}" in trainer["command"]
    assert trainer["environment"]["PGPASSFILE"] == server["environment"]["PGPASSFILE"]


def test_grafana_shows_the_dashboard_of_that_prometheus_to_readers_only() -> None:
    grafana = SERVICES["grafana"]
    mounted = {to: COMPOSE.parent / source for source, to, *_ in (each.split(":") for each in grafana["volumes"])}
    folder = "/etc/grafana/provisioning"
    [source] = yaml.safe_load(mounted[f"{folder}/datasources/dejavu.yaml"].read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = yaml.safe_load(mounted[f"{folder}/dashboards/dejavu.yaml"].read_text())["providers"]
    shown = f"{provider['options']['path']}/dejavu.json"
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == shown
    assert json.loads(mounted[shown].read_text())["panels"]
    assert grafana["environment"]["GF_AUTH_BASIC_ENABLED"] == "false"
    assert "GF_AUTH_ANONYMOUS_ORG_ROLE" not in grafana["environment"]  # Viewer, unless named


def test_prometheus_reads_metrics_under_the_jobs_of_the_alerts(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_bytes(RULES.read_bytes())
    configuration = tmp_path / "prometheus.yaml"
    configuration.write_text(PROMETHEUS.read_text().replace("/etc/prometheus/alerts.yaml", "alerts.yaml"))
    check = [promtool(), "check", "config", str(configuration)]
    run = subprocess.run(check, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    read = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    jobs = {each["job_name"]: each["dns_sd_configs"][0] for each in read}
    assert set(re.findall(r'job="([\w-]+)"', RULES.read_text())) <= jobs.keys()
    for found in jobs.values():
        for name in found["names"]:
            ports = image_environment(target(SERVICES[name])).values()
            assert any(value.endswith(f":{found['port']}") for value in ports)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to the users of the containers")
def test_secrets_are_made_once_for_the_users_that_read_them(tmp_path: Path) -> None:
    make = [str(ROOT / "deploy/make_secrets.sh"), str(tmp_path / "secrets")]
    subprocess.run(make, check=True, capture_output=True)
    files = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    assert {f"./secrets/{name}" for name in files} == {each["file"] for each in FILE["secrets"].values()}
    for name, path in files.items():
        owner = 999 if name == "postgres-password" else 10001
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (owner, 0o400)
    password = files["postgres-password"].read_text().strip()
    assert len(password) == 48
    assert files["pgpass"].read_text() == f"postgres:5432:dejavu:dejavu:{password}\n"
    load_or_create(files["signing-key.pem"])
    before = {name: path.read_bytes() for name, path in files.items()}
    subprocess.run(make, check=True, capture_output=True)
    assert {name: path.read_bytes() for name, path in files.items()} == before
