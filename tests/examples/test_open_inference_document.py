"""The tensors of docs/calls.md: program and commands run unchanged, the tables name every tensor."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.harness.documents import PLACE, blocks, rows
from tests.support.processes.gateway import spawned_gateway
from tests.support.programs import examples
from tests.support.programs.triton_environment import python_with_tritonclient, run_without_our_code

from dejavu_server.api.inference.specification import INPUTS, MAX_ID, MAX_ROWS, OUTPUTS

DOCUMENT = "docs/calls.md"
GATEWAY = "127.0.0.1:8080"


def commands(program: str) -> list[str]:
    """Return the commands of a program; their JSON goes over several lines."""
    console = "".join(block.text for block in blocks(DOCUMENT, "console"))
    return [each for each in re.split(r"^\$ ", console, flags=re.MULTILINE) if each.startswith(program)]


@pytest.fixture(scope="module")
def gateway(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a gateway of the server."""
    folder: Path = tmp_path_factory.mktemp("no-page")
    with spawned_gateway("--target", address, "--web", str(folder)) as process:
        process.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
        yield str(process.wait_for("listening")["address"])


def test_the_program_runs_unchanged(address: str) -> None:
    [program] = [block for block in blocks(DOCUMENT, "python") if "tritonclient" in block.text]
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
    assert [name for cells in rows(DOCUMENT, heading) for name in cells[0].split(", ")] == list(table)


def test_the_limits_are_those_of_the_server() -> None:
    text = Path(__file__).parents[2].joinpath(DOCUMENT).read_text()
    assert f"1 to {MAX_ROWS:,} rows" in text
    assert f"more than {MAX_ID:,} characters" in text
