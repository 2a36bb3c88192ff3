"""A store of hand-written models instead of bundles."""

from __future__ import annotations

from pathlib import Path

from tests.support.fakes.forecasters import PersistenceForecaster
from typing_extensions import override

from dejavu_models.errors import BundleCorrupt, BundleNotFound
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import Manifest
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.default_bundles import default_bundle

FIRST = read_manifest(default_bundle()).version
"""Version of the bundle with which a ledger without a champion begins."""


class ModelsInMemory(ModelStore):
    """A store of PersistenceForecasters.

    Args:
        versions: versions that it has.

    Attributes:
        broken: versions that cannot be loaded.
    """

    def __init__(self, *versions: str) -> None:
        self._versions = set(versions)
        self.broken = set[str]()

    @override
    def load(self, version: str) -> Forecaster:
        """Return a model; raise BundleCorrupt if it is broken."""
        self.manifest(version)
        if version in self.broken:
            raise BundleCorrupt(f"model {version}: lstm.npz does not match the manifest")
        return PersistenceForecaster(version)

    @override
    def manifest(self, version: str) -> Manifest:
        """Return the manifest of the shipped bundle, with another version."""
        if version not in self._versions:
            raise BundleNotFound(f"no model {version}")
        return read_manifest(default_bundle()).model_copy(update={"version": version})

    @override
    def manifest_sha256(self, version: str) -> str:
        """Return 64 zeros."""
        self.manifest(version)
        return "0" * 64

    @override
    def check_allowed(self, manifest: Manifest, source: str = "") -> None:
        """Accept every bundle."""

    @override
    def verify(self, version: str) -> None:
        """Accept a version that it has."""
        self.manifest(version)

    @override
    def is_complete(self, version: str) -> bool:
        """Return whether it has a version."""
        return version in self._versions

    @override
    def put(self, folder: Path) -> bool:
        """Take in the version of a bundle."""
        self._versions.add(read_manifest(folder).version)
        return True
