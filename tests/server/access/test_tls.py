from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
import structlog
from cryptography import x509
from tests.support.builders.calls import GAME, PATTERN
from tests.support.fakes.certificates import Authority, KeyPair
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker, spawned_server

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_client.errors import UnavailableError
from dejavu_common.address import Address
from dejavu_server.access.files import AccessFileError
from dejavu_server.access.tls import TlsCredentials, TlsFiles
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


async def test_plain_text_and_clients_that_trust_another_authority_get_nowhere(
    secured: Secured, tmp_path: Path
) -> None:
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
        before = await secured.serial()
        secured.authority.issue("server")
        renewed = ssl_serial(secured.pair.certificate.read_text())
        async with asyncio.timeout(20):
            while await secured.serial() == before:  # noqa: ASYNC110 - a handshake is the only sign
                await asyncio.sleep(0.05)
        assert await secured.serial() == renewed != before
        await client.predict(PATTERN)
    async with secured.client as another:
        await another.predict(PATTERN)


async def test_a_certificate_that_does_not_fit_its_key_leaves_the_former_one_in_use(secured: Secured) -> None:
    before = await secured.serial()
    secured.pair.certificate.write_bytes(secured.authority.issue("another").certificate.read_bytes())
    with structlog.testing.capture_logs() as logs:
        await until(lambda: "access_reload_failed" in [entry["event"] for entry in logs])
    assert await secured.serial() == before
    async with secured.client as client:
        await client.predict(PATTERN)


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
