"""The job that retrains runs the trainer's own command, once at a time, and shares a model store with the servers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deploy.manifests import (
    VALUES,
    VERSION,
    Manifest,
    environment,
    of_kind,
    pods,
    rendered,
    stages,
    unknown_to_trainer,
)


@pytest.fixture(params=["folder", "all"])
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(VALUES[request.param])


@pytest.fixture
def job(objects: list[Manifest]) -> Manifest:
    [found] = of_kind(objects, "CronJob")
    return found


def pod_of(job: Manifest) -> dict[str, Any]:
    [pod] = pods([job])
    return dict(pod["spec"])


def option(job: Manifest, name: str) -> list[str]:
    """Return the values of an option of its command."""
    [container] = pod_of(job)["containers"]
    return [each.partition("=")[2] for each in container["args"] if each.startswith(f"{name}=")]


def server_of(objects: list[Manifest]) -> Manifest:
    [server] = of_kind(objects, "Deployment", "dejavu-server")
    return dict(server["spec"]["template"]["spec"])


def test_its_command_is_one_that_the_trainer_takes(job: Manifest) -> None:
    [container] = pod_of(job)["containers"]
    assert container["image"] == f"dejavu-trainer:{VERSION}"
    assert "trainer" in stages()
    assert unknown_to_trainer(container["args"]) == []


def test_one_runs_at_a_time_and_goes_on_from_its_volume(job: Manifest) -> None:
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = pod_of(job)
    [container] = pod["containers"]
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    kept = {each["name"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
    [work] = option(job, "--work")
    assert any(work.startswith(f"{mounted[name]}/") for name in kept)


def test_it_writes_to_the_store_of_the_servers(job: Manifest, objects: list[Manifest]) -> None:
    [store] = option(job, "--store")
    both = pod_of(job), server_of(objects)
    assert environment(both[1]["containers"][0])["DEJAVU_MODEL_STORE"] == store
    if "://" in store:
        [secret] = {str(each["containers"][0]["envFrom"]) for each in both}
        [account] = {each["serviceAccountName"] for each in both}
        assert ("dejavu-store" in secret, account) == (True, "dejavu-models")
    else:
        claims = set()
        for pod in both:
            [volume] = [each["name"] for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == store]
            claims |= {str(each["persistentVolumeClaim"]) for each in pod["volumes"] if each["name"] == volume}
        assert claims == {"{'claimName': 'dejavu-models'}"}
        [claim] = of_kind(objects, "PersistentVolumeClaim", "dejavu-models")
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_it_reaches_servers_database_and_store_only(job: Manifest, objects: list[Manifest]) -> None:
    [policy] = of_kind(objects, "NetworkPolicy", "dejavu-retrain")
    assert "ingress" not in policy["spec"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    servers, *others = policy["spec"]["egress"]
    [server] = of_kind(objects, "Deployment", "dejavu-server")
    assert servers["to"] == [{"podSelector": server["spec"]["selector"]}]
    [served] = of_kind(objects, "NetworkPolicy", "dejavu-server")
    assert {"podSelector": policy["spec"]["podSelector"]} in served["spec"]["ingress"][0]["from"]
    shared = [each for each in served["spec"].get("egress", []) if each["ports"] != [{"port": 6379}]]
    assert others == shared
    assert len(others) == 2 * ("s3://" in str(option(job, "--store")))


def test_it_reads_the_ledger_of_several_servers_with_its_password(job: Manifest, objects: list[Manifest]) -> None:
    ledger = environment(server_of(objects)["containers"][0])["DEJAVU_LEDGER"]
    assert (ledger in option(job, "--from")) == ledger.startswith("postgresql:")
    [container] = pod_of(job)["containers"]
    assert ("PGPASSWORD" in {each["name"] for each in container["env"]}) == ledger.startswith("postgresql:")
