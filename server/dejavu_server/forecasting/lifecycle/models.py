"""Interface of a worker's models: which ones are loaded, and which one answers for a game.

A `dejavu_models.registry.registry.Registry` implements it without changes; `ServingModels` follows the roster of the
ledger (follower.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from dejavu_models.errors import UnknownModel, quoted
from dejavu_models.forecaster import Forecaster
from dejavu_models.registry.registry import Chosen
from dejavu_models.registry.stages import ALIASES, CHALLENGER, CHAMPION, ModelStage, NotRegistered, Roster
from dejavu_models.types import Forecast, ModelInfo, SimilarGame
from dejavu_server.forecasting.lifecycle.errors import NotLoaded
from dejavu_server.ledger.errors import LedgerUnavailable, ModelsChanged

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

    async def obtain(self, version: str) -> Forecaster:
        """Return a model as `get` does; load it first if loading on demand is set up.

        Raises:
            UnknownModel, NotRegistered, NotLoaded: as `get`.
            Overloaded: if too many models that are not loaded are requested.
        """

    def choose(self, game_id: str) -> Chosen:
        """Return the model that answers for a game, or for a what-if if the id is empty."""

    def models(self) -> list[ModelInfo]:
        """Describe the loaded models, the active one first."""

    def challengers(self) -> list[Forecaster]:
        """Return the loaded challengers, `previous` included, in the order in which they were staged."""

    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """Return the course of a similar game of a forecast; see `Registry.course`."""

    async def wait_for(self, sequence: int) -> None:
        """Wait until the change of models with a sequence number, or a later one, is in force.

        Raises:
            ModelsChanged: if that takes too long.
            LedgerError: if the ledger cannot be read.
        """


class ServingModels:
    """Loaded models and the roster in force, of one event loop; see `Models`.

    Args:
        max_models: maximum number of models to keep; beyond it, the least recently used ones that the roster does not
            name are evicted.

    Attributes:
        follow: reads the roster and puts it in force; returns whether the newest one is.
        load: loads a registered model on demand; None: such a model is refused.
        load_error: returns why a model could not be loaded, for people; empty if it was not tried.
        token: identifies everything other than the request that determines which model a name stands for.
    """

    def __init__(self, max_models: int) -> None:
        self._max_models = max_models
        self._loaded: dict[str, Forecaster] = {}  # the most recently requested last
        self._roster = Roster()
        self._chosen: Chosen | None = None
        self.follow: Callable[[], Awaitable[bool]] | None = None
        self.load: Callable[[str], Awaitable[None]] | None = None
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
            return self.choose("").forecaster
        name = self._version_of(version)
        forecaster = self._loaded.pop(name, None)
        if forecaster is None:
            loaded = f"a model that is loaded: {', '.join(self.versions)}"
            raise NotLoaded(quoted(version), "; ".join(filter(None, [loaded, self.load_error(name)])))
        self._loaded[name] = forecaster
        return forecaster

    async def obtain(self, version: str) -> Forecaster:
        """See `Models`."""
        if self.load is not None:
            name = self._version_of(version)
            if name not in self._loaded:
                await self.load(name)
        return self.get(version)

    def _version_of(self, name: str) -> str:
        version = self._roster.version_of(name)
        if version not in self._roster.stages and version not in self._loaded:
            raise UnknownModel(name, tuple(self._roster.stages))
        return version

    def choose(self, game_id: str) -> Chosen:
        """See `Models`.

        Raises:
            LedgerUnavailable: if the model is not known yet, because the ledger could not be read since the worker
                started.
        """
        if self._chosen is None:
            raise LedgerUnavailable("the models are not known until the ledger can be read")
        roster = self._roster
        if not roster.shares or not game_id:
            return self._chosen
        version = roster.route(game_id)
        return Chosen(self._loaded[version], roster.sequence, CHAMPION if version == roster.champion else CHALLENGER)

    def models(self) -> list[ModelInfo]:
        """See `Models`."""
        return [self._loaded[version].info for version in self.versions]

    def challengers(self) -> list[Forecaster]:
        """See `Models`."""
        return [self._loaded[version] for version in self._roster.challengers if version in self._loaded]

    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """See `Models`."""
        return next((found for each in self._loaded.values() if (found := each.course(forecast, game))), ())

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

    def is_loaded(self, versions: Iterable[str]) -> bool:
        """Return whether all of some models are loaded."""
        return all(version in self._loaded for version in versions)

    def add(self, forecaster: Forecaster) -> None:
        """Add a loaded model."""
        self._loaded[forecaster.version] = forecaster

    def remove(self, version: str) -> None:
        """Unload a model; calls in progress keep it."""
        self._loaded.pop(version, None)

    def switch(self, roster: Roster) -> None:
        """Apply a roster whose answering models are loaded."""
        chosen = Chosen(self._loaded[roster.champion], roster.sequence, "")
        self._roster, self._chosen = roster, chosen
        self.token = _token(roster)

    def superfluous(self, kept: Iterable[str]) -> list[str]:
        """Return the models to evict, least recently used first, so that at most `max_models` remain if possible.

        Args:
            kept: versions that stay.
        """
        others = [version for version in self._loaded if version not in set(kept)]
        return others[: max(0, len(self._loaded) - self._max_models)]


def answering(roster: Roster) -> tuple[str, ...]:
    """Return the versions that answer unversioned requests: the champion, then those with a share of games."""
    return (*([roster.champion] if roster.champion else []), *(version for version, _ in roster.shares))


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
