"""The part on notifications: its rules load, its table is that of the code, its program verifies a signature."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter
from tests.support.harness.documents import blocks, rows

from dejavu_common.clock import utc_now
from dejavu_poller.notify.bodies import request
from dejavu_poller.notify.conditions import Message
from dejavu_poller.notify.rules import TEMPLATE_FIELDS, GameRule, SilenceRule, Target, load_rules

DOCUMENT = "docs/watch.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("block", blocks(DOCUMENT, "toml"), ids=lambda block: block.text.split("\n")[0])
def test_its_rules_load(block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK", "https://hooks.slack.com/services/T/B/X")
    monkeypatch.setenv("STUDIO_SECRET", SECRET)
    (tmp_path / "rules.toml").write_text(block.text)
    assert load_rules(tmp_path / "rules.toml").rules


def test_its_table_has_every_kind_with_its_defaults() -> None:
    kinds = {kind.model_fields["kind"].annotation.__args__[0]: kind for kind in get_args(GameRule | SilenceRule)}
    table = {row[0]: " ".join(row[1:]) for row in rows(DOCUMENT, "kind") if row[0] in kinds}
    assert table.keys() == kinds.keys()
    for kind, text in table.items():
        for name, field in kinds[kind].model_fields.items():
            if name not in {"kind", "name", "targets", "teams"} and kind != "poller_silent":
                assert name in text, (kind, name)
                assert f"({field.default:g}" in text, (kind, name)


def test_its_json_is_what_is_sent_and_its_program_verifies_it() -> None:
    [shown] = [json.loads(block.text) for block in blocks(DOCUMENT, "json") if "version" in block.text]
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
    [program] = blocks(DOCUMENT, "python")
    names: dict[str, Any] = {}
    exec(program.text, names)
    assert names["received"](sent.body, dict(sent.headers), SECRET) == shown


def test_it_names_every_field_of_a_template() -> None:
    text = Path(DOCUMENT).read_text()
    assert [name for name in TEMPLATE_FIELDS if f"`${name}`" not in text] == []


def test_its_automation_is_yaml_and_triggers_on_what_is_sent() -> None:
    [block] = blocks(DOCUMENT, "yaml")
    [automation] = yaml.safe_load(block.text)["automation"]
    assert "dejavu.close_late" in automation["conditions"]
