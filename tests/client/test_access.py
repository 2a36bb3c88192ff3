"""Tokens and TLS of both clients, against a server that checks them."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.fakes.certificates import Authority
from tests.support.fakes.service import SECRET, FakeServer
from tests.support.harness.clients import AnyClient, Asynchronous

from dejavu_client import (
    HALFTIME,
    DejavuClient,
    DejavuClientError,
    HealthStatus,
    PermissionDeniedError,
    TokenFile,
    UnauthenticatedError,
    UnavailableError,
    tls_credentials,
)
from dejavu_client.access import is_local

PATTERN = [0.0, 2.0, -3.0]


def client_of(target: str, **options: object) -> AnyClient:
    return Asynchronous(target, **options)


@pytest.fixture
def guarded(server: FakeServer) -> FakeServer:
    """A server that lets the owner of SECRET predict and stream."""
    server.tokens = {SECRET: {"Predict", "StreamPredictions"}}
    return server


async def test_the_token_goes_with_calls_and_streams(guarded: FakeServer) -> None:
    async with client_of(guarded.target, token=SECRET, metadata=[("x", "y")]) as client:
        await client.call("predict", PATTERN)
        stream = client.stream(heartbeats=True)
        await anext(stream)
        await stream.aclose()
    assert [call.metadata["authorization"] for call in guarded.calls] == [f"Bearer {SECRET}"] * 2
    assert {call.metadata["x"] for call in guarded.calls} == {"y"}


@pytest.mark.parametrize("options", [{}, {"token": "djv_of-another"}])
async def test_a_refusal_says_whether_the_token_or_its_scope_is_missing(
    guarded: FakeServer, options: dict[str, str]
) -> None:
    async with client_of(guarded.target, **options) as client:
        with pytest.raises(UnauthenticatedError):
            await client.call("predict", PATTERN)
    assert len(guarded.calls) == 1, "another attempt would not help"
    async with client_of(guarded.target, token=SECRET) as client:
        with pytest.raises(PermissionDeniedError) as lacking:
            await client.call("report_outcome", "0022300001", 3, horizon=HALFTIME)
    assert (lacking.value.reason, lacking.value.scope) == ("SCOPE_MISSING", "outcome")


async def test_a_rotated_token_file_is_followed(guarded: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("djv_old\n")
    async with client_of(guarded.target, token=TokenFile(file)) as client:
        with pytest.raises(UnauthenticatedError):
            await client.call("predict", PATTERN)
        (tmp_path / "new").write_text(f"{SECRET}\n")
        (tmp_path / "new").replace(file)
        await client.call("predict", PATTERN)
        file.unlink()
        await client.call("predict", PATTERN)
        file.write_text("")
        await client.call("predict", PATTERN)


def test_a_token_file_has_to_contain_a_token_at_first(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TokenFile(tmp_path / "none")
    for contents in (b"", b"\n\n", b"two words", b"\xff\xfe", "schlüssel".encode()):
        (tmp_path / "token").write_bytes(contents)
        with pytest.raises(ValueError, match="expected") as caught:
            TokenFile(tmp_path / "token")
        assert "words" not in str(caught.value)


@pytest.mark.parametrize("target", ["forecasts.example.com:443", "192.0.2.1:50051", "dns:///forecasts:50051"])
def test_a_token_is_not_sent_in_plain_text_to_another_machine(target: str) -> None:
    with pytest.raises(ValueError, match=r"plain text.*tls_credentials") as caught:
        client_of(target, token=SECRET)
    assert SECRET not in str(caught.value)
    client_of(target, token=SECRET, credentials=tls_credentials())
    client_of(target, token=SECRET, allow_plaintext_token=True)
    client_of(target)


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("127.0.0.1:50051", True),
        ("localhost:50051", True),
        ("LOCALHOST.", True),
        ("ipv6:[::1]:50051", True),
        ("unix:/run/dejavu.sock", True),
        ("dns:///localhost:50051", True),
        ("ipv4:127.0.0.1:1,192.0.2.1:1", False),
        ("0.0.0.0:50051", False),
        ("localhost.example.com:50051", False),
        ("127.0.0.1.example.com:50051", False),
        ("dns://127.0.0.1/forecasts:50051", False),
        ("xds:///127.0.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
        ("forecasts", False),
        ("", False),
    ],
)
def test_which_addresses_are_of_this_machine(target: str, local: bool) -> None:
    assert is_local(target) is local


@pytest.mark.parametrize(
    "options",
    [
        *({"token": token} for token in ("", "  ", "two words", "line\nbreak", "schlüssel", 7)),
        {"token": SECRET, "metadata": [("Authorization", "Bearer words")]},
    ],
)
def test_what_cannot_be_a_token_or_is_one_too_many_is_refused_without_repeating_it(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|one of them") as caught:
        client_of("127.0.0.1:1", **options)
    assert "words" not in str(caught.value)


async def test_no_message_repr_log_or_traceback_contains_the_token(
    guarded: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET)
    caplog.set_level("DEBUG")
    source = TokenFile(file)
    texts = [repr(source)]
    for token in (SECRET, source):
        async with client_of(guarded.target, token=token, slow=0.0) as client:
            with pytest.raises(PermissionDeniedError) as caught:
                await client.call("list_models")
            await client.call("predict", PATTERN)
            texts += [repr(client), str(vars(client)), repr(caught.value), str(vars(caught.value)), caplog.text]
            texts += [repr(caught.value.__cause__), "".join(traceback.format_exception(caught.value))]
    file.unlink()
    source()
    assert "token_file_unreadable" in caplog.text
    assert not [text for text in [*texts, caplog.text] if SECRET in text]


async def test_mutual_tls_by_files(mutual: FakeServer, authority: Authority) -> None:
    mutual.tokens = {SECRET: {"Predict"}}
    own = authority.issue("client")
    credentials = tls_credentials(ca=authority.certificate, certificate=own.certificate, key=own.key)
    target = f"localhost:{mutual.port}"
    async with client_of(target, credentials=credentials, token=SECRET, timeout=20.0) as client:
        assert await client.call("health") is HealthStatus.SERVING
        await client.call("predict", PATTERN)


async def test_renewed_authorities_are_trusted_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    """By an open client, whose connection to the former server has ended; a file half written harms nothing."""
    renewed, trusted = Authority(tmp_path, "renewed"), tmp_path / "trusted.pem"
    trusted.write_bytes(authority.certificate.read_bytes())
    former = FakeServer(credentials=grpc.ssl_server_credentials([authority.issue("server").contents()]))
    with former as server:
        address, credentials = server.target, tls_credentials(ca=trusted)
        async with client_of(address, credentials=credentials, timeout=20.0) as client:
            await client.call("predict", PATTERN)
            server.stop()
            trusted.write_bytes(b"-----BEGIN")
            with pytest.raises(DejavuClientError):
                await client.call("predict", PATTERN, timeout=0.5)
            trusted.write_bytes(renewed.certificate.read_bytes())
            server.credentials = grpc.ssl_server_credentials([renewed.issue("server").contents()])
            server.start()
            await client.call("predict", PATTERN)


async def test_a_server_that_tls_does_not_reach_is_unavailable_with_the_reason(
    mutual: FakeServer, server: FakeServer, authority: Authority, tmp_path: Path
) -> None:
    ours, others = (tls_credentials(ca=each.certificate) for each in (authority, Authority(tmp_path, "other")))
    for target, credentials, reason in (
        (mutual.target, ours, "client certificate"),
        (mutual.target, others, "cannot trust"),
        (mutual.target, None, "does it expect TLS"),
        (server.target, ours, "answers in plain text"),
    ):
        async with client_of(target, credentials=credentials) as client:
            with pytest.raises(UnavailableError, match=reason):
                await client.call("health", timeout=20.0)


def test_files_of_the_wrong_kind_are_refused_by_name(authority: Authority, tmp_path: Path) -> None:
    own, other = authority.issue("client"), authority.issue("other")
    with pytest.raises(ValueError, match=r"ca=.*client-key.pem.* contains no valid certificate"):
        tls_credentials(ca=own.key)
    with pytest.raises(ValueError, match="certificate is given without key"):
        tls_credentials(certificate=own.certificate)
    with pytest.raises(ValueError, match=r"other-key.pem.*key values mismatch"):
        tls_credentials(certificate=own.certificate, key=other.key)
    with pytest.raises(FileNotFoundError):
        tls_credentials(ca=tmp_path / "none")


def test_a_token_that_changes_to_none_is_refused_at_the_call(guarded: FakeServer) -> None:
    with DejavuClient(guarded.target, token=lambda: "") as client, pytest.raises(ValueError, match="token is empty"):
        client.predict(PATTERN)
