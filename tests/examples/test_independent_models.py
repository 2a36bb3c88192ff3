"""The program that checks an export without code of ours also follows the models, and the challengers beside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.server.ledger.retention.evenings import evenings_at
from tests.server.ledger.retention.test_models import prune
from tests.support.harness.documents import ROOT
from tests.support.programs import examples

from dejavu_server.cli.export_entries import export_entries
from dejavu_server.ledger.entries import canonical_json, codec

PROGRAM = ROOT / "examples" / "python" / "check_ledger.py"


def exported(folder: Path, *, pruned: bool = False) -> list[dict[str, Any]]:
    """Returns the lines of an export of a ledger with changes of models and shadows."""
    made = evenings_at(folder / "ledger.db", 3, seed=2, lifecycle=True)
    with closing(made.backend):
        if pruned:
            prune(made, 1)
    export_entries(f"sqlite:///{folder / 'ledger.db'}", folder / "entries.jsonl")
    return [json.loads(line) for line in (folder / "entries.jsonl").read_text().splitlines()]


def checked(folder: Path, lines: list[dict[str, Any]]) -> tuple[int, list[str]]:
    path = folder / "checked.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    done = examples.run(sys.executable, "-W", "error", PROGRAM, path, address="")
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("pruned", [False, True])
def test_a_sound_export_says_who_is_champion(tmp_path: Path, pruned: bool) -> None:
    code, [chained, shadows, models] = checked(tmp_path, exported(tmp_path, pruned=pruned))
    assert code == 0
    assert "entries, chained" in chained
    assert shadows.endswith(" shadows, each beside an earlier forecast of another model")
    assert models == "5 changes of models; v1 is champion since entry 2"


def first(lines: list[dict[str, Any]], kind: str, action: str = "") -> int:
    """Returns the line of the first entry of a kind, and of an action."""
    for number, line in enumerate(lines[1:], start=1):
        entry = json.loads(line["canonical"])
        if entry["kind"] == kind and action in {"", entry["payload"].get("action")}:
            return number
    raise AssertionError(f"no {kind}")


def changed(lines: list[dict[str, Any]], number: int, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes an entry, and makes all hashes fit."""
    entry = json.loads(lines[number]["canonical"])
    change(entry["payload"])
    lines[number]["canonical"] = canonical_json.dumps(entry)
    hash_ = bytes.fromhex(lines[0]["pruned_hash"])
    for line in lines[1:]:
        hash_ = codec.chain_hash(hash_, line["canonical"])
        line["hash"] = hash_.hex()


def test_what_cannot_be_is_found(tmp_path: Path) -> None:
    lines = exported(tmp_path)
    shadow, promotion, outcome = first(lines, "shadow"), first(lines, "model", "promote"), first(lines, "outcome")
    faults: list[tuple[int, Callable[[dict[str, Any]], object], str]] = [
        (shadow, lambda payload: payload.update(of=outcome), f"a shadow beside entry {outcome}, no forecast before it"),
        (
            shadow,
            lambda payload: payload["forecast"].update(model_version="v1"),
            "a shadow of the model of its forecast",
        ),
        (promotion, lambda payload: payload.update(from_version="v9"), "it replaces v9, not "),
    ]
    for number, change, complaint in faults:
        tampered = [dict(line) for line in lines]
        changed(tampered, number, change)
        code, said = checked(tmp_path, tampered)
        assert code == 1
        assert complaint in said[-1]


def test_a_shadow_with_hindsight_is_found(tmp_path: Path) -> None:
    lines = exported(tmp_path)
    shadow = json.loads(lines[first(lines, "shadow")]["canonical"])
    lines.append(
        {"sequence": len(lines), "hash": "", "canonical": canonical_json.dumps({**shadow, "sequence": len(lines)})}
    )
    changed(lines, len(lines) - 1, lambda payload: payload["forecast"].update(model_version="v7"))
    code, said = checked(tmp_path, lines)
    assert code == 1
    assert "a shadow after the outcome at entry " in said[-1]
