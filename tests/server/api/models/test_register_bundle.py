"""RegisterBundle of a real server: whole, cut, killed, and two at once."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.harness.stores import stored_versions
from tests.support.programs.upload_server import upload_server
from tests.support.programs.uploading import PIECE, Uploading

from dejavu.v1 import bundle_pb2
from dejavu_client.errors import (
    FailedPreconditionError,
    ResourceExhaustedError,
    UnavailableError,
)
from dejavu_models.registry.bundle import MANIFEST, read_manifest
from dejavu_models.registry.store.store import ModelStore


def stored(folder: Path) -> list[str]:
    return stored_versions(ModelStore.open(folder / "store"))


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
        upload.send(bundle_pb2.BundleHeader(manifest=(bundle / MANIFEST).read_bytes()))
        again = upload.answer().registered
    assert (again.model.version, again.created) == (version, False)
    assert not [each for each in (tmp_path / "store" / "uploads").iterdir() if each.is_dir()]


def cut(address: str, bundle: Path, uploads: Path, pieces: int) -> dict[str, int]:
    """Send some pieces and drop the connection once the server has written the last; return the missing files."""
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
    """Begin an upload; retry until the server has noticed that the previous one was cut."""
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


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_a_beginning_of_other_bytes_is_replaced(address: str, bundle: Path) -> None:
    """The server reports the size of a part with other content; the caller begins that file again."""
    with Uploading(address, bundle) as upload:
        (name, *_) = upload.begin()
        upload.send(bundle_pb2.BundleChunk(file=name, data=b"other bytes"))
        upload.end()
        with pytest.raises(FailedPreconditionError, match=f"the 11 bytes of {name}") as refused:
            upload.answer()
    assert refused.value.reason == "BUNDLE_INCOMPLETE"
    upload, left = resumed(address, bundle)
    with upload:
        assert left[name] == 11
        assert upload.finish({**left, name: 0}).created


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
        for upload in (first, second):
            for piece in upload.pieces(missing):
                upload.send(piece)
        created = [upload.answer().registered.created for upload in (first, second)]
    assert sorted(created) == [False, True]  # of the same version, and stored meanwhile
    assert len(stored(tmp_path)) == 1
