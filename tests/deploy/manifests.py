"""The contents of the Dockerfile and of the Helm chart in deploy/, as data."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from release import changes
from tests.deploy.containers import DOCKERFILE, ROOT

from dejavu_server.cli.options import options
from dejavu_server.settings import Settings

CHART = ROOT / "deploy/helm/dejavu"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = changes((ROOT / "CHANGELOG.md").read_text())[0]

Manifest = dict[str, Any]


DATABASE = "postgresql://dejavu@postgres.databases.svc.cluster.local/dejavu"

VALUES: dict[str, Manifest] = {
    "small": {},
    "postgres": {"ledger": {"url": DATABASE}, "server": {"replicas": 2}},
    "tls": {"tls": {"secret": "dejavu-tls"}, "tokens": {"secret": "dejavu-tokens"}},
    "folder": {
        "models": {"store": "volume"},
        "retrain": {"enabled": True},
        "server": {"workers": 3, "memoryMebibytes": 4096, "graceSeconds": 30},
    },
    "all": {
        "ledger": {"url": DATABASE},
        "server": {"replicas": 2, "maxReplicas": 6, "workers": 4},
        "tls": {"secret": "dejavu-tls"},
        "tokens": {"secret": "dejavu-tokens"},
        "cache": {"redis": "redis://redis.caches.svc.cluster.local:6379/0"},
        "models": {"store": "s3://models/dejavu", "secret": "dejavu-store", "serviceAccount": "dejavu-models"},
        "retrain": {"enabled": True},
        "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
    },
}
"""Values of the chart by a name, on which its promises are tested."""


@cache
def _helm(release: str, values: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("helm_python", reason="there is no wheel of helm-python-sdk for this machine")
    command = [sys.executable, str(ROOT / "tests/support/programs/helm_render.py"), str(CHART), release, values]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def rendered(values: Manifest, release: str = "dejavu") -> list[Manifest]:
    """Return the objects that the chart makes with these values, as `helm template` does.

    Raises:
        AssertionError: if Helm refuses the values, or if `helm lint` finds something wrong.
    """
    run = _helm(release, json.dumps(values))
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["wrong"] == []
    texts = [text for name, text in found["templates"].items() if name.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def refusal(values: Manifest, release: str = "dejavu") -> str:
    """Return the message with which Helm refuses these values; "" if it takes them."""
    run = _helm(release, json.dumps(values))
    return run.stderr.rpartition("helm_python.errors.")[2] if run.returncode else ""


@cache
def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return the stages of the Dockerfile by name: the stage or image that each is made from, and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    instructions: list[tuple[str, str]] = []
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    for line in text.replace("\\\n", " ").splitlines():
        instruction, _, value = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = value.split()
            instructions = []
            found[name] = (base, instructions)
        elif instruction:
            instructions.append((instruction, " ".join(value.split())))
    return found


def image_environment(target: str) -> dict[str, str]:
    """Return the environment variables of an image."""
    base, instructions = stages()[target]
    found = image_environment(base) if base in stages() else {}
    for instruction, value in instructions:
        if instruction == "ENV":
            found |= dict(pair.split("=", 1) for pair in value.split())
    return found


@cache
def variables(program: str) -> frozenset[str]:
    """Return the environment variables that the program of a Dockerfile target knows."""
    if program == "server":
        # The server's image has the client too, whose `dejavu health` the probes run.
        return frozenset(option.variable for option in options().values()) | {"DEJAVU_CA"}
    told = subprocess.run(
        [sys.executable, "-m", "dejavu_gateway", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    sources = (path.read_text() for path in (ROOT / "client").rglob("*.py"))
    named = (re.findall(r'"(DEJAVU_[A-Z_]+)"', source) for source in sources)
    return frozenset(re.findall(r"DEJAVU_[A-Z_]+", told.stdout)).union(*named)


def settings(environment: dict[str, str]) -> Settings:
    """Return the settings of a server with this environment.

    Raises:
        pydantic.ValidationError: if a value is invalid.
    """
    named = {option.variable: name for name, option in options().items()}
    given = {named[name]: value for name, value in environment.items() if name in named and value}
    return Settings.model_validate(given)


def pods(objects: list[Manifest]) -> Iterator[Manifest]:
    """Yield the template of the pods of every Deployment and CronJob."""
    for each in objects:
        match each["kind"]:
            case "Deployment":
                yield each["spec"]["template"]
            case "CronJob":
                yield each["spec"]["jobTemplate"]["spec"]["template"]


def containers(objects: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Yield (pod specification, container) of every Deployment."""
    for each in objects:
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            for container in pod["containers"]:
                yield pod, container


def environment(container: Manifest) -> dict[str, str]:
    """Return the environment variables that a container gets, without those from secrets."""
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def of_kind(objects: list[Manifest], kind: str, name: str = "") -> list[Manifest]:
    """Return the objects of a kind whose names begin with `name`."""
    return [each for each in objects if each["kind"] == kind and each["metadata"]["name"].startswith(name)]


def check_restricted(pod: Manifest) -> None:
    """Check that a pod satisfies the restricted standard, and more.

    Raises:
        AssertionError: if it does not.
    """
    assert pod["automountServiceAccountToken"] is False
    user = pod["securityContext"]
    assert (user["runAsNonRoot"], user["runAsUser"], user["fsGroup"]) == (True, 10001, 10001)
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        own = container["securityContext"]
        assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def unknown_to_trainer(command: Sequence[str]) -> list[str]:
    """Return the options of a command of the trainer's that the trainer does not have."""
    from dejavu_trainer.__main__ import main

    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        main([command[0], "--help"])
    return [each for each in command[1:] if each.partition("=")[0] not in shown.getvalue()]


def schema_errors(path: Path) -> list[str]:
    """Return what Kubernetes' schema of all objects of a file finds wrong, by kubernetes-validate."""
    program = str(Path(sys.executable).with_name("kubernetes-validate"))
    run = subprocess.run([program, "--strict", str(path)], check=False, capture_output=True, text=True)
    wrong = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("ERROR")]
    assert bool(run.returncode) == bool(wrong), run.stdout + run.stderr
    return wrong
