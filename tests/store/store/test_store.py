from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.store.manifests import rewrite
from tests.support.harness.stores import stored_versions

from dejavu_models.errors import BundleCorrupt, BundleError, BundleIncomplete, BundleNotFound, BundleUnfit
from dejavu_store.bundle import MANIFEST, load_bundle, read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.errors import ModelStoreUnavailable
from dejavu_store.folder import FolderFiles


def accept(_: Path) -> None:
    """Replace the verification in another process in tests of other behavior."""


def quick_store(folder: Path, **options: Any) -> ModelStore:
    return ModelStore(FolderFiles(folder), folder / "work", check=accept, **options)


def test_a_bundle_that_was_put_is_listed_and_gives_the_same_answers(small_bundle: Path, tmp_path: Path) -> None:
    store = ModelStore.open(tmp_path / "store")
    assert stored_versions(store) == []
    version = store.put(small_bundle)
    original = load_bundle(small_bundle)
    assert stored_versions(store) == [version] == [original.version]
    assert store.has(version)
    assert store.is_complete(version)
    assert store.manifest(version) == original.manifest
    assert store.manifest_sha256(version) == hashlib.sha256((small_bundle / MANIFEST).read_bytes()).hexdigest()
    assert store.load(version).manifest == original.manifest
    assert store.missing(original.manifest) == {}
    assert list((tmp_path / "store" / "work").iterdir()) == []


def test_putting_a_bundle_again_changes_nothing(small_bundle: Path, copy: Path, tmp_path: Path) -> None:
    store = quick_store(tmp_path / "store")
    version = store.put(small_bundle)
    first = store.manifest_sha256(version)
    rewrite(copy, lambda manifest: manifest.update(created_time="2031-01-01T00:00:00Z"))
    assert store.put(copy) == version
    assert store.manifest_sha256(version) == first


def test_versions_share_the_files_that_are_equal(small_bundle: Path, copy: Path, tmp_path: Path) -> None:
    store = quick_store(tmp_path / "store")
    store.put(small_bundle)
    before = len(list((tmp_path / "store" / "files").iterdir()))
    (copy / "lstm.npz").write_bytes(b"another graph")
    rewrite(copy, reseal(copy, "lstm.npz"))
    store.put(copy)
    assert len(stored_versions(store)) == 2
    assert len(list((tmp_path / "store" / "files").iterdir())) == before + 1


def reseal(folder: Path, name: str) -> Callable[[dict[str, Any]], None]:
    """Return a change that makes a manifest fit a changed file."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        content = {key: manifest[key] for key in ("ratings", "files")}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        manifest["version"] = hashlib.sha256(text.encode()).hexdigest()[:16]

    return change


def lose(folder: Path) -> None:
    (folder / "ratings.npz").unlink()


def alter(folder: Path) -> None:
    (folder / "ratings.npz").write_bytes(b"other bytes")


def make_a_pipe(folder: Path) -> None:
    (folder / "ratings.npz").unlink()
    os.mkfifo(folder / "ratings.npz")


def break_graph(folder: Path) -> None:
    (folder / "lstm.npz").write_bytes(b"no graph")
    rewrite(folder, reseal(folder, "lstm.npz"))


def break_index(folder: Path) -> None:
    name = "dejavu.npz"
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:128] + b"\xff" * (len(content) - 128))
    rewrite(folder, reseal(folder, name))


def answer_otherwise(folder: Path) -> None:
    rewrite(folder, lambda manifest: manifest["golden"][0].update(point_forecast=99.0))


def name_a_path(folder: Path) -> None:
    rewrite(folder, lambda manifest: manifest["files"].update({"../../ratings.npz": "0" * 64}))


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lose, BundleIncomplete, "ratings.npz is missing"),
        (alter, BundleCorrupt, "ratings.npz does not match the manifest"),
        (make_a_pipe, BundleCorrupt, "ratings.npz is no regular file"),
        (break_graph, BundleCorrupt, "lstm.npz cannot be read"),
        (break_index, BundleCorrupt, "dejavu.npz cannot be read"),
        (answer_otherwise, BundleCorrupt, "golden query"),
        (name_a_path, BundleCorrupt, "not a valid manifest"),
    ],
)
def test_a_bundle_that_is_not_sound_leaves_nothing_behind(
    copy: Path, tmp_path: Path, spoil: Callable[[Path], None], error: type[BundleError], says: str
) -> None:
    spoil(copy)
    store = ModelStore.open(tmp_path / "store")
    with pytest.raises(error, match=says) as refused:
        store.put(copy)
    assert "checked-" not in str(refused.value)
    assert stored_versions(store) == []
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]


def test_an_unfit_bundle_is_refused_unless_allowed(copy: Path, tmp_path: Path) -> None:
    rewrite(copy, lambda manifest: manifest["verdict"].update(fit=False, reason="worse than persistence"))
    with pytest.raises(BundleUnfit, match="worse than persistence"):
        quick_store(tmp_path / "store").put(copy)
    allowing = quick_store(tmp_path / "store", allow_unfit=True)
    version = allowing.put(copy)
    assert allowing.load(version).version == version
    with pytest.raises(BundleUnfit):
        quick_store(tmp_path / "store").load(version)


@pytest.mark.parametrize("version", ["0123456789abcdef", "", "../../manifest", "champion"])
def test_a_version_that_is_not_there_is_not_found(tmp_path: Path, version: str) -> None:
    store = quick_store(tmp_path / "store")
    assert not store.has(version)
    with pytest.raises(BundleNotFound):
        store.load(version)


def test_a_file_altered_in_the_store_is_noticed_and_repaired(small_bundle: Path, tmp_path: Path) -> None:
    store = quick_store(tmp_path / "store")
    version = store.put(small_bundle)
    sha256 = read_manifest(small_bundle).files["ratings.npz"]
    (tmp_path / "store" / "files" / sha256).write_bytes(b"altered")
    with pytest.raises(BundleCorrupt, match=r"ratings\.npz"):
        store.load(version)
    assert store.missing(store.manifest(version)) == {"ratings.npz": sha256}
    store.put(small_bundle)
    assert store.load(version).version == version


def test_a_bundle_that_was_written_to_a_store_unverified_is_found_by_a_verification(copy: Path, tmp_path: Path) -> None:
    answer_otherwise(copy)
    version = quick_store(tmp_path / "store").put(copy)
    with pytest.raises(BundleCorrupt, match=f"model {version}: .*golden query"):
        ModelStore.open(tmp_path / "store").verify(version)


def test_a_manifest_altered_in_the_store_is_noticed_and_repaired(small_bundle: Path, tmp_path: Path) -> None:
    store = quick_store(tmp_path / "store")
    version = store.put(small_bundle)
    (tmp_path / "store" / "manifests" / f"{version}.json").write_bytes(b"{")
    with pytest.raises(BundleCorrupt, match="not a JSON object"):
        store.load(version)
    store.put(small_bundle)
    assert store.load(version).version == version


@pytest.mark.parametrize("kind", ["pipe", "device", "link"])
def test_what_is_no_regular_file_is_not_read_and_is_repaired(small_bundle: Path, tmp_path: Path, kind: str) -> None:
    """Reading a pipe would not end, nor would /dev/zero; a link could name a file that only the server may read."""
    store = quick_store(tmp_path / "store")
    version = store.put(small_bundle)
    for path in (f"manifests/{version}.json", f"files/{read_manifest(small_bundle).files['ratings.npz']}"):
        file = tmp_path / "store" / path
        kept = file.rename(tmp_path / "kept")
        if kind == "pipe":
            os.mkfifo(file)
        else:
            file.symlink_to(kept if kind == "link" else os.devnull)
        with pytest.raises(BundleCorrupt, match=f"{path} is no regular file"):
            store.load(version)
        store.put(small_bundle)
        assert store.load(version).version == version


def test_two_processes_put_the_same_bundle_at_once(small_bundle: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from dejavu_store.bundle_store import ModelStore\n"
        "from dejavu_store.folder import FolderFiles\n"
        "store = Path(sys.argv[1])\n"
        "print(ModelStore(FolderFiles(store), store / 'work', check=lambda _: None).put(Path(sys.argv[2])))\n"
    )
    command = (sys.executable, "-c", program, str(tmp_path / "store"), str(small_bundle))
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert all(process.returncode == 0 for process in both)
    (version,) = said
    assert quick_store(tmp_path / "store").load(version).version == version
    assert not list((tmp_path / "store").rglob(".*"))


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.nightly), 6])
def test_a_killed_process_leaves_a_whole_bundle_or_none(small_bundle: Path, tmp_path: Path, after: int) -> None:
    """Its remains are no bundle, and do not keep the next process from storing the bundle."""
    program = (
        "import os, sys; from pathlib import Path\n"
        "from dejavu_store.bundle_store import ModelStore\n"
        "from dejavu_store.folder import FolderFiles\n"
        "class Killed(FolderFiles):\n"
        "    writes = 0\n"
        "    def write(self, *args, **options):\n"
        "        super().write(*args, **options); self.writes += 1\n"
        "        if self.writes == int(sys.argv[3]): os.kill(os.getpid(), 9)\n"
        "store = Path(sys.argv[1])\n"
        "ModelStore(Killed(store), store / 'work', check=lambda _: None).put(Path(sys.argv[2]))\n"
    )
    command = (sys.executable, "-c", program, str(tmp_path / "store"), str(small_bundle), str(after))
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    store = quick_store(tmp_path / "store")
    assert stored_versions(store) == []
    version = store.put(small_bundle)
    assert store.load(version).version == version


def test_what_killed_processes_left_is_removed_after_a_day(small_bundle: Path, tmp_path: Path) -> None:
    store = quick_store(tmp_path / "store")
    left = [tmp_path / "store" / "files" / ".1.new", tmp_path / "store" / "work" / "checked-1" / "lstm.npz"]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"part")
    os.utime(left[0], (0, 0))
    os.utime(left[1].parent, (0, 0))
    store.put(small_bundle)
    assert not any(file.exists() for file in left)


def test_a_store_that_cannot_be_written_says_so(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file, no folder")
    store = quick_store(tmp_path / "store")
    with pytest.raises(ModelStoreUnavailable, match="Not a directory"):
        store.put(small_bundle)
    with pytest.raises(ModelStoreUnavailable, match="Not a directory"):
        store.has("0" * 16)
