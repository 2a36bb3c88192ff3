"""The models of a worker: which ones are loaded, and which one answers.

With a model store they follow the roster of the ledger (follower.py); without one they never change.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from dejavu_ledger.errors import LedgerUnavailable, ModelsChanged
from dejavu_models.errors import UnknownModel, quoted
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import Forecast, ModelInfo, SimilarGame
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NotLoaded
from dejavu_server.forecasting.lifecycle.replicas import LoadFailure
from dejavu_store.stages import ALIASES, ModelStage, NotRegistered, Roster

WAIT_SECONDS: Final = 10.0
"""Longest time that a call waits until its worker follows a change of models."""

RETRY_SECONDS: Final = 0.05
"""Pause before the call checks again, if a model of the change is still being loaded."""


class Chosen(NamedTuple):
    """The model that answers a request.

    Attributes:
        forecaster: the model.
        roster_sequence: sequence number of the last change of the roster that chose the model; None if no roster chose
            it.
    """

    forecaster: Forecaster
    roster_sequence: int | None = None


class ServingModels:
    """Loaded models and the roster in force, of one event loop.

    Args:
        forecasters: loaded models, of which the first answers until there is a roster; none with a model store.

    Attributes:
        follow: reads the roster and puts it in force; returns whether the newest one is.
        failures: why models could not be loaded, by version.
        token: identifies everything other than the request that determines which model a name stands for.
    """

    def __init__(self, forecasters: Sequence[Forecaster] = ()) -> None:
        self._loaded = {each.version: each for each in forecasters}
        self._roster = Roster()
        self._chosen = Chosen(forecasters[0]) if forecasters else None
        self.follow: Callable[[], Awaitable[bool]] | None = None
        self.failures: dict[str, LoadFailure] = {}
        self.token = b""

    @property
    def roster(self) -> Roster:
        """The roster in force; empty without a model store."""
        return self._roster

    @property
    def versions(self) -> tuple[str, ...]:
        """Versions of the loaded models, the active one first."""
        return tuple(sorted(self._loaded, key=lambda version: version != self._roster.champion))

    def get(self, version: str = "") -> Forecaster:
        """Return a loaded model by its version or an alias; the active one if `version` is empty.

        Raises:
            UnknownModel, NotRegistered: if there is no such model.
            NotLoaded: if it is not loaded.
        """
        if not version:
            return self.choose().forecaster
        name = self._roster.version_of(version) if self._roster.stages else version
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._roster.stages:
            raise UnknownModel(version, tuple(self._roster.stages or self._loaded))
        expected = f"a model that is loaded: {', '.join(self.versions)}"
        if name in self.failures:
            expected += f"; model {name} cannot be loaded: {self.failures[name].error}"
        raise NotLoaded(quoted(version), expected)

    def choose(self) -> Chosen:
        """Return the model that answers requests without a version.

        Raises:
            LedgerUnavailable: if the model is not known yet, because the ledger could not be read since the worker
                started.
        """
        if self._chosen is None:
            raise LedgerUnavailable("the models are not known until the ledger can be read")
        return self._chosen

    def models(self) -> list[ModelInfo]:
        """Describe the loaded models, the active one first."""
        return [self._loaded[version].info for version in self.versions]

    def shadowing(self) -> list[Forecaster]:
        """Return the models that shadow each other: the active one, then the loaded challengers, `previous` included.

        The challengers are in the order in which they were staged.
        """
        challengers = [self._loaded[version] for version in self._roster.challengers if version in self._loaded]
        return [self.choose().forecaster, *challengers]

    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """Return the course of a similar game of a forecast, from any thread.

        Args:
            forecast: an explained forecast, of any model version: a refreshed bundle has the games of the bundle that
                it was made from.
            game: one of its similar games.

        Returns:
            Its differentials, in points, at the end of each of its minutes before the horizon; empty if no loaded model
            has the game.
        """
        loaded = tuple(self._loaded.values())  # a copy: another thread may add to it
        return next((found for each in loaded if (found := each.course(forecast, game))), ())

    async def wait_for(self, sequence: int) -> None:
        """Wait until the change of models with a sequence number, or a later one, is in force.

        Raises:
            ModelsChanged: if that takes too long.
            LedgerError: if the ledger cannot be read.
        """
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
