"""Which games go where. One game is the unit, and the cuts are made by date, as they would be in life."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dejavu_trainer.data.games import DataError, Games


class SplitError(DataError):
    """The games can't be divided as asked."""


def split_seasons(games: Games, train: Sequence[int], calibrate: Sequence[int]) -> tuple[Games, Games]:
    """The games to train and to calibrate on.

    Raises:
        SplitError: if the parts share a season, one of them is empty, a season has no game, or a game to calibrate on
            was not after all those to train on.
    """
    if shared := sorted(set(train) & set(calibrate)):
        seasons = ", ".join(map(str, shared))
        raise SplitError(f"{seasons}: to calibrate on games that a model saw would make its intervals too narrow")
    if not train or not calibrate:
        raise SplitError("there must be a season to train on and one to calibrate on")
    for season in (*train, *calibrate):
        if not (games.season == season).any():
            raise SplitError(f"there is no game of season {season}")
    to_train, to_calibrate = games.of_seasons(train), games.of_seasons(calibrate)
    if (first := to_calibrate.date.min()) <= (last := to_train.date.max()):
        raise SplitError(
            f"the games to calibrate on begin on {first}, those to train on end on {last}: calibrate on later games, as"
            " those to forecast will be"
        )
    return to_train, to_calibrate


def hold_out_last(dates: NDArray[np.datetime64], share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of the earlier games and of the last ones, about `share` of all; a day's games stay together.

    Args:
        dates: (n,), ascending, datetime64[D].
        share: of the games that shall be held out, in (0, 1).

    Returns:
        Two masks, (n,) each, that are each other's complement.

    Raises:
        SplitError: if one side would be empty.
    """
    cut = min(round(len(dates) * (1 - share)), len(dates) - 1)
    earlier = dates < dates[cut:][:1]
    if not earlier.any():
        raise SplitError(f"{len(dates)} games are too few days of play to hold out the last {share:.0%}")
    return earlier, ~earlier
