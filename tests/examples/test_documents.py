"""Runs every program, generator and message of the documents; test_document_commands.py runs the other commands."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
import yaml
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.symbol_database import Default
from pydantic import TypeAdapter
from tests.support.builders.evenings import Evening, game
from tests.support.harness.documents import PLACE, ROOT, Block, blocks, commands, rows
from tests.support.processes.recorded_games import GAMES, Record
from tests.support.programs import examples

from dejavu.v1 import prediction_service_pb2
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_common.clock import utc_now
from dejavu_feed.replay.http_server import LocalServer
from dejavu_poller.notify.conditions import Message
from dejavu_poller.notify.delivery import request
from dejavu_poller.notify.rules import TEMPLATE_FIELDS, GameRule, SilenceRule, Target, load_rules

DOCUMENTS = (
    "docs/first-evening.md",
    "docs/calls.md",
    "docs/clients.md",
    "docs/record.md",
    "docs/operations.md",
    "docs/training.md",
)
PROGRAMS = [
    block
    for document in DOCUMENTS
    for block in blocks(document, "python")
    if "tritonclient" not in block.text  # test_clients_document.py runs it
]
COMMANDS = [command for document in DOCUMENTS for command in commands(document)]
GENERATORS = [command for command in COMMANDS if "OUT" in command]

SHOWN = {
    "Boston wins": "+",
    "client.quote": "0.",
    "to_pandas": "",
    "predict_columns": "",
    "rpc_status": "INVALID_ARGUMENT INVALID_PATTERN {'field': 'pattern[2]'",
}
"""A text in a program → the start of its output."""


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs_unchanged(program: Block, address: str) -> None:
    text = program.text.replace(PLACE, address)
    if "NbaFeed()" in text:
        follow_an_evening(text, address)
        return
    done = examples.run(sys.executable, "-W", "error", "-c", text, address=address)
    assert done.returncode == 0, done.stderr
    [beginning] = [shown for word, shown in SHOWN.items() if word in text]
    assert done.stdout.startswith(beginning)


def follow_an_evening(text: str, address: str) -> None:
    """Run a program that polls, on a simulated evening instead of the NBA's feed."""
    evening = Evening([game("BOS", "LAL", lead=3)])
    evening.go_to(1081.0)
    with LocalServer(evening.replay.respond) as feed:
        text = text.replace("NbaFeed()", f"NbaFeed({feed.url!r})").replace(
            "(feed, client,", "(feed, client, interval=0.05,"
        )
        with examples.started(sys.executable, "-W", "error", "-c", text, address=address) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("LAL @ BOS")
            evening.clock.now = evening.replay.end
            assert process.wait(30) == 0


@pytest.mark.parametrize("block", blocks("docs/clients.md", "json"), ids=lambda block: block.about)
def test_a_message_in_json_is_one_of_the_contract_s(block: Block) -> None:
    assert block.about.startswith(prediction_service_pb2.DESCRIPTOR.package)
    message = Default().GetSymbol(block.about)()
    json_format.Parse(block.text, message)
    assert json_format.Parse(json_format.MessageToJson(message), type(message)()) == message


REQUESTS = [block for block in blocks("docs/clients.md", "json") if block.about.endswith("Request")]


def test_the_requests_in_json_are_accepted_by_a_server_in_their_order(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stubs = PredictionServiceStub(channel), RecordServiceStub(channel)
        for block in REQUESTS:
            request = json_format.Parse(block.text, Default().GetSymbol(block.about)())
            name = block.about.removeprefix(f"{prediction_service_pb2.DESCRIPTOR.package}.").removesuffix("Request")
            [call] = [getattr(stub, name) for stub in stubs if hasattr(stub, name)]
            assert call(request, timeout=20.0).ListFields()


def generate(command: str, folder: Path) -> None:
    done = examples.run("sh", "-c", command.replace("OUT", str(folder)), address=PLACE)
    assert done.returncode == 0, done.stderr


def generator(word: str) -> str:
    [command] = [command for command in GENERATORS if word in command]
    return command


def test_the_python_stubs_are_generated_as_documented(tmp_path: Path) -> None:
    python = ROOT / ".venv-gen" / "bin" / "python"
    if not python.exists():
        pytest.skip("no .venv-gen: run make gen")
    generate(generator("grpc_tools.protoc").replace("python ", f"{python} ", 1), tmp_path)
    generated = {path.name for path in (tmp_path / "dejavu" / "v1").iterdir()}
    assert {
        "forecast_pb2.py",
        "forecast_pb2.pyi",
        "prediction_service_pb2_grpc.py",
        "model_service_pb2_grpc.py",
    } <= generated


def test_the_descriptor_set_serves_where_there_is_no_reflection(tmp_path: Path, address: str) -> None:
    generate(generator("buf build"), tmp_path)
    image = tmp_path / "dejavu.binpb"
    assert "dejavu/v1/forecast.proto" in {file.name for file in FileDescriptorSet.FromString(image.read_bytes()).file}
    method = "dejavu.v1.ModelService/ListModels"
    called = examples.run("grpcurl", "-plaintext", "-protoset", image, address, method, address=address)
    assert called.returncode == 0, called.stderr
    assert '"models"' in called.stdout


@pytest.mark.nightly  # make install-node generates those of the example
def test_the_typescript_types_are_generated_as_documented(node: str, tmp_path: Path) -> None:
    assert Path(node).exists()
    tools = ROOT / "examples" / "node" / "node_modules" / ".bin"
    generate(f"{tools}/{generator('proto-loader-gen-types')}", tmp_path)
    assert "'sequence': (string);" in (tmp_path / "dejavu" / "v1" / "Forecast.ts").read_text()


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKED = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]


@pytest.mark.parametrize("document", LINKED, ids=lambda path: path.stem)
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        target, _, anchor = link.partition("#")
        if not target.startswith("https://"):
            path = document.parent / target if target else document
            assert path.exists(), link
            assert not anchor or anchor in anchors(path), link


@pytest.mark.parametrize("document", LINKED, ids=lambda path: path.stem)
def test_lists_and_tables_are_such_on_github_and_on_the_site(document: Path) -> None:
    """Python-Markdown, which the site is made with, wants a blank line before them, and four spaces in nested lists."""
    prose = re.sub(r"^```.*?^```$", "```", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^(?!\s|#|\||[*-] |\d+\. ).+\n(?:[*-] |\d+\. |\|).*", prose, re.MULTILINE) == []
    assert re.findall(r"^ {1,3}(?:[*-]|\d+\.) .*", prose, re.MULTILINE) == []


NOTIFICATIONS = "docs/watch.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("block", blocks(NOTIFICATIONS, "toml"), ids=lambda block: block.text.split("\n")[0])
def test_the_rules_of_notifications_load(block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK", "https://hooks.slack.com/services/T/B/X")
    monkeypatch.setenv("STUDIO_SECRET", SECRET)
    (tmp_path / "rules.toml").write_text(block.text)
    assert load_rules(tmp_path / "rules.toml").rules


def test_the_table_of_notifications_has_every_kind_with_its_defaults() -> None:
    kinds = {kind.model_fields["kind"].annotation.__args__[0]: kind for kind in get_args(GameRule | SilenceRule)}
    table = {row[0]: " ".join(row[1:]) for row in rows(NOTIFICATIONS, "kind") if row[0] in kinds}
    assert table.keys() == kinds.keys()
    for kind, text in table.items():
        for name, field in kinds[kind].model_fields.items():
            if name not in {"kind", "name", "targets", "teams"} and kind != "poller_silent":
                assert name in text, (kind, name)
                assert f"({field.default:g}" in text, (kind, name)


def test_the_json_of_a_notification_is_what_is_sent_and_the_program_verifies_it() -> None:
    [shown] = [json.loads(block.text) for block in blocks(NOTIFICATIONS, "json") if "version" in block.text]
    data = shown["data"]
    values = {name: value for name, value in data.items() if name not in {"version", *Message._fields}}
    message = Message(
        data["id"],
        data["rule"],
        "close_late",
        data["title"],
        data["text"],
        datetime(2026, 11, 28, 3, 12, 30, tzinfo=UTC),
        data["game_id"],
        data["link"],
        values,
    )
    target: Target = TypeAdapter(Target).validate_python(
        {"kind": "webhook", "url": "https://example.com", "secret": SECRET}
    )
    sent = request(target, message, utc_now())
    assert json.loads(sent.body) == shown
    [program] = blocks(NOTIFICATIONS, "python")
    names: dict[str, Any] = {}
    exec(program.text, names)
    assert names["received"](sent.body, dict(sent.headers), SECRET) == shown


def test_every_field_of_a_template_is_named() -> None:
    text = Path(NOTIFICATIONS).read_text()
    assert [name for name in TEMPLATE_FIELDS if f"`${name}`" not in text] == []


def test_the_automation_is_yaml_and_triggers_on_what_is_sent() -> None:
    [block] = blocks(NOTIFICATIONS, "yaml")
    [automation] = yaml.safe_load(block.text)["automation"]
    assert "dejavu.close_late" in automation["conditions"]


NOTEBOOK = ROOT / "examples" / "notebook" / "calibration.ipynb"


def execute(address: str, folder: Path) -> tuple[int, str, list[dict[str, Any]]]:
    """Return the exit code, what was printed to stderr, and the outputs of all cells."""
    out = folder / "out.ipynb"
    homes: dict[str, Any] = {
        "IPYTHONDIR": f"{folder}/ipython",
        "JUPYTER_DATA_DIR": f"{folder}/jupyter",
        "MPLCONFIGDIR": f"{folder}/mpl",
    }
    command = (sys.executable, "-m", "jupyter", "execute", NOTEBOOK, f"--output={out}")
    done = examples.run(*command, address=address, **homes)
    cells = json.loads(out.read_text())["cells"] if out.exists() else []
    return done.returncode, done.stderr, [output for cell in cells for output in cell.get("outputs", [])]


@pytest.mark.nightly
def test_the_notebook_draws_the_calibration_of_a_record(record: Record, tmp_path: Path) -> None:
    code, told, outputs = execute(record.address, tmp_path)
    assert code == 0, told
    printed = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert f" forecasts of {len(GAMES)} games, " in printed
    assert "expected calibration error 0." in printed
    tables = [text for output in outputs if (text := "".join(output.get("data", {}).get("text/html", "")))]
    assert [word for word in ("home won", "lower", "upper", "effective games") if word not in tables[1]] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_the_notebook_is_committed_without_results() -> None:
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
