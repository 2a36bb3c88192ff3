"""The bundles at hand, by version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dejavu_models.errors import UnknownModel
from dejavu_models.forecaster import Forecaster
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.types import ModelInfo


def default_bundle() -> Path:
    """The folder of the bundle that ships: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parents[1]
    installed = package / "bundles" / "default"
    return installed if installed.is_dir() else package.parent / "bundles" / "default"


class Registry:
    """The models that a process holds; the first is the active one.

    Raises:
        ValueError: if there are none, or two of one version.
    """

    def __init__(self, forecasters: Sequence[Forecaster]) -> None:
        if not forecasters:
            raise ValueError("a registry needs at least one model")
        self._held = {forecaster.version: forecaster for forecaster in forecasters}
        if len(self._held) < len(forecasters):
            raise ValueError("two bundles have the same version: they would answer alike, name each once")
        self._active = forecasters[0]

    @classmethod
    def load(cls, bundles: Sequence[Path], *, allow_unfit: bool = False) -> Registry:
        """Loads bundles, or the default one where none is given.

        Args:
            bundles: their folders, the active one first.
            allow_unfit: whether bundles will do whose recipe did not prove itself.

        Raises:
            BundleError: if one is refused.
            ValueError: if two have the same version.
        """
        return cls([load_bundle(folder, allow_unfit=allow_unfit) for folder in bundles or [default_bundle()]])

    def get(self, version: str = "") -> Forecaster:
        """The model of a version; the active one where it is empty.

        Raises:
            UnknownModel: if none of that version is held.
        """
        if not version:
            return self._active
        try:
            return self._held[version]
        except KeyError:
            raise UnknownModel(version, tuple(self._held)) from None

    def models(self) -> list[ModelInfo]:
        """What is held, the active one first."""
        return [forecaster.info for forecaster in self._held.values()]
