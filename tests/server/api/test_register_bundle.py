"""RegisterBundle of a real server process: whole, cut, killed, wrong, too large, and two at once."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.bundles import small_bundle
from tests.support.processes.upload_server import upload_server

from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu_client.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
    from_rpc_error,
)
from dejavu_models.registry.bundle import MANIFEST, read_manifest
from dejavu_models.registry.store.store import ModelStore
from dejavu_models.registry.store.uploads import UploadLimits

PIECE = 16 * 1024


class Uploading:
    """One call, message by message."""

    def __init__(self, address: str, bundle: Path) -> None:
        self.bundle = bundle
        self._channel = grpc.insecure_channel(address)
        self._requests: queue.Queue[Any] = queue.Queue()
        self._call = ModelServiceStub(self._channel).RegisterBundle(iter(self._requests.get, None))

    def __enter__(self) -> Uploading:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._channel.close()

    def send(self, message: pb.BundleHeader | pb.BundleChunk) -> None:
        if isinstance(message, pb.BundleHeader):
            self._requests.put(pb.RegisterBundleRequest(header=message))
        else:
            self._requests.put(pb.RegisterBundleRequest(chunk=message))

    def end(self) -> None:
        self._requests.put(None)

    def begin(self, **changes: Any) -> dict[str, int]:
        """Sends the header; returns what is missing: name → bytes that are there."""
        manifest = (self.bundle / MANIFEST).read_bytes()
        self.send(pb.BundleHeader(**{"manifest": manifest, "reason": "new season", **changes}))
        return {each.file: each.offset for each in self.answer().missing.files}

    def answer(self) -> pb.RegisterBundleResponse:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise from_rpc_error(error, "the server") from error

    def pieces(self, missing: dict[str, int]) -> Iterator[pb.BundleChunk]:
        for name, start in missing.items():
            content = (self.bundle / name).read_bytes()
            for offset in range(start, len(content), PIECE):
                yield pb.BundleChunk(file=name, offset=offset, data=content[offset : offset + PIECE])

    def finish(self, missing: dict[str, int]) -> pb.RegisteredModel:
        for piece in self.pieces(missing):
            self.send(piece)
        return self.answer().registered


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with upload_server(tmp_path / "store") as (address, _):
        yield address


def stored(folder: Path) -> list[str]:
    return ModelStore.open(folder / "store").versions()


def test_a_bundle_is_stored_and_registered_and_again_it_is_not_created(
    address: str, bundle: Path, tmp_path: Path
) -> None:
    version = read_manifest(bundle).version
    with Uploading(address, bundle) as upload:
        missing = upload.begin()
        assert missing == dict.fromkeys(read_manifest(bundle).all_files, 0)
        answer = upload.finish(missing)
    assert (answer.model.version, answer.model.verdict_reason, answer.created) == (version, "new season", True)
    assert stored(tmp_path) == [version]
    assert ModelStore.open(tmp_path / "store").load(version).version == version
    with Uploading(address, bundle) as upload:
        upload.send(pb.BundleHeader(manifest=(bundle / MANIFEST).read_bytes()))
        again = upload.answer().registered
    assert (again.model.version, again.created) == (version, False)
    assert not [each for each in (tmp_path / "store" / "uploads").iterdir() if each.is_dir()]


def cut(address: str, bundle: Path, uploads: Path, pieces: int) -> dict[str, int]:
    """Sends some pieces and drops the connection once the server has written the last one; returns what was missing."""
    with Uploading(address, bundle) as upload:
        missing = upload.begin()
        sent = list(upload.pieces(missing))[:pieces]
        for piece in sent:
            upload.send(piece)
        last = sent[-1]
        wait_until(lambda: size_of(uploads, last.file) == last.offset + len(last.data))
    return missing


def size_of(uploads: Path, name: str) -> int:
    return sum(file.stat().st_size for file in uploads.glob(f"*/{name}"))


def test_an_upload_that_was_cut_goes_on_where_it_ended(address: str, bundle: Path, tmp_path: Path) -> None:
    """Also in the middle of a file: the piece before the cut is not sent again."""
    pieces = list(Uploading(address, bundle).pieces(dict.fromkeys(read_manifest(bundle).all_files, 0)))
    [inside, *_] = [number for number, piece in enumerate(pieces) if piece.offset and len(piece.data) == PIECE]
    missing = cut(address, bundle, tmp_path / "store" / "uploads", inside + 1)
    assert stored(tmp_path) == []
    upload, left = resumed(address, bundle)
    with upload:
        assert left[pieces[inside].file] == pieces[inside].offset + PIECE
        assert len(left) < len(missing)
        assert upload.finish(left).created
    assert len(stored(tmp_path)) == 1


def resumed(address: str, bundle: Path) -> tuple[Uploading, dict[str, int]]:
    """Begins an upload, again as long as the server has not noticed that the one before was cut."""
    for _ in range(200):
        upload = Uploading(address, bundle)
        with contextlib.suppress(ResourceExhaustedError):
            return upload, upload.begin()
        upload.__exit__()
        time.sleep(0.05)
    raise AssertionError("the upload that was cut did not end")


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "it did not happen within 30 s"
        time.sleep(0.02)


def test_a_server_killed_in_the_middle_goes_on_after_its_restart(bundle: Path, tmp_path: Path) -> None:
    with upload_server(tmp_path / "store") as (address, process), Uploading(address, bundle) as upload:
        missing = upload.begin()
        sent = list(upload.pieces(missing))[:10]
        for piece in sent:
            upload.send(piece)
        wait_until(lambda: size_of(tmp_path / "store" / "uploads", sent[-1].file) > 0)
        process.kill()
        with pytest.raises(UnavailableError):
            upload.answer()
    assert stored(tmp_path) == []
    with upload_server(tmp_path / "store") as (address, _), Uploading(address, bundle) as upload:
        left = upload.begin()
        assert 0 < len(left) < len(missing)
        assert upload.finish(left).created
    assert len(stored(tmp_path)) == 1


def test_a_beginning_of_other_bytes_is_replaced(address: str, bundle: Path) -> None:
    """A part that is no beginning of its file: the caller sees that it has no more of it, and begins it again."""
    with Uploading(address, bundle) as upload:
        (name, *_) = upload.begin()
        upload.send(pb.BundleChunk(file=name, data=b"other bytes"))
        upload.end()
        with pytest.raises(FailedPreconditionError, match=f"the 11 bytes of {name}") as refused:
            upload.answer()
    assert refused.value.reason == "BUNDLE_INCOMPLETE"
    upload, left = resumed(address, bundle)
    with upload:
        assert left[name] == 11
        assert upload.finish({**left, name: 0}).created


def test_a_file_with_another_hash_is_refused_and_can_be_sent_again(address: str, bundle: Path, tmp_path: Path) -> None:
    with Uploading(address, bundle) as upload:
        first, second, *_ = upload.begin()
        upload.send(pb.BundleChunk(file=first, data=b"other bytes"))
        upload.send(pb.BundleChunk(file=second, data=b"x"))
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
        (pb.BundleChunk(file="../../../etc/passwd", data=b"x"), "chunk.file"),
        (pb.BundleChunk(file="/etc/passwd", data=b"x"), "chunk.file"),
        (pb.BundleChunk(file="manifest.json", data=b"x"), "chunk.file"),
        (pb.BundleChunk(file="lock", data=b"x"), "chunk.file"),
        (pb.BundleChunk(file="", data=b"x"), "chunk.file"),
        (pb.BundleChunk(file="lstm.onnx", offset=1, data=b"x"), "chunk.offset"),
        (pb.BundleChunk(file="lstm.onnx", offset=2**63, data=b"x"), "chunk.offset"),
        (pb.BundleHeader(), "chunk"),
    ],
)
def test_a_message_out_of_order_is_refused_with_its_field(
    address: str, bundle: Path, chunk: pb.BundleChunk, field: str
) -> None:
    with Uploading(address, bundle) as upload:
        upload.begin()
        upload.send(chunk)
        with pytest.raises(InvalidArgumentError) as refused:
            upload.answer()
    assert [each.field for each in refused.value.field_violations] == [field]


def test_a_manifest_that_is_none_is_refused(address: str, bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"]["../lstm.onnx"] = manifest["files"]["lstm.onnx"]
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
            upload.send(pb.BundleHeader(manifest=too_much))
        else:
            upload.send(pb.BundleChunk(file=next(iter(upload.begin())), data=too_much))
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


def test_one_bundle_is_uploaded_once_at_a_time_and_two_bundles_at_once(
    address: str, bundle: Path, tmp_path: Path
) -> None:
    others = [shutil.copytree(bundle, tmp_path / f"other-{number}") for number in range(2)]
    for number, other in enumerate(others):
        manifest = json.loads((other / MANIFEST).read_text())
        (other / MANIFEST).write_text(json.dumps({**manifest, "seed": number + 100}))
    with Uploading(address, bundle) as first, Uploading(address, others[0]) as second:
        missing = first.begin()
        second.begin()
        for another, reason in ((bundle, "UPLOAD_IN_PROGRESS"), (others[1], "TOO_MANY_UPLOADS")):
            with Uploading(address, another) as third, pytest.raises(ResourceExhaustedError) as refused:
                third.begin()
            assert refused.value.reason == reason
            assert refused.value.retry_after
        assert first.finish(missing).created
        assert not second.finish(missing).created  # of the same version, and stored meanwhile
    assert len(stored(tmp_path)) == 1


def test_an_idle_upload_ends(bundle: Path, tmp_path: Path) -> None:
    with upload_server(tmp_path / "store", idle_seconds=0.2) as (address, _), Uploading(address, bundle) as upload:
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
