"""Frozen dataclasses with the faster constructor behave as they would without it."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, field, replace

import pytest

from dejavu_common.frozen import fast_frozen


@fast_frozen
class Game:
    """A game."""

    home: str
    away: str = "NYK"
    margin: float | None = None
    tag: object = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.home == self.away:
            raise ValueError("the same team twice")


def test_arguments_defaults_and_what_is_compared_are_as_declared() -> None:
    assert repr(Game("BOS")) == "Game(home='BOS', away='NYK', margin=None, tag=None)"
    assert Game("BOS", "LAL", margin=1.5) == Game(away="LAL", home="BOS", margin=1.5, tag="other")
    assert hash(Game("BOS")) == hash(Game("BOS"))
    assert [(each.name, each.default) for each in inspect.signature(Game).parameters.values()][:2] == [
        ("home", inspect.Parameter.empty),
        ("away", "NYK"),
    ]
    for arguments in ({}, {"home": "BOS", "unknown": 1}):
        with pytest.raises(TypeError):
            Game(**arguments)  # type: ignore[arg-type]


def test_it_stays_frozen_and_is_checked_copied_replaced_and_pickled() -> None:
    game = Game("BOS", margin=2.0)
    with pytest.raises(FrozenInstanceError):
        game.home = "LAL"  # type: ignore[misc]
    with pytest.raises(ValueError, match="same team"):
        replace(game, home="NYK")
    assert replace(game, margin=3.0) == Game("BOS", margin=3.0)
    for twin in (copy.copy(game), copy.deepcopy(game), pickle.loads(pickle.dumps(game))):
        assert twin == game
        assert type(twin) is Game
