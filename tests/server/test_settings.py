from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dejavu_ledger.url import check_ledger_url
from dejavu_server.cli.options import options
from dejavu_server.options import check_cache
from dejavu_server.settings import OWN_SETTINGS, Settings


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("listen", ""),
        ("listen", "127.0.0.1:65536"),
        ("workers", 65),
        ("ledger", "mysql://localhost/x"),
        ("grace_seconds", float("nan")),
        ("hang_seconds", 1.9),  # two heartbeats
        ("heartbeat_seconds", 30.1),  # clients treat a stream as dead after 60 s of silence
        ("signing_key", "a\0b"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_option(option: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(**{option: value})
    assert [fault["loc"] for fault in refused.value.errors()] == [(option,)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://dejavu@db.example/nba",
        "postgres:///nba?host=/run/postgresql",
        "postgresql://h1:5432,h2:5433/nba?target_session_attrs=any&options=-csearch_path%3Dledger",
        "postgresql://?service=nba",
    ],
)
def test_urls_of_postgresql_are_those_of_its_own_library(url: str) -> None:
    assert check_ledger_url(url) == url


def test_the_table_of_the_documentation_is_that_of_the_fields() -> None:
    rows = ["| option | environment variable | default | meaning |", "|---|---|---|---|"]
    for flag, variable, value, default, meaning, _ in options().values():
        shown = f"`{flag} {value}`".replace(" `", "`").replace("|", "\\|") if flag else "–"
        rows.append(f"| {shown} | `{variable}` | {default} | {meaning.removesuffix('.')} |")
    table = "\n".join(rows)
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## Options$.*?^(\|.*?)\n\n", document, re.DOTALL | re.MULTILINE)
    assert section == table, f"docs/operations.md needs this table:\n{table}"


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@h",
        "redis://:secret@/0",
        "redis://:secret@h:port/0",
        "redis://:secret@h/zero",
        "redis://[secret",
        "redis://:secret@h?user=1",
    ],
)
def test_a_wrong_url_of_a_cache_is_refused_without_its_password(url: str) -> None:
    assert check_cache("rediss://u:p@h:1/0?ssl_ca_certs=x")
    with pytest.raises(ValueError, match="expected") as refused:
        check_cache(url)
    assert "secret" not in str(refused.value)


def test_the_settings_in_which_servers_may_differ_exist() -> None:
    assert Settings.model_fields.keys() - Settings().common().keys() == OWN_SETTINGS
