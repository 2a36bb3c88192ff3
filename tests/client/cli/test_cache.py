"""`dejavu cache` against a real server: its statistics, clearing it, and warming all of its workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.harness.clients import Run
from tests.support.processes.servers import spawned_server

WHAT_IF = json.dumps({"pattern": PATTERN})


def test_all_workers_are_warmed_shown_and_cleared(tmp_path: Path, run: Run) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.sqlite3"
    file = tmp_path / "what-ifs.jsonl"
    file.write_text(f'{WHAT_IF}\n\n{{"pattern": [1], "alpha": 1e-9}}\n')
    with spawned_server("--workers", "2", "--ledger", ledger) as server:
        address = server.address
        warmed = run("cache", "warm", "-", "--json", "--timeout", "60", stdin=WHAT_IF, target=address)
        assert warmed.exit_code == 0, warmed.output
        told = json.loads(warmed.stdout)
        assert (told["workers"], told["workers_warmed"], told["computed"]) == (2, 2, 2)
        shown = json.loads(run("cache", "stats", "--json", target=address).stdout)
        assert (shown["backend"], shown["workers"], shown["entries"]) == ("CACHE_BACKEND_MEMORY", 2, "2")
        text = run("cache", "stats", target=address).stdout
        assert "memory of each worker" in text
        assert "hit rate" in text
        refused = run("cache", "warm", str(file), target=address)
        assert refused.exit_code == 1
        assert "1 answer kept by 2 of 2 workers (0 computed)" in refused.stdout
        assert "request 2" in refused.stderr
        assert run("cache", "clear", target=address).stdout == "cleared: 2 answers\n"
        assert json.loads(run("cache", "stats", "--json", target=address).stdout)["entries"] == "0"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("warm",), "", "warm needs a file"),
        (("stats", "file"), "", "stats takes no file"),
        (("warm", "-"), "", "has no requests"),
        (("warm", "-"), f"{WHAT_IF}\n{{", "line 2"),
        (("warm", "-"), '{"pattern": [1], "game_id": "0022300001"}', "game_id"),
        (("warm", "-"), '{"patern": [1]}', "line 1"),
        (("empty",), "", "'empty' is not one of"),
    ],
)
def test_wrong_usage_is_explained(run: Run, arguments: tuple[str, ...], stdin: str, said: str) -> None:
    result = run("cache", *arguments, stdin=stdin, width=200)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_missing_file_is_named(run: Run, tmp_path: Path) -> None:
    result = run("cache", "warm", str(tmp_path / "none"))
    assert result.exit_code != 0
    assert "none" in result.stderr
    assert "Traceback" not in result.output
