"""Checks that a forecast was made by the model that the roster chose for its game.

A forecast of a server with a model store has the sequence of the change of models by which its model was chosen, unless
the request named a model. Others, and those of servers without a store, may be of any model.
"""

from __future__ import annotations

from dejavu_models.registry.stages import CHALLENGER, CHAMPION, Roster
from dejavu_server.records import IssuedForecast


def fault_of(issued: IssuedForecast, roster: Roster) -> str | None:
    """Returns why a recorded forecast cannot be of its model, in words; None if it can.

    Args:
        issued: the forecast.
        roster: the models after all changes before it.
    """
    if issued.roster_sequence is None:
        return None
    if issued.roster_sequence != roster.sequence:
        return f"its model was chosen by the change at {issued.roster_sequence}, but that at {roster.sequence} stood"
    chosen, version = roster.route(issued.game_id), issued.forecast.model_version
    if version != chosen:
        return f"it claims to be of model {version}, but {chosen} was chosen for its game"
    arm = "" if not roster.shares else CHAMPION if version == roster.champion else CHALLENGER
    if issued.arm != arm:
        return f"its arm is {issued.arm!r}; expected {arm!r}"
    return None
