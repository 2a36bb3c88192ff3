"""TLS of connections, and what an address that others reach needs."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import structlog
from cryptography import x509
from tests.support.builders.calls import GAME, PATTERN
from tests.support.fakes.certificates import Authority, KeyPair
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker, spawned_server
from typer.testing import CliRunner

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_client.errors import UnavailableError
from dejavu_common.address import Address
from dejavu_server.access.exposure import fault
from dejavu_server.access.files import AccessFileError
from dejavu_server.access.tls import TlsCredentials, TlsFiles
from dejavu_server.cli.serve import app
from dejavu_server.settings import Settings
from dejavu_server.worker.worker import Worker


class Secured(NamedTuple):
    """A worker with TLS, its authority and its certificate."""

    worker: Worker
    authority: Authority
    pair: KeyPair

    @property
    def client(self) -> AsyncDejavuClient:
        """A new client that trusts the authority."""
        roots = self.authority.certificate.read_bytes()
        return AsyncDejavuClient(self.worker.address, credentials=grpc.ssl_channel_credentials(roots), channels=1)

    async def serial(self) -> int:
        """Serial number of the certificate that a new connection sees."""
        host, _, port = self.worker.address.rpartition(":")
        text = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
        return ssl_serial(text)


def ssl_serial(text: str) -> int:
    return x509.load_pem_x509_certificate(text.encode()).serial_number


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    async with async_worker(tmp_path, tls_cert=str(pair.certificate), tls_key=str(pair.key)) as worker:
        yield Secured(worker, authority, pair)


async def test_plain_text_and_clients_of_another_authority_get_nowhere(secured: Secured, tmp_path: Path) -> None:
    other = grpc.ssl_channel_credentials(Authority(tmp_path, "Another").certificate.read_bytes())
    for credentials in (None, other):
        async with AsyncDejavuClient(secured.worker.address, credentials=credentials, channels=1) as client:
            with pytest.raises(UnavailableError):
                await client.predict(PATTERN, timeout=2)
    async with secured.client as client, aclosing(client.stream_predictions(include_current=True)) as events:
        forecast = await client.predict(PATTERN, horizon=HALFTIME, game_id=GAME)
        assert (await anext(events)).forecast.sequence == forecast.sequence


async def test_a_renewed_certificate_is_used_without_a_restart_and_open_connections_go_on(secured: Secured) -> None:
    async with secured.client as client:
        await client.predict(PATTERN)
        before, fitting = await secured.serial(), secured.pair.certificate.read_bytes()
        secured.pair.certificate.write_bytes(secured.authority.issue("another").certificate.read_bytes())
        with structlog.testing.capture_logs() as logs:
            await until(lambda: "access_reload_failed" in [entry["event"] for entry in logs])
        assert await secured.serial() == before, "the new one does not fit its key"
        secured.pair.certificate.write_bytes(fitting)
        secured.authority.issue("server")
        async with asyncio.timeout(20):
            while await secured.serial() == before:  # noqa: ASYNC110 - a handshake is the only sign
                await asyncio.sleep(0.05)
        await client.predict(PATTERN)
    async with secured.client as another:
        await another.predict(PATTERN)


async def test_mutual_tls_admits_only_clients_with_a_certificate_of_the_authority(tmp_path: Path) -> None:
    authority, clients = Authority(tmp_path), Authority(tmp_path, "Clients")
    pair, own = authority.issue("server"), clients.issue("client")
    foreign = Authority(tmp_path, "Strangers").issue("stranger")
    files = TlsFiles(pair.certificate, pair.key, clients.certificate)
    certificate, key, authorities = map(str, files)
    async with async_worker(tmp_path, tls_cert=certificate, tls_key=key, tls_client_ca=authorities) as worker:
        roots = authority.certificate.read_bytes()

        async def call(given: KeyPair | None) -> object:
            pair = () if given is None else (given.key.read_bytes(), given.certificate.read_bytes())
            credentials = grpc.ssl_channel_credentials(roots, *pair)
            async with grpc.aio.secure_channel(worker.address, credentials) as channel:
                return await PredictionServiceStub(channel).Predict(PredictRequest(pattern=PATTERN), timeout=3)

        assert await call(own)
        for refused in (None, foreign):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(refused)
            assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def test_no_handshake_writes_what_its_sender_likes_into_the_log(tmp_path: Path) -> None:
    """gRPC's core would print the server name that a handshake asks for, before any certificate or token.

    Its log has another format: every line of the server's is JSON, whatever reaches the port.
    """
    forged = b'x\x1b]0;owned\x07\n{"event": "access_reloaded", "level": "info", "path": "tokens"}\n'
    name = "a" * 40 + "." + "b" * (len(forged) - 41)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname=name).do_handshake()
    hello = sent.read().replace(name.encode(), forged)
    assert forged in hello
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    files = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with spawned_server("--workers", "1", "--ledger", ledger, *files, new_interpreter=True) as server:
        for _ in range(3):
            with socket.create_connection(Address.parse(server.address), timeout=30) as asking:
                asking.sendall(hello)
                asking.recv(1000)
        server.process.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0
    assert not server.other_lines
    assert not [event for event in server.events if event["event"] == "access_reloaded"]


def test_files_that_do_not_belong_together_are_refused_and_the_key_is_not_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, two, bad = (authority.issue(name) for name in ("one", "two", "bad"))
    bad.key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    for files, said in (
        (TlsFiles(one.certificate, two.key), r"two-key\.pem: not the key of the certificate"),
        (TlsFiles(one.certificate, bad.key), r"bad-key\.pem: not a private key in PEM"),
        (TlsFiles(tmp_path / "none.pem", one.key), r"none\.pem: No such file"),
        (TlsFiles(one.certificate, one.key, two.key), r"two-key\.pem"),
    ):
        with pytest.raises(AccessFileError, match=said) as caught:
            TlsCredentials(files)
        assert "PRIVATE KEY" not in str(caught.value)
        assert "c2VjcmV0" not in str(caught.value)


TLS: dict[str, Any] = {"tls_cert": "c.pem", "tls_key": "k.pem"}
JWT: dict[str, Any] = {"jwks": "j.json", "jwt_issuer": "i", "jwt_audience": "a"}


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.7", "no.such.host.invalid"])
def test_an_address_that_others_reach_needs_tls_and_tokens(host: str) -> None:
    for given in ({}, TLS, {"tokens": "t.json"}, JWT):
        assert (fault(Settings(listen=f"{host}:0", **given)) or ("",))[0] == "--listen"
        assert fault(Settings(listen=f"{host}:0", **given, insecure=True)) is None
    for given in ({**TLS, "tokens": "t.json"}, {**TLS, **JWT}):
        assert fault(Settings(listen=f"{host}:0", **given)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost"])
def test_an_address_that_only_this_machine_reaches_needs_nothing(host: str) -> None:
    assert fault(Settings(listen=f"{host}:0")) is None


def test_options_that_need_others_are_refused_without_them() -> None:
    rows: Any = (
        ({"tls_cert": "c.pem"}, "--tls-key"),
        ({"tls_key": "k.pem"}, "--tls-cert"),
        ({"tls_client_ca": "ca.pem"}, "--tls-cert"),
        ({"jwks": "j.json"}, "--jwt-issuer"),
        ({"jwks": "j.json", "jwt_issuer": "i"}, "--jwt-audience"),
        ({"jwt_issuer": "i"}, "--jwks"),
        ({"jwt_audience": "a"}, "--jwks"),
    )
    for given, option in rows:
        assert (fault(Settings(**given, insecure=True)) or ("",))[0] == option


def test_a_server_in_reach_of_strangers_needs_usable_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--listen", "0.0.0.0:0"])
    assert (result.exit_code, "--listen" in result.output) == (2, True)
    tokens = tmp_path / "tokens.json"
    tokens.write_text("nonsense")
    options = ("--ledger", f"sqlite:///{tmp_path}/l.db", "--tokens", str(tokens), "--listen", "0.0.0.0:0", "--insecure")
    with spawned_server("--workers", "1", *options) as server:
        assert "through a proxy" in server.wait_for("strangers_need_proxy")["advice"]
        assert str(tokens) in server.wait_for("cannot_start")["reason"]
        assert server.process.wait(10) == 1
