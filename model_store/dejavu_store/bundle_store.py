"""Bundles by version: their files by SHA-256, and a manifest for each version, written last.

    files/SHA-256              content of a file, of any number of bundles
    manifests/VERSION.json     a bundle is in the store once its manifest is
    work/                      bundles that are being verified

Files never change, so any number of processes may read and write a store at once, and a process that ends at any point
leaves either unreferenced files or a whole bundle. An existing manifest stays, even if another bundle of the same
version has other texts in it: the version determines all forecasts.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dejavu_common.build import install
from dejavu_models.errors import BundleCorrupt, BundleError, BundleIncomplete, BundleNotFound, quoted
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import Manifest
from dejavu_store.bundle import MANIFEST, check_fit, check_hash, parse_manifest, read_manifest
from dejavu_store.contents import component_classes, load_contents
from dejavu_store.errors import InvalidModelStore
from dejavu_store.folder import FolderContents, FolderFiles, StoredFiles, disk, make_folders
from dejavu_store.local_copies import CachedFiles
from dejavu_store.verification import verify

FILES, MANIFESTS, WORK = "files", "manifests", "work"

_VERSION: Final = re.compile(r"[0-9a-f]{16}")
_MANIFEST_BYTES: Final = 1024**2
"""Maximum size of a manifest."""

_CHECKED: Final = "checked-"
"""Prefix of the names of folders with bundles that are being verified."""

_LEFT_SECONDS: Final = 86_400.0
"""Age in seconds after which leftovers of a process killed while it wrote are removed."""


class ModelStore:
    """Stores bundles. Safe to use from several threads.

    Args:
        files: the files.
        work: local folder for bundles that are being verified.
        allow_unfit: whether to accept and to load bundles whose recipe failed its backtest.
        check: verifies the bundle in a folder before it is stored; raises a BundleError to refuse it.
    """

    def __init__(
        self,
        files: StoredFiles,
        work: Path,
        *,
        allow_unfit: bool = False,
        check: Callable[[Path], None] = verify,
    ) -> None:
        self._files = files
        self._work = work
        self._allow_unfit = allow_unfit
        self._check = check
        self.name = files.name
        """Place of the store, for messages: a path, or a URL without credentials."""

    @classmethod
    def open(cls, url: str | Path, *, cache: Path | None = None, allow_unfit: bool = False) -> ModelStore:
        """Open a store, which is made when the first bundle is put into it.

        Args:
            url: a folder, file:///FOLDER, or a URL that fsspec supports, such as s3://BUCKET/FOLDER, which requires the
                extra model-store.
            cache: local folder for copies of remote files; by default one of the user's cache.
            allow_unfit: whether to accept and to load bundles whose recipe failed its backtest.

        Raises:
            InvalidModelStore: if the URL cannot be used.
        """
        text = str(url)
        folder = text.removeprefix("file://")
        if "://" not in folder:
            files: StoredFiles = FolderFiles(Path(folder))
            work = Path(folder) / WORK
            return cls(files, work, allow_unfit=allow_unfit)
        remote = _remote_files(text)
        local = cache or _user_cache() / hashlib.sha256(text.encode()).hexdigest()[:16]
        files, work = CachedFiles(remote, local / FILES), local / WORK
        return cls(files, work, allow_unfit=allow_unfit)

    def has(self, version: str) -> bool:
        """Return whether there is a bundle of a version.

        Raises:
            ModelStoreUnavailable: if the storage fails.
        """
        try:
            self._manifest_text(version)
        except BundleNotFound:
            return False
        return True

    def manifest(self, version: str) -> Manifest:
        """Return the manifest of a bundle.

        Raises:
            BundleNotFound: if there is no bundle of that version.
            BundleCorrupt, BundleTooNew, BundleTooOld: if it cannot be read.
            ModelStoreUnavailable: if the storage fails.
        """
        manifest = parse_manifest(self._manifest_text(version), f"model {version}")
        if manifest.version != version:
            raise BundleCorrupt(f"the manifest of model {version} in {self.name} is of model {manifest.version}")
        return manifest

    def manifest_sha256(self, version: str) -> str:
        """Return the SHA-256 of the manifest of a bundle, in hexadecimal.

        Raises:
            BundleNotFound: if there is no bundle of that version.
            ModelStoreUnavailable: if the storage fails.
        """
        return hashlib.sha256(self._manifest_text(version)).hexdigest()

    def load(self, version: str) -> Forecaster:
        """Load a bundle. Verifies the hash of each file.

        Raises:
            BundleNotFound, BundleIncomplete, BundleCorrupt, BundleTooNew, BundleTooOld, BundleUnfit: if it cannot be
                loaded; the message names the version and the file.
            ModelStoreUnavailable: if the storage fails.
        """
        manifest, contents = self._read(version)
        self.check_allowed(manifest)
        return load_contents(f"model {version}", manifest, contents)

    def verify(self, version: str) -> None:
        """Verify a stored bundle as `put` does: whoever can write to the store may have put it there by other means.

        Raises:
            BundleNotFound, BundleIncomplete, BundleCorrupt, BundleTooNew, BundleTooOld: if it cannot be used; the
                message names the version, and the file if it is missing or altered.
            ModelStoreUnavailable: if the storage fails.
        """
        manifest, contents = self._read(version)
        self._verify(manifest, self._manifest_text(version), contents, f"model {version}")

    def _read(self, version: str) -> tuple[Manifest, dict[str, bytes]]:
        """Return the manifest of a bundle and the contents of its files, each with the SHA-256 in the manifest."""
        manifest = self.manifest(version)
        contents = {}
        for name, sha256 in manifest.files.items():
            content = self._files.read(f"{FILES}/{sha256}")
            if content is None:
                raise BundleIncomplete(f"model {version}: {name} is missing in {self.name}")
            check_hash(f"model {version}", name, content, sha256)
            contents[name] = content
        return manifest, contents

    def missing(self, manifest: Manifest) -> dict[str, str]:
        """Return the files of a bundle that are missing from the store, or altered in it: name → SHA-256.

        Raises:
            ModelStoreUnavailable: if the storage fails.
        """
        return {name: sha256 for name, sha256 in manifest.files.items() if not self._has_file(sha256)}

    def is_complete(self, version: str) -> bool:
        """Return whether there is a bundle of a version, with all its files unaltered.

        Raises:
            ModelStoreUnavailable: if the storage fails.
        """
        try:
            return not self.missing(self.manifest(version))
        except BundleError:
            return False

    def put(self, folder: Path) -> str:
        """Store the bundle in a folder, unless there is one of the same version; return its version.

        Raises:
            BundleError: if the bundle is incomplete, altered or unfit, or does not reproduce its golden queries;
                nothing of it is stored then.
            ModelStoreUnavailable: if the storage fails.
        """
        source, manifest, text = str(folder), read_manifest(folder), (folder / MANIFEST).read_bytes()
        self.check_allowed(manifest, source)
        if self.is_complete(manifest.version):
            return manifest.version
        missing, contents = self.missing(manifest), FolderContents(folder, manifest.files, source)
        self._verify(manifest, text, contents, source)
        for name, sha256 in missing.items():
            content = contents[name]
            check_hash(source, name, content, sha256)  # it may have changed since it was verified
            self._files.write(f"{FILES}/{sha256}", content, replace=True)
        self._files.write(_manifest_path(manifest.version), text, replace=self._is_corrupt(manifest.version))
        return manifest.version

    def check_allowed(self, manifest: Manifest, source: str = "") -> None:
        """Check that this store accepts a bundle; see `check_fit` and `component_classes`."""
        component_classes(source, manifest)
        if not self._allow_unfit:
            check_fit(manifest, source)

    def _verify(self, manifest: Manifest, text: bytes, contents: Mapping[str, bytes], source: str) -> None:
        """Verify a bundle, assembled in a folder of its own."""
        with self._new_folder() as folder:
            with disk(self._work):
                (folder / MANIFEST).write_bytes(text)
            for name, sha256 in manifest.files.items():
                content = contents[name]
                check_hash(source, name, content, sha256)
                with disk(self._work):
                    (folder / name).write_bytes(content)
            try:
                self._check(folder)
            except BundleCorrupt as error:
                raise BundleCorrupt(f"{source}: {error}") from error

    @contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """Yield a new folder, which is removed afterwards, and remove leftovers of killed processes."""
        with disk(self._work):
            make_folders(self._work)
            self._remove_left()
            if isinstance(self._files, FolderFiles):
                for path in (FILES, MANIFESTS):
                    self._files.remove_unfinished(path, _LEFT_SECONDS)
            folder = Path(tempfile.mkdtemp(prefix=_CHECKED, dir=self._work))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_left(self) -> None:
        """Remove the folders of verifications whose process was killed."""
        oldest = time.time() - _LEFT_SECONDS
        for folder in self._work.glob(f"{_CHECKED}*"):
            with suppress(FileNotFoundError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)

    def _is_corrupt(self, version: str) -> bool:
        """Return whether the stored manifest of a version cannot be read as one."""
        try:
            self.manifest(version)
        except BundleCorrupt:
            return True
        except BundleError:
            return False
        return False

    def _has_file(self, sha256: str) -> bool:
        try:
            content = self._files.read(f"{FILES}/{sha256}")
        except BundleCorrupt:
            return False
        return content is not None and hashlib.sha256(content).hexdigest() == sha256

    def _manifest_text(self, version: str) -> bytes:
        text = self._files.read(_manifest_path(version), _MANIFEST_BYTES) if _VERSION.fullmatch(version) else None
        if text is None:
            raise BundleNotFound(f"{self.name} has no model {quoted(version)}")
        return text


def _manifest_path(version: str) -> str:
    return f"{MANIFESTS}/{version}.json"


def _user_cache() -> Path:
    """Return the folder for copies of remote models in the user's cache (XDG Base Directory Specification)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:  # the user of a container may have no home
            base = Path(tempfile.gettempdir())
    return base / "dejavu" / "models"


def _remote_files(url: str) -> StoredFiles:
    """Return the files under a URL.

    Raises:
        InvalidModelStore: if the extra is missing, or the URL cannot be used.
    """
    try:
        # Imported late: the extra is needed for remote stores only.
        from dejavu_store.remote import RemoteFiles  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InvalidModelStore(
            f"a model store at a URL needs {error.name}, which is not installed: {install('model-store')}"
        ) from None
    return RemoteFiles(url)
