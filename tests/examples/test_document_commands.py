"""Runs the commands of the documents as a newcomer does: in their order, on one server, each with something to show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.programs.document_commands import all_commands, reader, without_comment

NBA = "reads the NBA's site, which is not reached from everywhere; tests/client and tests/trainer run it on a replay"
SEASONS = "needs the real seasons, which are not part of the project; the trainer's tests run it on simulated ones"
HOURS = "measures for minutes to hours: make nightly"
STUBS = "test_documents.py runs it, with the generators that are installed"

ELSEWHERE = {
    r"(pip install|dejavu-dashboard) ": "tests/gateway starts it; test_wheel.py looks at what an installation gets",
    r"(grpcurl -plaintext -d '\{\"model_name\"|curl .*/v2/)": "test_open_inference_document.py runs them",
    r"make ": "runs the tests, or the demo (tests/e2e/test_demo.py), or is run by .ci/run",
    r"dejavu poll( #|$| --metrics-listen)": NBA,
    r"dejavu-trainer fetch ": NBA,
    r"dejavu-trainer .*--data DIR ": SEASONS,
    r"python -m bench\.": HOURS,
    r"dejavu-trainer (simulate|fit|evaluate|backtest|adapt|compare|import|refresh|retrain) ": (
        "trains for minutes: test_the_trainers_commands_run_in_order does so nightly, or tests/trainer"
    ),
    r"dejavu-server (ledger export|--bundle) ": (
        "trains for minutes: test_the_trainers_commands_run_in_order does so nightly, or tests/trainer and "
        "tests/server/cli on smaller seasons"
    ),
    r"(python -m grpc_tools|buf build|proto-loader-gen-types|protoc |npm |GO111MODULE|g\+\+ |OUT/)": (
        f"{STUBS}; test_node.py, test_go.py and test_stream_rules.py run the programs"
    ),
    r"dejavu-server (--listen 127\.0\.0\.1:50051 --workers 4|--model-store) ": "writes to /var/lib",
    r"dejavu-server ledger copy --ledger ": "needs a PostgreSQL server: tests/server/ledger/copies",
    r"dejavu-server --listen 127\.0\.0\.1:50051 --ledger": "the examples are run on a server of tests/examples",
    r"dejavu predict [^\0]* --home BOS --away LAL --horizon final\s+--game-date 2024-11-01$": (
        "is shown with its output, and run further below"
    ),
    r"dejavu (notify|notifications) ?": "tests/cli/test_notify.py runs them with targets of its own",
    r"umask |dejavu-server token |dejavu-server --listen 0\.0\.0\.0:50051 ": (
        "tests/server/cli/test_token.py and tests/server/access do; they open a port to other machines"
    ),
}
"""Commands that no reader below runs → the reason."""

READERS: dict[str, dict[str, str | None]] = {
    "of the README and of a first evening": {"README.md": None, "docs/first-evening.md": None},
    "of the track record and of the calls": {
        "docs/record.md": None,
        "docs/verification.md": None,
        "docs/calls.md": None,
        "docs/clients.md": r"grpcurl ",
        "docs/operations.md": (
            r"dejavu (stats|doctor)|grpcurl [^\0]*OperationsService|dejavu-server ledger (backup|restore|cop)"
        ),
    },
}
"""Name of a reader → the documents whose commands it runs, and a pattern of these commands; None for all."""


def left_out(command: str) -> str | None:
    """Return why a command is not run here; None if it is."""
    return next((why for start, why in ELSEWHERE.items() if re.match(start, without_comment(command))), None)


def of_reader(name: str) -> list[str]:
    """Return the commands that a reader runs, in order."""
    documents = READERS[name]
    return [
        command
        for document, only in documents.items()
        for command in all_commands()[document]
        if left_out(command) is None and (only is None or re.match(only, command))
    ]


def test_every_command_of_every_document_is_run_or_has_a_reason_not_to_be() -> None:
    run = {command for name in READERS for command in of_reader(name)}
    assert [
        (document, command)
        for document, commands in all_commands().items()
        for command in commands
        if command not in run and left_out(command) is None
    ] == []


def test_every_reason_is_still_needed() -> None:
    everything = [without_comment(command) for commands in all_commands().values() for command in commands]
    assert [start for start in ELSEWHERE if not any(re.match(start, command) for command in everything)] == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", READERS)
@pytest.mark.timeout(400)
def test_the_commands_run_in_the_order_of_the_documents(name: str, tmp_path: Path) -> None:
    shown = dict[str, str]()
    with reader(tmp_path) as newcomer:
        for command in of_reader(name):
            shown[without_comment(command)] = newcomer.run(command)
    [card] = [output for command, output in shown.items() if command.startswith("dejavu scorecard")]
    assert "Brier score" in card
    [leaders] = [output for command, output in shown.items() if command.startswith("dejavu leaderboard")]
    assert "versions with 1 game or more" in leaders
    [verified] = [output for command, output in shown.items() if command.startswith("dejavu-server ledger verify")]
    assert ": valid" in verified
    assert "consistent with the outcomes" in verified


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_the_trainers_commands_run_in_order(tmp_path: Path) -> None:
    with reader(tmp_path, seconds=1200) as newcomer:
        for command in all_commands()["docs/training.md"]:
            if re.match(r"dejavu-trainer (simulate|fit|evaluate|backtest|adapt|compare) (?!--data DIR)", command):
                newcomer.run(command)
        newcomer.run("dejavu-server --bundle bundle --allow-unfit --ledger sqlite:////tmp/try.sqlite3")
        assert "unfit" in newcomer.run("dejavu models")
