"""The Helm chart: its values reach the objects, wrong ones are refused by name, releases do not touch one another."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.manifests import (
    CHART,
    DATABASE,
    VALUES,
    Manifest,
    containers,
    environment,
    of_kind,
    pods,
    refusal,
    rendered,
)
from tests.support.harness.documents import blocks
from tests.support.processes.promtool import RULES, promtool

RELEASES = "dejavu", "evening"


def labels_named(value: Any) -> Iterator[Manifest]:
    """Yield the labels of every selector of pods of the release's namespace in a part of an object."""
    match value:
        case {"matchLabels": labels}:
            yield labels
        case dict():
            # A selector with namespaceSelector beside it is of another namespace.
            for name, each in value.items():
                if name == "selector" and isinstance(each, dict) and "matchLabels" not in each:
                    yield each  # of a service
                elif name != "namespaceSelector":
                    yield from labels_named(each)
        case list():
            for each in value:
                yield from labels_named(each)


def test_releases_in_one_namespace_share_no_name_and_select_no_pod_of_another() -> None:
    made = {release: rendered(VALUES["all"], release) for release in RELEASES}
    names = {release: {(each["kind"], each["metadata"]["name"]) for each in made[release]} for release in RELEASES}
    assert not names["dejavu"] & names["evening"]
    for release, objects in made.items():
        for each in objects:
            selectable = [pod["metadata"]["labels"] for pod in pods(objects)]
            if each["kind"] == "ServiceMonitor":
                selectable = [service["metadata"]["labels"] for service in of_kind(objects, "Service")]
            for labels in labels_named(each["spec"]):
                assert labels["app.kubernetes.io/instance"] == release, each["metadata"]["name"]
                assert any(labels.items() <= own.items() for own in selectable), each["metadata"]["name"]
    for values in (VALUES["folder"], VALUES["postgres"], {"cache": VALUES["all"]["cache"]}):
        text = yaml.safe_dump_all(rendered(values, "evening"))
        named = re.findall(r"(?:claimName|secretName|secretKeyRef:\s+key: \S+\s+name): (\S+)", text)
        named += re.findall("dns:///(.*):50051", text)
        assert named
        assert [name for name in named if not name.startswith("evening-")] == []


def test_values_reach_the_objects() -> None:
    peers = [{"ipBlock": {"cidr": "10.1.2.3/32"}}]
    ledger = {"url": "postgresql://me@10.1.2.3/own", "secret": "own-db", "peers": peers, "port": 6432}
    own = {"DEJAVU_ADAPTIVE": "shadow", "DEJAVU_CACHE": {"secretKeyRef": {"name": "own-redis", "key": "url"}}}
    chosen = {
        **VALUES["all"],
        "images": {"registry": "registry.example.com/", "tag": "1.2.3", "pullSecrets": ["own-registry"]},
        "nodeSelector": {"disk": "ssd"},
        "storageClass": "fast",
        "signing": {"secret": "own-signing"},
        "cache": {"redis": "rediss://cache:6380/1", "secret": "own-cache", "port": 6380},
        "ledger": ledger,
        "server": {"replicas": 3, "maxReplicas": 9, "workers": 4, "cpu": "2", "env": own},
    }
    objects = rendered(chosen)
    found = list(pods(objects))
    assert len(found) == 4
    for pod in (each["spec"] for each in found):
        assert re.fullmatch(r"registry\.example\.com/dejavu-\w+:1\.2\.3", pod["containers"][0]["image"])
        assert pod["nodeSelector"] == {"disk": "ssd"}
        assert pod["imagePullSecrets"] == [{"name": "own-registry"}]
    assert {each["spec"]["storageClassName"] for each in of_kind(objects, "PersistentVolumeClaim")} == {"fast"}
    text = json.dumps(objects)
    assert all(f'"own-{name}"' in text for name in ("signing", "db", "cache", "redis"))
    [scaler] = of_kind(objects, "HorizontalPodAutoscaler")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 9)
    [server] = [container for _, container in containers(objects) if container["name"] == "server"]
    assert server["resources"]["requests"]["cpu"] == "2"
    given = environment(server)
    assert (given["DEJAVU_LEDGER"], given["DEJAVU_ADAPTIVE"]) == (ledger["url"], "shadow")
    names = [each["name"] for each in server["env"]]
    assert len(names) == len(set(names))  # Kubernetes refuses two of a name
    [policy] = of_kind(objects, "NetworkPolicy", "dejavu-server")
    assert {"to": peers, "ports": [{"port": 6432}]} in policy["spec"]["egress"]
    assert [{"port": 6380}] in [each["ports"] for each in policy["spec"]["egress"]]
    assert not of_kind(rendered({"network": {"policies": False}}), "NetworkPolicy")
    claims = of_kind(rendered({**VALUES["folder"], "storageClass": "fast"}), "PersistentVolumeClaim")
    assert {each["metadata"]["name"] for each in claims} == {"dejavu-ledger", "dejavu-models", "dejavu-retrain"}
    for each in claims:  # they stay when the release is uninstalled
        assert each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_values_of_the_guide_are_such() -> None:
    [values] = [block.text for block in blocks("docs/deployment.md", "yaml") if block.text.startswith("server:")]
    objects = rendered(yaml.safe_load(values))
    [server] = [container for _, container in containers(objects) if container["name"] == "server"]
    assert environment(server)["DEJAVU_LEDGER"] == "postgresql://dejavu@db.example/dejavu"
    assert of_kind(objects, "HorizontalPodAutoscaler")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"server": {"replica": 2}}, "'replica' not allowed"),
        ({"server": {"workers": "4"}}, "'/server/workers'"),
        ({"server": {"workers": 65}}, "'/server/workers'"),
        ({"server": {"env": {"NO-NAME": "5"}}}, "NO-NAME"),
        ({"server": {"memoryMebibytes": 900}}, "server.memoryMebibytes: 900"),
        ({"server": {"replicas": 2}}, "set ledger.url for more"),
        ({"server": {"maxReplicas": 2}}, "set ledger.url for more"),
        ({"ledger": {"url": DATABASE}, "server": {"replicas": 3, "maxReplicas": 2}}, "server.maxReplicas: 2"),
        ({"ledger": {"url": "postgresql://me:secret@db/own"}}, "'/ledger/url'"),
        ({"ledger": {"url": "sqlite:////tmp/ledger"}}, "'/ledger/url'"),
        ({"ledger": {"peers": [{"ipBlock": {"cidr": "db.example"}}]}}, "'/ledger/peers/0/ipBlock/cidr'"),
        ({"cache": {"redis": "memcached://cache"}}, "'/cache/redis'"),
        ({"models": {"store": "models"}}, "'/models/store'"),
        ({"images": {"registry": "registry.example.com"}}, "'/images/registry'"),
        ({"tokens": {"secret": "own-tokens"}}, "tokens.secret needs tls.secret"),
        ({"retrain": {"enabled": True}}, "retrain.enabled needs models.store"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: Manifest, named: str) -> None:
    assert named in refusal(values)


def test_a_release_whose_names_kubernetes_would_refuse_is_refused() -> None:
    assert rendered({}, "a" * 44)
    for release in ("a" * 45, "1st", "my.release"):
        assert f'release name "{release}"; expected at most 44' in refusal({}, release)


def test_every_value_is_in_the_schema_with_no_other_beside_it() -> None:
    free = {"resources", "env", "nodeSelector", "labels"}  # maps with keys of the user

    def check(values: Manifest, schema: Manifest) -> None:
        assert schema["additionalProperties"] is False
        assert values.keys() == schema["properties"].keys() - {"global"}
        for name, each in values.items():
            if isinstance(each, dict) and name not in free:
                check(each, schema["properties"][name])

    check(yaml.safe_load((CHART / "values.yaml").read_text()), json.loads((CHART / "values.schema.json").read_text()))


@pytest.mark.parametrize("release", RELEASES)
def test_prometheus_reads_every_pod_under_the_jobs_of_the_alerts(release: str, tmp_path: Path) -> None:
    objects = rendered(VALUES["all"], release)
    [monitor], [rules] = of_kind(objects, "ServiceMonitor"), of_kind(objects, "PrometheusRule")
    assert monitor["metadata"]["labels"]["release"] == rules["metadata"]["labels"]["release"] == "prometheus"
    jobs, ports = {}, {each["port"] for each in monitor["spec"]["endpoints"]}
    for service in of_kind(objects, "Service"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        [port] = [each["targetPort"] for each in service["spec"]["ports"] if each["name"] in ports]
        for pod in pods(objects):
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items():
                assert port in {each["name"] for each in pod["spec"]["containers"][0]["ports"]}
                jobs[service["metadata"]["labels"][monitor["spec"]["jobLabel"]]] = service
    assert len(jobs) == 3
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(rules["spec"]))
    assert set(re.findall(r'job="([\w-]+)"', path.read_text())) == jobs.keys()
    run = subprocess.run([promtool(), "check", "rules", str(path)], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    if release == "dejavu":
        assert rules["spec"] == yaml.safe_load(RULES.read_text())
