"""Refusals by RegisterBundle of a real server, with reason and field."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import AsyncMock

import grpc
import pytest
from tests.support.harness.stores import stored_versions
from tests.support.programs.upload_server import running_upload_server
from tests.support.programs.uploading import Uploading

from dejavu.v1 import bundle_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_client.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
    from_rpc_error,
)
from dejavu_models.registry.bundle import MANIFEST
from dejavu_models.registry.store.store import ModelStore
from dejavu_models.registry.store.uploads import UploadLimits
from dejavu_server.admission.callers import MODEL_CHANGE, CallerLimits, Callers, reserved
from dejavu_server.admission.errors import CallerLimit
from dejavu_server.api.models.upload import BundleReceiver


def stored(folder: Path) -> list[str]:
    return stored_versions(ModelStore.open(folder / "store"))


def messages_of(bundle: Path) -> list[pb.RegisterBundleRequest]:
    header = bundle_pb2.BundleHeader(manifest=(bundle / MANIFEST).read_bytes())
    chunks = (bundle_pb2.BundleChunk(file=path.name, data=path.read_bytes()) for path in sorted(bundle.iterdir()))
    return [
        pb.RegisterBundleRequest(header=header),
        *(pb.RegisterBundleRequest(chunk=chunk) for chunk in chunks if chunk.file != MANIFEST),
    ]


def test_a_file_with_another_hash_is_refused_and_can_be_sent_again(address: str, bundle: Path, tmp_path: Path) -> None:
    with Uploading(address, bundle) as upload:
        first, second, *_ = upload.begin()
        upload.send(bundle_pb2.BundleChunk(file=first, data=b"other bytes"))
        upload.send(bundle_pb2.BundleChunk(file=second, data=b"x"))
        with pytest.raises(FailedPreconditionError, match=first) as refused:
            upload.answer()
    assert refused.value.reason == "BUNDLE_CORRUPT"
    with Uploading(address, bundle) as upload:
        assert upload.finish(upload.begin()).created


def test_an_upload_that_ends_early_is_incomplete(address: str, bundle: Path, tmp_path: Path) -> None:
    with Uploading(address, bundle) as upload:
        assert upload.begin()
        upload.end()
        with pytest.raises(FailedPreconditionError, match="was not sent") as refused:
            upload.answer()
    assert refused.value.reason == "BUNDLE_INCOMPLETE"
    assert stored(tmp_path) == []


@pytest.mark.parametrize(
    ("chunk", "field"),
    [
        (bundle_pb2.BundleChunk(file="../../../etc/passwd", data=b"x"), "chunk.file"),
        (bundle_pb2.BundleChunk(file="/etc/passwd", data=b"x"), "chunk.file"),
        (bundle_pb2.BundleChunk(file="manifest.json", data=b"x"), "chunk.file"),
        (bundle_pb2.BundleChunk(file="lock", data=b"x"), "chunk.file"),
        (bundle_pb2.BundleChunk(file="", data=b"x"), "chunk.file"),
        (bundle_pb2.BundleChunk(file="lstm.npz", offset=1, data=b"x"), "chunk.offset"),
        (bundle_pb2.BundleChunk(file="lstm.npz", offset=2**63, data=b"x"), "chunk.offset"),
        (bundle_pb2.BundleHeader(), "chunk"),
    ],
)
def test_a_message_out_of_order_is_refused_with_its_field(
    address: str, bundle: Path, chunk: bundle_pb2.BundleChunk, field: str
) -> None:
    with Uploading(address, bundle) as upload:
        upload.begin()
        upload.send(chunk)
        with pytest.raises(InvalidArgumentError) as refused:
            upload.answer()
    assert [each.field for each in refused.value.field_violations] == [field]


def test_a_manifest_that_is_none_is_refused(address: str, bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"]["../lstm.npz"] = manifest["files"]["lstm.npz"]
    for text in (b"", b"{}", b"[" * 100_000, json.dumps(manifest).encode()):
        with Uploading(address, bundle) as upload:
            with pytest.raises(FailedPreconditionError) as refused:
                upload.begin(manifest=text)
            assert refused.value.reason == "BUNDLE_CORRUPT"


@pytest.mark.parametrize("large", ["chunk", "manifest"])
def test_what_is_too_large_is_refused(address: str, bundle: Path, large: str) -> None:
    too_much = b"x" * (UploadLimits().chunk_bytes + 1)
    with Uploading(address, bundle) as upload:
        if large == "manifest":
            upload.send(bundle_pb2.BundleHeader(manifest=too_much))
        else:
            upload.send(bundle_pb2.BundleChunk(file=next(iter(upload.begin())), data=too_much))
        with pytest.raises(FailedPreconditionError, match=r"at most 1,048,576") as refused:
            upload.answer()
    assert refused.value.reason == "UPLOAD_TOO_LARGE"


def test_a_reason_that_is_too_long_is_refused_before_the_files_are_sent(address: str, bundle: Path) -> None:
    with Uploading(address, bundle) as upload, pytest.raises(InvalidArgumentError) as refused:
        upload.begin(reason="x" * 501)
    assert refused.value.field_violations[0].field == "header.reason"


def test_a_bundle_that_answers_otherwise_is_refused_and_leaves_nothing(
    address: str, bundle: Path, tmp_path: Path
) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["golden"][0]["point_forecast"] = 99.0
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with Uploading(address, bundle) as upload, pytest.raises(FailedPreconditionError, match="golden query") as refused:
        upload.finish(upload.begin())
    assert refused.value.reason == "BUNDLE_CORRUPT"
    assert str(tmp_path) not in refused.value.message
    assert stored(tmp_path) == []


async def test_who_may_change_no_more_models_today_stores_nothing(bundle: Path, tmp_path: Path) -> None:
    """Files of a bundle stay in the store: with a refusal only at registration, any number of them stayed."""

    async def requests() -> AsyncIterator[pb.RegisterBundleRequest]:
        for message in messages_of(bundle):
            yield message

    async def register(version: str, reason: str) -> pb.RegisteredModel:
        raise AssertionError(version)

    callers = Callers(CallerLimits(model_changes=1))
    receiver = BundleReceiver(ModelStore.open(tmp_path / "store"), register)
    with callers.counted("token:ops", "ipv4:203.0.113.7:4000", stream=True):
        with reserved([MODEL_CHANGE]):
            pass
        with pytest.raises(CallerLimit, match="1 changes of models a day"):
            await anext(receiver.register_bundle(requests(), AsyncMock()))
    assert not list((tmp_path / "store").rglob("*"))


def test_a_nearly_full_disk_receives_nothing(address: str, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = UploadLimits().free_bytes + 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with (
        Uploading(address, bundle) as upload,
        pytest.raises(UnavailableError, match="the disk has 1,024 MiB left") as full,
    ):
        upload.finish(upload.begin())
    assert full.value.reason == "MODEL_STORE_UNAVAILABLE"


def test_an_idle_upload_ends(bundle: Path, tmp_path: Path) -> None:
    with running_upload_server(tmp_path / "store", idle_seconds=0.2) as address, Uploading(address, bundle) as upload:
        upload.begin()
        with pytest.raises(DeadlineExceededError, match=r"no message for 0\.2 s"):
            upload.answer()


def test_bytes_that_are_no_message_are_refused(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        raw: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/dejavu.v1.ModelService/RegisterBundle"
        )
        with pytest.raises(grpc.RpcError) as refused:
            next(raw(iter([b"\xff\xff\xff"])))
        assert from_rpc_error(refused.value, address).reason == "INVALID_MESSAGE"
