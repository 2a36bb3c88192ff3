"""The contents of the Dockerfile and of the manifests in deploy/, as data."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from release import changes
from tests.deploy.containers import DOCKERFILE, ROOT
from tests.support.harness.required import required_program

from dejavu_server.cli.options import options
from dejavu_server.settings import Settings

KUBERNETES = ROOT / "deploy/kubernetes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = changes((ROOT / "CHANGELOG.md").read_text())[0]

Manifest = dict[str, Any]


def rendered(folder: Path) -> list[Manifest]:
    """Return the objects that kustomize makes from a folder.

    Raises:
        AssertionError: if it refuses the folder.
    """
    command = [required_program("kubectl", "none; that of Kubernetes, 1.27 or newer"), "kustomize", str(folder)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return list(yaml.safe_load_all(run.stdout))


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
    sources = [path for name in ("dejavu_client", "dejavu_gateway") for path in (ROOT / "client" / name).rglob("*.py")]
    return frozenset(name for path in sources for name in re.findall(r'"(DEJAVU_[A-Z_]+)"', path.read_text()))


def settings(environment: dict[str, str]) -> Settings:
    """Return the settings of a server with this environment.

    Raises:
        pydantic.ValidationError: if a value is invalid.
    """
    named = {option.variable: name for name, option in options().items()}
    given = {named[name]: value for name, value in environment.items() if name in named and value}
    return Settings.model_validate(given)


def containers(objects: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Yield (pod specification, container) of every Deployment."""
    for each in objects:
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            for container in pod["containers"]:
                yield pod, container


def of_kind(objects: list[Manifest], kind: str, name: str = "") -> list[Manifest]:
    """Return the objects of a kind whose names begin with `name`."""
    return [each for each in objects if each["kind"] == kind and each["metadata"]["name"].startswith(name)]
