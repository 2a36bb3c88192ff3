"""A store in shared storage: a real HTTP server that stands for S3, and fsspec's memory."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from typing_extensions import override

from dejavu_models.errors import BundleCorrupt, BundleIncomplete, BundleNotFound
from dejavu_store import remote
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.errors import InvalidModelStore, ModelStoreUnavailable
from dejavu_store.folder import MAX_FILE_BYTES, FolderFiles
from dejavu_store.local_copies import CachedFiles
from dejavu_store.remote import RemoteFiles


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of an S3 server, which the environment names as AWS's."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str) -> str:
    import s3fs

    name = f"models-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    return name


@pytest.mark.nightly
def test_two_servers_share_a_store_in_s3(bucket: str, small_bundle: Path, tmp_path: Path) -> None:
    """Each has copies of its own; what one stores, the other finds at once."""
    one, other = (ModelStore.open(f"s3://{bucket}/dejavu", cache=tmp_path / name) for name in ("one", "other"))
    assert not other.has("0" * 16)
    version = one.put(small_bundle)
    assert other.has(version)
    assert other.load(version).manifest == read_manifest(small_bundle)
    assert other.missing(read_manifest(small_bundle)) == {}
    assert other.put(small_bundle) == version
    with pytest.raises(BundleNotFound):
        other.load("0" * 16)


def test_a_bucket_that_is_not_there_is_unavailable(s3: str, small_bundle: Path, tmp_path: Path) -> None:
    store = ModelStore.open("s3://no-such-bucket/dejavu", cache=tmp_path)
    with pytest.raises(ModelStoreUnavailable, match="no-such-bucket"):
        store.put(small_bundle)


@pytest.fixture
def memory() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_file_is_received_without_a_folder_for_temporary_files(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That folder can be too small for the file, or missing; the file does not count as absent then."""
    files = RemoteFiles(
        f"s3://{request.getfixturevalue('bucket')}" if kind == "s3" else request.getfixturevalue("memory")
    )
    contents = {"empty": b"", "large": b"model" * 2**20}
    for name, content in contents.items():
        files.write(name, content, replace=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    for name, content in contents.items():
        assert files.read(name) == files.read(name, most=len(content)) == content
    with pytest.raises(BundleCorrupt, match="expected at most 1000"):
        files.read("large", most=1000)
    assert files.read("other") is None


def test_a_file_that_cannot_be_received_is_not_absent(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_file(_: str, local: str, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), local)

    files = RemoteFiles(memory)
    monkeypatch.setattr(files._files, "get_file", get_file)
    with pytest.raises(ModelStoreUnavailable, match="No such file"):
        files.read("file")


def test_a_copy_that_was_altered_is_read_again(memory: str, small_bundle: Path, tmp_path: Path) -> None:
    store = ModelStore.open(memory, cache=tmp_path / "cache")
    version = store.put(small_bundle)
    for copy in (tmp_path / "cache").rglob("files/*"):
        if copy.is_file():
            copy.write_bytes(b"altered")
    assert store.load(version).version == version
    sha256 = read_manifest(small_bundle).files["lstm.npz"]
    [again] = (tmp_path / "cache").rglob(sha256)
    assert hashlib.sha256(again.read_bytes()).hexdigest() == sha256


def test_a_file_altered_in_the_storage_is_noticed(memory: str, small_bundle: Path, tmp_path: Path) -> None:
    import fsspec

    version = ModelStore.open(memory, cache=tmp_path / "writer").put(small_bundle)
    path = f"{memory}/files/{read_manifest(small_bundle).files['lstm.npz']}"
    files, _ = fsspec.url_to_fs(memory)
    files.pipe_file(path, b"altered")
    with pytest.raises(BundleCorrupt, match=r"lstm\.npz"):
        ModelStore.open(memory, cache=tmp_path / "reader").load(version)
    files.rm(path)
    with pytest.raises(BundleIncomplete, match=r"lstm\.npz"):
        ModelStore.open(memory, cache=tmp_path / "reader").load(version)


class Failing(FolderFiles):
    """Storage that cannot be reached."""

    fails = False

    def read(self, path: str, most: int = MAX_FILE_BYTES) -> bytes | None:
        if self.fails:
            raise ModelStoreUnavailable("no storage")
        return super().read(path, most)


def test_a_model_that_was_loaded_before_loads_while_the_storage_fails(small_bundle: Path, tmp_path: Path) -> None:
    remote = Failing(tmp_path / "remote")
    store = ModelStore(CachedFiles(remote, tmp_path / "cache"), tmp_path / "work", check=lambda _: None)
    version = store.put(small_bundle)
    store.load(version)
    remote.fails = True
    assert store.load(version).version == version
    with pytest.raises(ModelStoreUnavailable):
        store.load("0" * 16)


def test_a_file_larger_than_any_is_not_read(memory: str, small_bundle: Path, tmp_path: Path) -> None:
    store = ModelStore.open(memory, cache=tmp_path / "cache")
    version = store.put(small_bundle)
    fsspec.filesystem("memory").pipe_file(f"{memory.removeprefix('memory:/')}/manifests/{'0' * 16}.json", b" " * 2**21)
    with pytest.raises(BundleCorrupt, match=r"0\.json has 2097152 bytes; expected at most 1048576"):
        store.load("0" * 16)
    assert store.load(version).version == version


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


@contextmanager
def storage(kind: type[LyingStorage], patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve a storage, which the environment names as AWS's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            patch.setenv(name, "test")
        clients = fsspec.get_filesystem_class("s3")
        clients.clear_instance_cache()  # they know the storage of an earlier test
        yield
        clients.clear_instance_cache()
        server.shutdown()


def test_no_more_of_a_file_is_received_than_it_may_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever size the storage reports."""
    with storage(LyingStorage, monkeypatch):
        store = ModelStore.open("s3://lies/dejavu", cache=tmp_path)
        with pytest.raises(BundleCorrupt, match="expected at most 1048576"):
            store.manifest("0" * 16)
    assert LyingStorage.sent < 2**26


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


def test_a_download_that_stalls_ends_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CALL_SECONDS", 0.5)
    with storage(StalledStorage, monkeypatch):
        files = RemoteFiles("s3://stalls/dejavu")
        start = time.monotonic()
        with pytest.raises(ModelStoreUnavailable):
            files.read("file")
        assert time.monotonic() - start < 10
        StalledStorage.released.set()
    while [file for file in Path("/proc/self/fd").iterdir() if "dejavu-model" in str(file.resolve())]:
        time.sleep(0.01)  # until the downloading thread has closed it


def test_copies_that_were_not_used_lately_make_room(tmp_path: Path) -> None:
    files = CachedFiles(FolderFiles(tmp_path / "remote"), tmp_path / "cache", max_bytes=250)
    contents = [bytes([number]) * 100 for number in range(3)]
    paths = [f"files/{hashlib.sha256(content).hexdigest()}" for content in contents]
    for age, (path, content) in enumerate(zip(paths[:2], contents[:2], strict=True)):
        files.write(path, content, replace=True)
        os.utime(tmp_path / "cache" / path, (age, age))
    files.read(paths[0])
    files.write(paths[2], contents[2], replace=True)
    assert [(tmp_path / "cache" / path).exists() for path in paths] == [True, False, True]
    assert files.read(paths[1]) == contents[1]


def test_a_cache_that_cannot_be_written_only_costs_time(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    files = CachedFiles(FolderFiles(tmp_path / "remote"), tmp_path / "cache")
    store = ModelStore(files, tmp_path / "work", check=lambda _: None)
    version = store.put(small_bundle)
    assert store.load(version).version == version


@pytest.mark.parametrize("url", ["nothing://bucket", "s3n-x://bucket"])
def test_a_url_that_nothing_knows_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelStore, match="cannot be used as a model store"):
        ModelStore.open(url, cache=tmp_path)


def test_a_password_in_a_url_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelStore) as refused:
        ModelStore.open("nothing://user:secret@host/models", cache=tmp_path)
    assert "secret" not in str(refused.value)
