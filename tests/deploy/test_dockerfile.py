"""The Dockerfile installs from locks only, and its images agree with the programs in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.deploy.containers import ROOT
from tests.deploy.manifests import PROJECT, VERSION, image_environment, settings, stages, variables

from dejavu_common.address import Address
from lock_requirements import LOCKS, TORCH_LOCK, parse

TARGETS = ("server", "client", "poller", "dashboard", "trainer")


def values(target: str, instruction: str) -> list[str]:
    """Return the values of an instruction in a stage and in the stages that it is made from."""
    base, instructions = stages()[target]
    inherited = values(base, instruction) if base in stages() else []
    return inherited + [value for name, value in instructions if name == instruction]


def test_every_package_of_an_image_has_its_hashes() -> None:
    used = {
        lock for _, lines in stages().values() for _, line in lines for lock in re.findall(r"\w+/require\S+txt", line)
    }
    assert used <= {*LOCKS, TORCH_LOCK}
    assert len(used) == len(TARGETS) + 3  # with the builds of our wheel and of hnswlib, and torch
    for lock in used:
        assert [name for name, each in parse((ROOT / lock).read_text()).items() if not each.hashes] == []
    script = (ROOT / "deploy/environment.sh").read_text()
    installs = [line for _, lines in stages().values() for _, line in lines if " pip " in line or "/pip " in line]
    for line in (*installs, *(line for line in script.splitlines() if "/pip " in line)):
        assert "--require-hashes" in line or "--no-index" in line, line


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_a_program_of_ours_as_its_user(target: str) -> None:
    assert values(target, "USER") == ["10001:10001"]
    assert values(target, "STOPSIGNAL") == ["SIGTERM"]
    [entry] = values(target, "ENTRYPOINT")
    [program] = json.loads(entry)  # the exec form: no shell between the signal and the program
    assert program in PROJECT["scripts"]
    for check in values(target, "HEALTHCHECK"):
        assert json.loads(check[check.index("CMD") + 3 :])[0] in PROJECT["scripts"]
    assert f'image.title="dejavu-{target}"' in " ".join(values(target, "LABEL"))


@pytest.mark.parametrize("target", ["server", "poller", "dashboard"])
def test_the_ports_of_an_image_are_those_on_which_its_program_listens(target: str) -> None:
    environment = {name: value for name, value in image_environment(target).items() if name.startswith("DEJAVU_")}
    assert environment.keys() <= variables(target)
    listened = {str(Address.parse(value).port) for name, value in environment.items() if name.endswith("LISTEN")}
    assert {port for value in values(target, "EXPOSE") for port in value.split()} == listened


def test_the_server_keeps_its_ledger_and_its_copies_of_models_on_volumes() -> None:
    environment = image_environment("server")
    ledger = str(Path(settings(environment).ledger.removeprefix("sqlite:///")).parent)
    assert values("server", "VOLUME") == [f"{ledger} {environment['XDG_CACHE_HOME']}"]
    assert f"VERSION={VERSION}" in values("server", "ARG")


def test_no_secret_or_history_gets_into_the_context_of_a_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert not any(name.startswith((".git", "tests", "deploy/secrets", ".venv")) for name in allowed)
    assert "deploy" not in allowed
