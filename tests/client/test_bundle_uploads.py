"""`register_bundle` of both clients, against a real server of its own process."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from tests.support.builders.bundles import copy_of_default, publish_with_components
from tests.support.programs.upload_server import running_upload_server

from dejavu.v1.bundle_pb2 import MissingFile, MissingFiles
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
from dejavu_models.registry.store.store import ModelStore


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Returns a bundle of few files."""
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


def test_an_upload_goes_on_after_the_server_was_restarted(tmp_path: Path) -> None:
    """The client finds the server again at the same address, and sends the rest."""
    bundle, store = tmp_path / "bundle", tmp_path / "store"
    version = copy_of_default(bundle)  # many files, so that the server is gone in the middle
    answer: list[bool] = []
    with ExitStack() as first:
        address = first.enter_context(running_upload_server(store))
        with DejavuClient(address) as client:
            uploading = threading.Thread(target=lambda: answer.append(client.register_bundle(bundle).created))
            uploading.start()
            while not list(store.glob("uploads/*/*.index")):
                uploading.join(0.001)
            first.close()
            assert not answer
            with running_upload_server(store, port=int(address.rpartition(":")[2])):
                uploading.join(60)
    assert len(answer) == 1
    assert ModelStore.open(store).versions() == [version]


async def test_a_folder_that_is_no_bundle_is_not_sent(bundle: Path, tmp_path: Path) -> None:
    async with AsyncDejavuClient("127.0.0.1:1") as client:
        with pytest.raises(FileNotFoundError):
            await client.register_bundle(tmp_path)
        (bundle / "manifest.json").write_text("[]")
        with pytest.raises(ValueError, match="is not the manifest of a bundle"):
            await client.register_bundle(bundle)


@pytest.mark.parametrize("name", ["../bundle/lstm.onnx", "/etc/passwd", "manifest.json", "notes.txt"])
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
    (bundle / "lstm.onnx").write_bytes(content[:size])
    missing = MissingFiles(files=[MissingFile(file="lstm.onnx", offset=offset)])
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
