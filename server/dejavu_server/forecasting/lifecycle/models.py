"""Interface of a worker's models: which ones are loaded, and which one answers.

A `dejavu_store.registry.Registry` implements it without changes; `ServingModels` follows the roster of the
ledger (follower.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from dejavu_ledger.errors import LedgerUnavailable, ModelsChanged
from dejavu_models.errors import UnknownModel, quoted
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import Forecast, ModelInfo, SimilarGame
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NotLoaded
from dejavu_store.registry import Chosen
from dejavu_store.stages import ALIASES, ModelStage, NotRegistered, Roster

WAIT_SECONDS: Final = 10.0
"""Longest time that a call waits until its worker follows a change of models."""

RETRY_SECONDS: Final = 0.05
"""Pause before the call checks again, if a model of the change is still being loaded."""


class Models(Protocol):
    """Models of a worker."""

    @property
    def roster(self) -> Roster:
        """The roster in force; empty without a model store."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of the loaded models, the active one first."""

    def get(self, version: str = "") -> Forecaster:
        """Return a loaded model by its version or an alias; the active one if `version` is empty.

        Raises:
            UnknownModel, NotRegistered: if there is no such model.
            NotLoaded: if it is not loaded.
        """

    def choose(self) -> Chosen:
        """Return the model that answers requests without a version."""

    def models(self) -> list[ModelInfo]:
        """Describe the loaded models, the active one first."""

    def challengers(self) -> list[Forecaster]:
        """Return the loaded challengers, `previous` included, in the order in which they were staged."""

    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """Return the course of a similar game of a forecast, from any thread; see `Registry.course`."""

    async def wait_for(self, sequence: int) -> None:
        """Wait until the change of models with a sequence number, or a later one, is in force.

        Raises:
            ModelsChanged: if that takes too long.
            LedgerError: if the ledger cannot be read.
        """


class ServingModels:
    """Loaded models and the roster in force, of one event loop; see `Models`.

    Attributes:
        follow: reads the roster and puts it in force; returns whether the newest one is.
        load_error: returns why a model could not be loaded, for people; empty if it was not tried.
        token: identifies everything other than the request that determines which model a name stands for.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Forecaster] = {}
        self._roster = Roster()
        self._chosen: Chosen | None = None
        self.follow: Callable[[], Awaitable[bool]] | None = None
        self.load_error: Callable[[str], str] = lambda version: ""
        self.token = b""

    @property
    def roster(self) -> Roster:
        """See `Models`."""
        return self._roster

    @property
    def versions(self) -> tuple[str, ...]:
        """See `Models`."""
        return tuple(sorted(self._loaded, key=lambda version: version != self._roster.champion))

    def get(self, version: str = "") -> Forecaster:
        """See `Models`."""
        if not version:
            return self.choose().forecaster
        name = self._roster.version_of(version)
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._roster.stages:
            raise UnknownModel(version, tuple(self._roster.stages))
        loaded = f"a model that is loaded: {', '.join(self.versions)}"
        raise NotLoaded(quoted(version), "; ".join(filter(None, [loaded, self.load_error(name)])))

    def choose(self) -> Chosen:
        """See `Models`.

        Raises:
            LedgerUnavailable: if the model is not known yet, because the ledger could not be read since the worker
                started.
        """
        if self._chosen is None:
            raise LedgerUnavailable("the models are not known until the ledger can be read")
        return self._chosen

    def models(self) -> list[ModelInfo]:
        """See `Models`."""
        return [self._loaded[version].info for version in self.versions]

    def challengers(self) -> list[Forecaster]:
        """See `Models`."""
        return [self._loaded[version] for version in self._roster.challengers if version in self._loaded]

    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """See `Models`."""
        loaded = tuple(self._loaded.values())  # a copy: another thread may add to it
        return next((found for each in loaded if (found := each.course(forecast, game))), ())

    async def wait_for(self, sequence: int) -> None:
        """See `Models`."""
        if self.follow is None:
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self._roster.sequence != sequence and not await self.follow():  # noqa: ASYNC110 - it looks itself
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            raise ModelsChanged(sequence) from None

    def is_loaded(self, version: str) -> bool:
        """Return whether a model is loaded."""
        return version in self._loaded

    def add(self, forecaster: Forecaster) -> None:
        """Add a loaded model."""
        self._loaded[forecaster.version] = forecaster

    def remove(self, version: str) -> None:
        """Unload a model; calls in progress keep it."""
        self._loaded.pop(version, None)

    def switch(self, roster: Roster) -> None:
        """Apply a roster whose champion is loaded."""
        self._chosen = Chosen(self._loaded[roster.champion], roster.sequence)
        self._roster = roster
        self.token = _token(roster)


def _token(roster: Roster) -> bytes:
    """Identify the versions of the aliases, and all versions."""
    versions = []
    for alias in ALIASES:
        try:
            versions.append(roster.version_of(alias))
        except NotRegistered:
            versions.append("")
    known = sorted(version for version, stage in roster.stages.items() if stage is not ModelStage.RETIRED)
    return hashlib.blake2b(" ".join([*versions, "|", *known]).encode(), digest_size=16).digest()
