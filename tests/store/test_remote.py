"""A store in shared storage: a real HTTP server that stands for S3, and fsspec's memory."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from typing_extensions import override

from dejavu_models.errors import BundleCorrupt, BundleIncomplete, BundleNotFound
from dejavu_store import remote
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.folder import InvalidModelStore, ModelStoreUnavailable
from dejavu_store.remote import RemoteFiles


@contextmanager
def aws_at(port: int) -> Iterator[None]:
    """Let the environment name a server of this machine as AWS's."""
    clients = fsspec.get_filesystem_class("s3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        clients.clear_instance_cache()  # they know the storage of an earlier test
        yield
        clients.clear_instance_cache()


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve HTTP; yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class LyingStorage(BaseHTTPRequestHandler):
    """Says that every file has 10 bytes, and sends 256 MiB of it."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):  # the reader has gone
            for _ in range(256):
                self.wfile.write(b"100000\r\n" + b" " * 2**20 + b"\r\n")
                type(self).sent += 2**20
            self.wfile.write(b"0\r\n\r\n")

    @override
    def log_message(self, *_: object) -> None:
        pass


class StalledStorage(LyingStorage):
    """Sends the first bytes of a file and no more, until it is released."""

    released = threading.Event()

    @override
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"12345")
        self.wfile.flush()
        self.released.wait(30)
        self.close_connection = True


@pytest.fixture
def s3() -> Iterator[str]:
    """The URL of a folder in S3."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with aws_at(server.get_host_and_port()[1]):
        fsspec.filesystem("s3").makedirs("models", exist_ok=True)  # moto keeps buckets
        yield "s3://models/dejavu"
    server.stop()


@pytest.fixture
def memory() -> str:
    return f"memory://{uuid.uuid4().hex}"


def opened(url: str, cache: Path) -> ModelStore:
    """Open a store with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        return ModelStore.open(url)


@pytest.mark.nightly
def test_two_servers_share_a_store_in_s3(s3: str, small_bundle: Path, tmp_path: Path) -> None:
    """Each has copies of its own; what one stores, the other finds at once."""
    one, other = (opened(s3, tmp_path / name) for name in ("one", "other"))
    version = read_manifest(small_bundle).version
    assert not other.is_complete(version)
    assert one.put(small_bundle)
    assert other.load(version).manifest == read_manifest(small_bundle)
    assert not other.put(small_bundle)
    with pytest.raises(BundleNotFound):
        other.load("0" * 16)
    with pytest.raises(ModelStoreUnavailable, match="no-such-bucket"):
        opened("s3://no-such-bucket/dejavu", tmp_path).put(small_bundle)


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_files_of_any_size_are_received_up_to_the_limit(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    files = RemoteFiles(request.getfixturevalue(kind), tmp_path)
    for name, content in {"empty": b"", "large": b"model" * 2**20}.items():
        files.write(name, content)
        assert files.read(name) == files.read(name, most=len(content)) == content
    with pytest.raises(BundleCorrupt, match="expected at most 1,000"):
        files.read("large", most=1000)
    assert files.read("other") is None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_altered_copies_are_read_again_and_altered_storage_is_noticed(
    memory: str, small_bundle: Path, tmp_path: Path
) -> None:
    store, manifest = opened(memory, tmp_path), read_manifest(small_bundle)
    store.put(small_bundle)
    store.load(manifest.version)
    [copy] = tmp_path.rglob(manifest.files["lstm.npz"])
    copy.write_bytes(b"altered")
    assert store.load(manifest.version).version == manifest.version
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == copy.name
    files, path = fsspec.filesystem("memory"), f"{memory}/files/{copy.name}"
    files.pipe_file(path, b"altered")
    with pytest.raises(BundleCorrupt, match=r"lstm\.npz does not match"):
        opened(memory, tmp_path / "other").load(manifest.version)
    files.rm(path)
    with pytest.raises(BundleIncomplete, match=r"lstm\.npz is missing"):
        opened(memory, tmp_path / "another").load(manifest.version)


def test_a_model_that_was_loaded_before_loads_while_the_storage_fails(small_bundle: Path, tmp_path: Path) -> None:
    version = read_manifest(small_bundle).version
    ModelStore.open(tmp_path / "storage").put(small_bundle)
    with served(partial(SimpleHTTPRequestHandler, directory=tmp_path / "storage")) as port:
        store = opened(f"http://127.0.0.1:{port}", tmp_path / "cache")
        store.load(version)
        with pytest.raises(BundleNotFound):
            store.load("0" * 16)
    assert store.load(version).version == version
    with pytest.raises(ModelStoreUnavailable):
        store.load("0" * 16)


def test_no_more_of_a_file_is_received_than_it_may_have_whatever_size_the_storage_reports(tmp_path: Path) -> None:
    with served(LyingStorage) as port, aws_at(port), pytest.raises(BundleCorrupt, match="expected at most 1,048,576"):
        opened("s3://lies/dejavu", tmp_path).manifest("0" * 16)
    assert LyingStorage.sent < 2**26


def test_a_download_that_stalls_ends_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote, "CALL_SECONDS", 0.5)
    with served(StalledStorage) as port, aws_at(port):
        files, start = RemoteFiles("s3://stalls/dejavu", tmp_path), time.monotonic()
        with pytest.raises(ModelStoreUnavailable):
            files.read("file")
        assert time.monotonic() - start < 10
        StalledStorage.released.set()
    assert list(tmp_path.iterdir()) == []


def test_copies_that_were_not_used_lately_make_room(memory: str, tmp_path: Path) -> None:
    files = RemoteFiles(memory, tmp_path, max_bytes=250)
    contents = [bytes([number]) * 100 for number in range(3)]
    paths = [f"files/{hashlib.sha256(content).hexdigest()}" for content in contents]
    for path, content in zip(paths, contents, strict=True):
        files.write(path, content)
    for age, path in enumerate(paths[:2]):
        files.read(path)
        os.utime(tmp_path / path, (age, age))
    files.read(paths[0])
    files.read(paths[2])
    assert [(tmp_path / path).exists() for path in paths] == [True, False, True]
    assert files.read(paths[1]) == contents[1]


@pytest.mark.parametrize("url", ["nothing://user:secret@host/models", "s3n-x://bucket"])
def test_a_url_that_nothing_knows_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidModelStore, match="cannot be used as a model store") as refused:
        ModelStore.open(url)
    assert "secret" not in str(refused.value)
