"""`register_bundle` of both clients, against a real server of its own process."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import grpc
import pytest
from tests.support.builders.bundles import small_bundle
from tests.support.programs.upload_server import running_upload_server, upload_server

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
from dejavu_models.registry.store.store import ModelStore


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def version_of(bundle: Path) -> str:
    return str(json.loads((bundle / "manifest.json").read_text())["version"])


async def test_both_clients_upload_a_bundle(bundle: Path, tmp_path: Path) -> None:
    with running_upload_server(tmp_path / "store") as address:
        async with AsyncDejavuClient(address) as client:
            first = await client.register_bundle(bundle, reason="new season")
        assert (first.created, first.model.version) == (True, version_of(bundle))
        assert first.model.verdict_reason == "new season"  # this server shows it there
        with DejavuClient(address) as client:
            again = client.register_bundle(str(bundle))
        assert (again.created, again.model.version) == (False, version_of(bundle))
    with running_upload_server(tmp_path / "another") as address, DejavuClient(address) as client:
        assert client.register_bundle(bundle).created


def test_an_upload_goes_on_after_the_server_was_killed(bundle: Path, tmp_path: Path) -> None:
    """The client finds the server again at the same address, and sends the rest."""
    with upload_server(tmp_path / "store") as (address, process):
        port = address.rpartition(":")[2]
        answer: list[bool] = []
        with DejavuClient(address) as client:
            uploading = threading.Thread(target=lambda: answer.append(client.register_bundle(bundle).created))
            uploads = tmp_path / "store" / "uploads"
            uploading.start()
            while not list(uploads.glob("*/lstm.onnx")):
                uploading.join(0.01)
            process.kill()
            process.wait()
            with upload_server(tmp_path / "store", port=int(port)):
                uploading.join(60)
    assert len(answer) == 1
    assert ModelStore.open(tmp_path / "store").versions() == [version_of(bundle)]


def test_two_uploads_of_one_bundle_at_once_both_end_well(bundle: Path, tmp_path: Path) -> None:
    with running_upload_server(tmp_path / "store") as address:
        created: list[bool] = []

        def upload() -> None:
            with DejavuClient(address) as client:
                created.append(client.register_bundle(bundle).created)

        threads = [threading.Thread(target=upload) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(created) == [False, True]


async def test_a_refused_bundle_says_why(bundle: Path, tmp_path: Path) -> None:
    (bundle / "ratings.npz").write_bytes(b"other bytes")
    with running_upload_server(tmp_path / "store") as address:
        async with AsyncDejavuClient(address) as client:
            with pytest.raises(FailedPreconditionError) as refused:
                await client.register_bundle(bundle)
        assert refused.value.reason in {"BUNDLE_CORRUPT", "BUNDLE_INCOMPLETE"}
        assert "ratings.npz" in refused.value.message


async def test_a_folder_that_is_no_bundle_is_not_sent(bundle: Path, tmp_path: Path) -> None:
    async with AsyncDejavuClient("127.0.0.1:1") as client:
        with pytest.raises(FileNotFoundError):
            await client.register_bundle(tmp_path)
        (bundle / "manifest.json").write_text("[]")
        with pytest.raises(ValueError, match="is not the manifest of a bundle"):
            await client.register_bundle(bundle)


async def test_a_file_that_vanishes_ends_the_upload_with_its_name(bundle: Path, tmp_path: Path) -> None:
    (bundle / "ratings.npz").unlink()
    with running_upload_server(tmp_path / "store") as address:
        async with AsyncDejavuClient(address) as client:
            with pytest.raises(FileNotFoundError, match=r"ratings\.npz"):
                await client.register_bundle(bundle)
        with DejavuClient(address) as client, pytest.raises(FileNotFoundError, match=r"ratings\.npz"):
            client.register_bundle(bundle)


def test_a_server_that_cannot_be_reached_is_given_up_soon(bundle: Path) -> None:
    with DejavuClient("127.0.0.1:1") as client, pytest.raises(UnavailableError):
        client.register_bundle(bundle, timeout=60.0)


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
