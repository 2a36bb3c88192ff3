from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.address import Address
from dejavu_server import settings as module
from dejavu_server.settings import (
    ADAPTIVE,
    ADAPTIVE_METHODS,
    DURABILITIES,
    LOG_FORMATS,
    LOG_LEVELS,
    RATINGS,
    Settings,
    SettingsError,
)

seconds = st.floats(1.0, 86_400.0)
shares = st.floats(0.0, 1.0, exclude_min=True)


@given(
    st.builds(
        Settings,
        listen=st.sampled_from(["127.0.0.1:50051", "[::1]:0", "localhost:1"]),
        workers=st.integers(1, 64),
        allow_unfit=st.booleans(),
        bundles=st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1).map(Path)).map(tuple),
        ledger=st.just("sqlite:////tmp/ä b.sqlite3"),
        durability=st.sampled_from(DURABILITIES),
        metrics_listen=st.sampled_from(["", "0.0.0.0:9100"]),
        grace_seconds=seconds,
        heartbeat_seconds=st.floats(0.01, 30.0),
        expires_seconds=seconds,
        adaptive=st.sampled_from(ADAPTIVE),
        adaptive_method=st.sampled_from(ADAPTIVE_METHODS),
        ratings=st.sampled_from(RATINGS),
        signing_key=st.sampled_from(["", "/tmp/ä b.pem"]),
        checkpoint_seconds=seconds,
        kelly_fraction=shares,
        kelly_cap=shares,
        confidence_threshold=st.floats(0.0, 1.0, exclude_max=True),
        log_level=st.sampled_from(LOG_LEVELS),
        log_format=st.sampled_from(LOG_FORMATS),
    )
)
def test_settings_survive_the_way_to_a_worker(settings: Settings) -> None:
    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("listen", "50051"),
        ("listen", ""),
        ("listen", "127.0.0.1:65536"),
        ("listen", "127.0.0.1:²"),
        ("listen", "::1:50051"),
        ("listen", f"{'a' * 64}:50051"),
        ("workers", 0),
        ("workers", 65),
        ("ledger", "postgresql://localhost/x"),
        ("ledger", "sqlite:///"),
        ("ledger", "sqlite:///a?b"),
        ("durability", "eternal"),
        ("metrics_listen", "9100"),
        ("grace_seconds", -0.1),
        ("grace_seconds", float("nan")),
        ("heartbeat_seconds", 0.0),
        ("heartbeat_seconds", 30.1),  # clients treat a stream as dead after 60 s of silence
        ("heartbeat_seconds", float("inf")),
        ("heartbeat_seconds", float("nan")),
        ("expires_seconds", 0.0),
        ("adaptive", "yes"),
        ("adaptive_method", "dtaci"),
        ("ratings", "none"),
        ("signing_key", "a\0b"),
        ("checkpoint_seconds", 0.9),
        ("checkpoint_seconds", float("nan")),
        ("kelly_fraction", 0.0),
        ("kelly_fraction", 1.01),
        ("kelly_cap", -0.1),
        ("kelly_cap", float("nan")),
        ("confidence_threshold", 1.0),
        ("confidence_threshold", -0.01),
        ("confidence_threshold", float("nan")),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_option(option: str, value: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings(**{option: value})
    assert refused.value.option == option


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:50051", Address("127.0.0.1", 50051)), ("[::1]:0", Address("::1", 0)), ("host:7", Address("host", 7))],
)
def test_an_address_is_read_as_it_is_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


def test_every_setting_is_documented() -> None:
    documentation = module.__doc__ or ""
    names = {"bundles": "--bundle", "grace_seconds": "--grace"}
    for field in fields(Settings):
        assert names.get(field.name, f"--{field.name.replace('_', '-')}") + " " in documentation
