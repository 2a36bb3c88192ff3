"""The bundles at hand, by version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dejavu_models.forecaster import Forecaster
from dejavu_models.types import ModelInfo


def default_bundle() -> Path:
    """The folder of the bundle that ships."""
    raise NotImplementedError


class Registry:
    """The models that a process holds; the first is the active one."""

    def __init__(self, forecasters: Sequence[Forecaster]) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, bundles: Sequence[Path]) -> Registry:
        """Loads bundles, or the default one where none is given.

        Raises:
            BundleError: if one is refused.
        """
        raise NotImplementedError

    def get(self, version: str = "") -> Forecaster:
        """The model of a version; the active one where it is empty.

        Raises:
            UnknownModel: if none of that version is held.
        """
        raise NotImplementedError

    def models(self) -> list[ModelInfo]:
        """What is held, the active one first."""
        raise NotImplementedError
