"""Bundles by version: their files by SHA-256, and a manifest for each version, written last.

    files/SHA-256              content of a file, of any number of bundles
    manifests/VERSION.json     a bundle is in the store once its manifest is

Files never change, so any number of processes may read and write a store at once, and a process that ends at any point
leaves either unreferenced files or a whole bundle. A readable manifest stays, even if another bundle of the same
version has other texts in it: the version determines all forecasts.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dejavu_common.build import install
from dejavu_models.errors import BundleCorrupt, BundleError, BundleNotFound, quoted
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import Manifest
from dejavu_store.bundle import (
    MAX_MANIFEST,
    check_fit,
    component_classes,
    load_contents,
    parse_manifest,
    read_files,
    read_manifest_text,
    verified_files,
)
from dejavu_store.folder import FolderFiles, InvalidModelStore, StoredFiles
from dejavu_store.verification import verify

FILES, MANIFESTS = "files", "manifests"

_VERSION: Final = re.compile(r"[0-9a-f]{16}")

Check = Callable[[str, bytes, Mapping[str, bytes]], None]
"""Verifies a bundle before it is stored; see `verify`."""


class ModelStore:
    """Stores bundles. Safe to use from several threads.

    Args:
        files: the files.
        allow_unfit: whether to accept and to load bundles whose recipe failed its backtest.
        check: verifies a bundle before it is stored; raises a BundleError to refuse it.
    """

    def __init__(self, files: StoredFiles, *, allow_unfit: bool = False, check: Check = verify) -> None:
        self._files = files
        self._allow_unfit = allow_unfit
        self._check = check
        self.name = files.name
        """Place of the store, for messages: a path, or a URL without credentials."""

    @classmethod
    def open(cls, url: str | Path, *, allow_unfit: bool = False) -> ModelStore:
        """Open a store, which is made when the first bundle is put into it.

        Args:
            url: a folder, file:///FOLDER, or a URL that fsspec supports, such as s3://BUCKET/FOLDER, which requires the
                extra model-store; copies of its files are in the user's cache.
            allow_unfit: whether to accept and to load bundles whose recipe failed its backtest.

        Raises:
            InvalidModelStore: if the URL cannot be used.
        """
        folder = str(url).removeprefix("file://")
        files = _remote_files(str(url)) if "://" in folder else FolderFiles(Path(folder))
        return cls(files, allow_unfit=allow_unfit)

    def manifest(self, version: str) -> Manifest:
        """Return the manifest of a bundle.

        Raises:
            BundleNotFound: if there is no bundle of that version.
            BundleCorrupt, BundleTooNew, BundleTooOld: if it cannot be read.
            ModelStoreUnavailable: if the storage fails.
        """
        return self._parsed(version, self._manifest_text(version))

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
        manifest = self.manifest(version)
        self.check_allowed(manifest)
        return load_contents(f"model {version}", manifest, self._read(manifest))

    def verify(self, version: str) -> None:
        """Verify a stored bundle as `put` does: whoever can write to the store may have put it there by other means.

        Raises:
            BundleNotFound, BundleIncomplete, BundleCorrupt, BundleTooNew, BundleTooOld: if it cannot be used; the
                message names the version, and the file if it is missing or altered.
            ModelStoreUnavailable: if the storage fails.
        """
        text = self._manifest_text(version)
        self._check(f"model {version}", text, self._read(self._parsed(version, text)))

    def is_complete(self, version: str) -> bool:
        """Return whether there is a bundle of a version, with all its files unaltered.

        Raises:
            ModelStoreUnavailable: if the storage fails.
        """
        try:
            return bool(self._read(self.manifest(version)))
        except BundleError:
            return False

    def put(self, folder: Path) -> bool:
        """Store the bundle in a folder, unless there is one of the same version; return whether it was stored now.

        Raises:
            BundleError: if the bundle is incomplete, altered or unfit, or does not reproduce its golden queries;
                nothing of it is stored then.
            ModelStoreUnavailable: if the storage fails.
        """
        source, text = str(folder), read_manifest_text(folder)
        manifest = parse_manifest(text, source)
        self.check_allowed(manifest, source)
        if self.is_complete(manifest.version):
            return False
        contents = read_files(folder, manifest)
        self._check(source, text, contents)
        for name, sha256 in manifest.files.items():
            self._files.write(f"{FILES}/{sha256}", contents[name])
        try:
            self.manifest(manifest.version)
        except BundleError:
            self._files.write(_manifest_path(manifest.version), text)
        return True

    def check_allowed(self, manifest: Manifest, source: str = "") -> None:
        """Check that this store accepts a bundle; see `check_fit` and `component_classes`."""
        component_classes(source, manifest)
        if not self._allow_unfit:
            check_fit(manifest, source)

    def _read(self, manifest: Manifest) -> dict[str, bytes]:
        """Return the contents of a bundle's files, each with the SHA-256 in the manifest."""
        source = f"model {manifest.version} in {self.name}"
        return verified_files(source, manifest, lambda _, sha256: self._files.read(f"{FILES}/{sha256}"))

    def _parsed(self, version: str, text: bytes) -> Manifest:
        manifest = parse_manifest(text, f"model {version}")
        if manifest.version != version:
            raise BundleCorrupt(f"the manifest of model {version} in {self.name} is of model {manifest.version}")
        return manifest

    def _manifest_text(self, version: str) -> bytes:
        text = self._files.read(_manifest_path(version), MAX_MANIFEST) if _VERSION.fullmatch(version) else None
        if text is None:
            raise BundleNotFound(f"{self.name} has no model {quoted(version)}")
        return text


def _manifest_path(version: str) -> str:
    return f"{MANIFESTS}/{version}.json"


def _remote_files(url: str) -> StoredFiles:
    """Return the files under a URL, copied to the user's cache (XDG Base Directory Specification).

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
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        # The user of a container may have no home.
        cache = Path(os.environ.get("HOME") or tempfile.gettempdir()) / ".cache"
    return RemoteFiles(url, cache / "dejavu" / "models" / hashlib.sha256(url.encode()).hexdigest()[:16])
