"""Registry of loaded bundles, by version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dejavu_common.files import state_folder
from dejavu_models.errors import BundleError, UnknownModel
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import Forecast, ModelInfo, SimilarGame
from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_store.stages import Roster


def default_bundle() -> Path:
    """Return the folder of the shipped bundle: inside the installed package, or next to it in a source tree."""
    package = Path(__file__).parent
    installed = package / "bundles" / "default"
    return installed if installed.is_dir() else package.parent / "bundles" / "default"


def refreshed_bundle() -> Path:
    """Return the folder for the shipped bundle with refreshed ratings, in the user's state folder; it may not exist."""
    return state_folder() / "bundle"


def served_bundle() -> Path:
    """Return the folder of the bundle that a server serves by default.

    It is the refreshed bundle if that was made from the shipped one; else, as after an upgrade, it is the shipped one.
    """
    refreshed, shipped = refreshed_bundle(), default_bundle()
    try:
        record = read_manifest(refreshed).refresh
    except BundleError:  # there is no refreshed bundle, or it is of another version of this program
        return shipped
    return refreshed if record and record.of_version == read_manifest(shipped).version else shipped


def bundle_folders(bundles: Sequence[Path]) -> Sequence[Path]:
    """Return the folders of bundles; `served_bundle` if none is given."""
    return bundles or (served_bundle(),)


class Chosen(NamedTuple):
    """The model that answers a request.

    Attributes:
        forecaster: the model.
        roster_sequence: sequence number of the last change of the roster that chose the model; None if no roster chose
            it.
    """

    forecaster: Forecaster
    roster_sequence: int | None = None


class Registry:
    """Models loaded in a process; the first is the active one.

    Raises:
        ValueError: if there are none, or two of the same version.
    """

    def __init__(self, forecasters: Sequence[Forecaster]) -> None:
        if not forecasters:
            raise ValueError("a registry needs at least one model")
        self._loaded = {forecaster.version: forecaster for forecaster in forecasters}
        if len(self._loaded) < len(forecasters):
            raise ValueError("two bundles have the same version and would give the same forecasts: list each only once")
        self._active = forecasters[0]
        self._chosen = Chosen(self._active)
        self.roster = Roster()
        """Empty: these models have no stages, and do not change."""

    @classmethod
    def load(
        cls,
        bundles: Sequence[Path],
        *,
        allow_unfit: bool = False,
        find: Callable[[Path], Forecaster | None] = lambda _: None,
    ) -> Registry:
        """Load bundles, or `served_bundle` if none is given.

        Args:
            bundles: their folders, the active one first.
            allow_unfit: whether to accept bundles whose recipe failed its backtest.
            find: returns the model of a folder, or None if it must be loaded.

        Raises:
            BundleError: if a bundle cannot be loaded.
            ValueError: if two have the same version.
        """
        return cls([find(folder) or load_bundle(folder, allow_unfit=allow_unfit) for folder in bundle_folders(bundles)])

    def get(self, version: str = "") -> Forecaster:
        """Return the model of a version, or the active one if `version` is empty.

        Raises:
            UnknownModel: if no model of that version is loaded.
        """
        if not version:
            return self._active
        try:
            return self._loaded[version]
        except KeyError:
            raise UnknownModel(version, tuple(self._loaded)) from None

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of the loaded models, the active one first."""
        return tuple(self._loaded)

    def choose(self) -> Chosen:
        """Return the model that answers requests without a version: the active one."""
        return self._chosen

    async def wait_for(self, sequence: int) -> None:
        """Do nothing: these models do not change."""

    def challengers(self) -> list[Forecaster]:
        """Return an empty list: these models have no challengers."""
        return []

    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """Return the course of a similar game of a forecast.

        Args:
            forecast: an explained forecast, of any model version: a refreshed bundle has the games of the bundle that
                it was made from.
            game: one of its similar games.

        Returns:
            Its differentials, in points, at the end of each of its minutes before the horizon; empty if no loaded model
            has the game.
        """
        return next((found for each in self._loaded.values() if (found := each.course(forecast, game))), ())

    def models(self) -> list[ModelInfo]:
        """List the loaded models, the active one first."""
        return [forecaster.info for forecaster in self._loaded.values()]
