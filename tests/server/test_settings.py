from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dejavu_common.address import Address
from dejavu_ledger.url import check_ledger_url
from dejavu_server.cli.options import options
from dejavu_server.options import check_cache
from dejavu_server.settings import OWN_SETTINGS, Settings


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("listen", "50051"),
        ("listen", ""),
        ("listen", "127.0.0.1:65536"),
        ("listen", "127.0.0.1:²"),
        ("listen", "::1:50051"),
        ("listen", f"{'a' * 64}:50051"),
        ("workers", 65),
        ("ledger", "mysql://localhost/x"),
        ("metrics_listen", "9100"),
        ("grace_seconds", -0.1),
        ("grace_seconds", float("nan")),
        ("hang_seconds", 1.9),  # two heartbeats
        ("max_rss", -1),
        ("heartbeat_seconds", 0.0),
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


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:50051", Address("127.0.0.1", 50051)), ("[::1]:0", Address("::1", 0)), ("host:7", Address("host", 7))],
)
def test_an_address_is_read_as_it_is_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


def test_limits_are_written_as_whole_numbers_where_they_are() -> None:
    assert [each.limits for each in options().values() if re.search(r"\.0\b", each.limits)] == []


def test_the_table_of_the_documentation_is_that_of_the_fields() -> None:
    rows = ["| option | environment variable | default | meaning |", "|---|---|---|---|"]
    for flag, variable, value, default, meaning, _ in options().values():
        shown = f"`{flag} {value}`".replace(" `", "`").replace("|", "\\|") if flag else "–"
        rows.append(f"| {shown} | `{variable}` | {default} | {meaning.removesuffix('.')} |")
    table = "\n".join(rows)
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## Options$.*?^(\|.*?)\n\n", document, re.DOTALL | re.MULTILINE)
    assert section == table, f"docs/operations.md needs this table:\n{table}"


@pytest.mark.parametrize("url", ["off", "memory", "redis://h", "rediss://u:p@h:1/0?ssl_ca_certs=x", "unix:///a?db=1"])
def test_a_cache_is_off_in_memory_or_in_a_redis(url: str) -> None:
    assert check_cache(url) == url


NO_CACHE = "expected off, memory, redis://HOST"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://:secret@h", NO_CACHE),
        ("redis://:secret@/0", NO_CACHE),
        ("redis://:secret@h:port/0", NO_CACHE),
        ("redis://:secret@h/zero", NO_CACHE),
        ("redis://[secret", NO_CACHE),
        ("unix://", NO_CACHE),
        ("redis://:secret@h?user=1", "unknown options of the URL: user; expected db, ssl_ca_certs"),
    ],
)
def test_a_wrong_url_of_a_cache_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        check_cache(url)
    assert "secret" not in str(refused.value)


def test_the_settings_in_which_servers_may_differ_exist() -> None:
    assert Settings.model_fields.keys() - Settings().common().keys() == OWN_SETTINGS
