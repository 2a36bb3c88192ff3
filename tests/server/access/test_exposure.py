from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.processes.servers import spawned_server
from typer.testing import CliRunner

from dejavu_server.access.exposure import fault
from dejavu_server.cli.serve import app
from dejavu_server.settings import Settings

TLS: dict[str, Any] = {"tls_cert": "c.pem", "tls_key": "k.pem"}
JWT: dict[str, Any] = {"jwks": "j.json", "jwt_issuer": "i", "jwt_audience": "a"}


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.7", "[2001:db8::1]", "no.such.host.invalid"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no TLS and no tokens"),
        (TLS, "has no tokens"),
        ({"tokens": "t.json"}, "has no TLS"),
        (JWT, "has no TLS"),
        ({**TLS, "tokens": "t.json"}, None),
        ({**TLS, **JWT}, None),
    ],
)
def test_an_address_that_others_reach_needs_tls_and_tokens(host: str, given: dict[str, Any], said: str | None) -> None:
    found = fault(Settings(listen=f"{host}:0", **given))
    if said is None:
        assert found is None
        return
    option, text = found or ("", "")
    assert (option, said in text, "--insecure" in text) == ("--listen", True, True)
    assert fault(Settings(listen=f"{host}:0", **given, insecure=True)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost"])
def test_an_address_that_only_this_machine_reaches_needs_nothing(host: str) -> None:
    assert fault(Settings(listen=f"{host}:0")) is None


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"tls_cert": "c.pem"}, "--tls-key"),
        ({"tls_key": "k.pem"}, "--tls-cert"),
        ({"tls_client_ca": "ca.pem"}, "--tls-cert"),
        ({"jwks": "j.json"}, "--jwt-issuer"),
        ({"jwks": "j.json", "jwt_issuer": "i"}, "--jwt-audience"),
        ({"jwt_issuer": "i"}, "--jwks"),
        ({"jwt_audience": "a"}, "--jwks"),
    ],
)
def test_options_that_need_others_are_refused_without_them(given: dict[str, Any], option: str) -> None:
    assert (fault(Settings(**given, insecure=True)) or ("",))[0] == option


def test_the_command_exits_with_2_and_says_what_to_do() -> None:
    result = CliRunner().invoke(app, ["--listen", "0.0.0.0:0"])
    assert result.exit_code == 2
    told = " ".join(result.output.replace("│", " ").split())
    for part in ("--listen", "0.0.0.0:0", "--tls-cert and --tls-key", "--tokens or --jwks", "--insecure"):
        assert part in told


def test_a_server_that_strangers_reach_reports_what_they_can_do_and_starts_with_no_file_that_it_cannot_use(
    tmp_path: Path,
) -> None:
    tokens = tmp_path / "tokens.json"
    tokens.write_text("nonsense")
    options = ("--ledger", f"sqlite:///{tmp_path}/l.db", "--tokens", str(tokens), "--listen", "0.0.0.0:0", "--insecure")
    with spawned_server("--workers", "1", *options) as server:
        assert "through a proxy" in server.wait_for("strangers_need_proxy")["advice"]
        event = server.wait_for("cannot_start")
        assert str(tokens) in event["reason"]
        assert server.process.wait(10) == 1
