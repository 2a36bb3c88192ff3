"""`register_bundle` of both clients, against a real server of its own process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.bundles import publish_with_components
from tests.support.programs.upload_server import running_upload_server

from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.bundle_pb2 import MissingFile, MissingFiles
from dejavu.v1.model_service_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from dejavu_client import AsyncDejavuClient, DejavuClient
from dejavu_client.errors import (
    DeadlineExceededError,
    DejavuClientError,
    FailedPreconditionError,
    ResourceExhaustedError,
    UnavailableError,
)
from dejavu_client.transport.bundle_folder import CHUNK_BYTES, MOST_FAILURES, BundleFolder, UploadRetries
from dejavu_models.registry.bundle import read_manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle of few files."""
    publish_with_components(tmp_path / "bundle", ("lstm",))
    return tmp_path / "bundle"


async def test_both_clients_upload_a_bundle(bundle: Path, tmp_path: Path) -> None:
    with running_upload_server(tmp_path / "store") as address:
        async with AsyncDejavuClient(address) as client:
            first = await client.register_bundle(bundle, reason="new season")
        assert (first.created, first.model.version) == (True, read_manifest(bundle).version)
        assert first.model.verdict_reason == "new season"  # this server shows it there
        with DejavuClient(address) as client:
            again = client.register_bundle(str(bundle))
        assert (again.created, again.model.version) == (False, first.model.version)
    (bundle / "ratings.npz").unlink()
    with running_upload_server(tmp_path / "another") as address:
        async with AsyncDejavuClient(address) as client:
            with pytest.raises(FileNotFoundError, match=r"ratings\.npz"):
                await client.register_bundle(bundle)
        with DejavuClient(address) as client, pytest.raises(FileNotFoundError, match=r"ratings\.npz"):
            client.register_bundle(bundle)


class Losing(ModelServiceServicer):
    """Drops the first upload after a chunk, and still has that chunk when the client retries."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.had = 0
        self.offsets = list[int]()

    def RegisterBundle(self, requests: Iterator[pb.RegisterBundleRequest], context: Any) -> Iterator[Any]:  # noqa: N802 - the contract's name
        assert next(requests).HasField("header")
        lost = not self.offsets
        missing = MissingFiles(files=[MissingFile(file=self.file, offset=self.had)])
        yield pb.RegisterBundleResponse(missing=missing)
        for request in requests:
            self.offsets.append(request.chunk.offset)
            self.had += len(request.chunk.data)
            if lost:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server goes")
        yield pb.RegisterBundleResponse(registered=pb.RegisteredModel(created=True))


def test_an_upload_that_is_lost_goes_on_with_what_the_server_lacks(bundle: Path) -> None:
    (bundle / "lstm.npz").write_bytes(bytes(2 * CHUNK_BYTES + 1))
    losing = Losing("lstm.npz")  # type: ignore[abstract] # its other methods are not called
    server = grpc.server(ThreadPoolExecutor(2))
    add_ModelServiceServicer_to_server(losing, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with DejavuClient(f"127.0.0.1:{port}") as client:
            assert client.register_bundle(bundle).created
    finally:
        server.stop(None).wait()
    assert losing.offsets == [0, CHUNK_BYTES, 2 * CHUNK_BYTES]


async def test_a_folder_that_is_no_bundle_is_not_sent(bundle: Path, tmp_path: Path) -> None:
    async with AsyncDejavuClient("127.0.0.1:1") as client:
        with pytest.raises(FileNotFoundError):
            await client.register_bundle(tmp_path)
        (bundle / "manifest.json").write_text("[]")
        with pytest.raises(ValueError, match="is not the manifest of a bundle"):
            await client.register_bundle(bundle)


@pytest.mark.parametrize("name", ["../bundle/lstm.npz", "/etc/passwd", "manifest.json", "notes.txt"])
def test_a_server_gets_no_other_file_than_those_of_the_manifest(bundle: Path, name: str) -> None:
    (bundle / "notes.txt").write_text("private")
    missing = MissingFiles(files=[MissingFile(file=name)])
    with pytest.raises(ValueError, match="no file of the bundle"):
        list(BundleFolder(bundle, "").chunks(missing))


@pytest.mark.parametrize(
    ("size", "offset", "offsets"),
    [
        (0, 0, [0]),
        (CHUNK_BYTES, 0, [0]),
        (CHUNK_BYTES + 1, 0, [0, CHUNK_BYTES]),
        (CHUNK_BYTES + 1, 5, [5]),
        (10, 10, [0]),
        (10, 11, [0]),
    ],
)
def test_chunks_follow_on_what_the_server_has(bundle: Path, size: int, offset: int, offsets: list[int]) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (bundle / "lstm.npz").write_bytes(content[:size])
    missing = MissingFiles(files=[MissingFile(file="lstm.npz", offset=offset)])
    chunks = [each.chunk for each in BundleFolder(bundle, "").chunks(missing)]
    assert [each.offset for each in chunks] == offsets
    assert b"".join(each.data for each in chunks) == content[offsets[0] : size]


def test_an_upload_is_tried_again_while_that_can_help() -> None:
    lost = UnavailableError("lost", code=grpc.StatusCode.UNAVAILABLE)
    busy = ResourceExhaustedError("busy", retry_after=1.5)
    late = DeadlineExceededError("late", code=grpc.StatusCode.DEADLINE_EXCEEDED)
    refused: DejavuClientError = FailedPreconditionError("unfit", reason="BUNDLE_UNFIT")
    retries = UploadRetries()
    assert retries.pause(refused, 60.0) is None
    assert retries.pause(late, 60.0) is None
    retries = UploadRetries()
    assert [retries.pause(lost, 60.0) for _ in range(MOST_FAILURES)] == [0.5, 1.0, 2.0, None]
    assert retries.pause(busy, 60.0) == 1.5
    assert retries.pause(busy, 1.0) is None
    retries.went_on()
    assert retries.pause(lost, 60.0) == 0.5
