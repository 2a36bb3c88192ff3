"""Stores of bundles in folders: whole bundles only, whoever else writes to the folder, and repaired by another put."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.store.conftest import as_pipe, condemn, rewrite
from tests.support.builders.bundles import sealed, stored_versions

from dejavu_models.errors import BundleCorrupt, BundleError, BundleIncomplete, BundleNotFound, BundleUnfit
from dejavu_store.bundle import MANIFEST, load_bundle, read_files, read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.folder import FolderFiles, ModelStoreUnavailable


def accept(source: str, manifest: bytes, contents: Mapping[str, bytes]) -> None:
    """Replace the verification in another process in tests of other behavior."""


def quick_store(folder: Path, **options: Any) -> ModelStore:
    return ModelStore(FolderFiles(folder), check=accept, **options)


def test_a_bundle_that_was_put_is_kept_once_and_gives_the_same_answers(
    small_bundle: Path, copy: Path, tmp_path: Path
) -> None:
    store = ModelStore.open(tmp_path / "store")
    original = load_bundle(small_bundle)
    version, manifest = original.version, (small_bundle / MANIFEST).read_bytes()
    assert store.put(small_bundle)
    rewrite(copy, lambda manifest: manifest.update(created_time="2031-01-01T00:00:00Z"))
    assert not store.put(copy)
    assert stored_versions(store) == [version]
    assert store.is_complete(version)
    assert store.manifest(version) == store.load(version).manifest == original.manifest
    assert store.manifest_sha256(version) == hashlib.sha256(manifest).hexdigest(), "the first one stays"


def reseal(folder: Path, name: str, content: bytes) -> None:
    """Change a file of a bundle, and the manifest so that it fits."""
    manifest = read_manifest(folder)
    contents = read_files(folder, manifest) | {name: content}
    (folder / name).write_bytes(content)
    (folder / MANIFEST).write_text(sealed(manifest, contents).to_json())


def answer_otherwise(folder: Path) -> None:
    rewrite(folder, lambda manifest: manifest["golden"][0].update(point_forecast=99.0))


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda folder: (folder / "ratings.npz").unlink(), BundleIncomplete, "bundle: ratings.npz is missing"),
        (lambda folder: reseal(folder, "lstm.npz", b"no graph"), BundleCorrupt, "bundle: lstm.npz cannot be read"),
        (answer_otherwise, BundleCorrupt, "golden query"),
        (lambda folder: rewrite(folder, condemn), BundleUnfit, "its intervals hold too seldom"),
    ],
)
def test_a_bundle_that_is_not_sound_leaves_nothing_behind(
    copy: Path, tmp_path: Path, spoil: Callable[[Path], None], error: type[BundleError], says: str
) -> None:
    spoil(copy)
    with pytest.raises(error, match=says):
        ModelStore.open(tmp_path / "store").put(copy)
    assert not (tmp_path / "store").exists()


def test_an_unfit_bundle_is_stored_and_loaded_only_if_allowed(copy: Path, tmp_path: Path) -> None:
    rewrite(copy, condemn)
    version, allowing = read_manifest(copy).version, quick_store(tmp_path / "store", allow_unfit=True)
    allowing.put(copy)
    assert allowing.load(version).version == version
    with pytest.raises(BundleUnfit):
        quick_store(tmp_path / "store").load(version)


@pytest.mark.parametrize("version", ["0123456789abcdef", "../../manifest"])
def test_a_version_that_is_not_there_is_not_found(tmp_path: Path, version: str) -> None:
    store = quick_store(tmp_path / "store")
    assert not store.is_complete(version)
    with pytest.raises(BundleNotFound):
        store.load(version)


def test_a_bundle_that_was_written_to_a_store_unverified_is_found_by_a_verification(copy: Path, tmp_path: Path) -> None:
    answer_otherwise(copy)
    version = read_manifest(copy).version
    quick_store(tmp_path / "store").put(copy)
    with pytest.raises(BundleCorrupt, match=f"{version}: .*golden query"):
        ModelStore.open(tmp_path / "store").verify(version)


def as_link(target: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        kept = file.rename(file.parents[2] / "kept")
        file.symlink_to(target or kept)

    return change


@pytest.mark.parametrize(
    ("alter", "error", "said"),
    [
        (Path.unlink, (BundleNotFound, BundleIncomplete), "has no model|is missing"),
        (lambda file: file.write_bytes(b"{"), BundleCorrupt, "not a JSON object|does not match the manifest"),
        (lambda file: os.truncate(file, 2**28), BundleCorrupt, "expected at most"),
        # Reading a pipe would not end, nor would /dev/zero; a link could name a file that only the server may read.
        (as_pipe, BundleCorrupt, "is no regular file"),
        (as_link(os.devnull), BundleCorrupt, "is no regular file"),
        (as_link(""), BundleCorrupt, "is no regular file"),
    ],
)
def test_a_file_altered_in_the_store_is_noticed_and_repaired(
    small_bundle: Path, tmp_path: Path, alter: Callable[[Path], object], error: type[BundleError], said: str
) -> None:
    store, manifest = quick_store(tmp_path / "store"), read_manifest(small_bundle)
    store.put(small_bundle)
    for path in (f"manifests/{manifest.version}.json", f"files/{manifest.files['ratings.npz']}"):
        alter(tmp_path / "store" / path)
        with pytest.raises(error, match=said):
            store.load(manifest.version)
        assert not store.is_complete(manifest.version)
        assert store.put(small_bundle)
        assert store.load(manifest.version).version == manifest.version


PUT = """
import os, sys
from pathlib import Path
from dejavu_store.bundle_store import ModelStore
from dejavu_store.folder import FolderFiles

class Killed(FolderFiles):
    writes = 0

    def write(self, *args):
        super().write(*args)
        self.writes += 1
        if self.writes == int(sys.argv[3]):
            os.kill(os.getpid(), 9)

ModelStore(Killed(Path(sys.argv[1])), check=lambda *_: None).put(Path(sys.argv[2]))
"""


def put_by_process(folder: Path, bundle: Path, killed_after: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen((sys.executable, "-c", PUT, str(folder / "store"), str(bundle), str(killed_after)))


def test_two_processes_put_the_same_bundle_at_once(small_bundle: Path, tmp_path: Path) -> None:
    assert [each.wait() for each in [put_by_process(tmp_path, small_bundle, 0) for _ in range(2)]] == [0, 0]
    store = quick_store(tmp_path / "store")
    assert [store.load(version).version for version in stored_versions(store)] == [read_manifest(small_bundle).version]
    assert not list((tmp_path / "store").rglob(".*"))


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.nightly), 6])
def test_a_killed_process_leaves_a_whole_bundle_or_none(small_bundle: Path, tmp_path: Path, after: int) -> None:
    """Its remains are no bundle, and do not keep the next process from storing the bundle."""
    assert put_by_process(tmp_path, small_bundle, after).wait() == -signal.SIGKILL
    store = quick_store(tmp_path / "store")
    assert stored_versions(store) == []
    assert store.put(small_bundle)
    assert store.is_complete(read_manifest(small_bundle).version)


def test_a_store_that_cannot_be_written_says_so(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, no folder")
    store = quick_store(tmp_path / "store")
    with pytest.raises(ModelStoreUnavailable, match="Not a directory"):
        store.put(small_bundle)
    with pytest.raises(ModelStoreUnavailable, match="Not a directory"):
        store.manifest("0" * 16)
