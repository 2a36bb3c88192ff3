"""Splits games into parts by date, as in real use; a game is never divided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_trainer.data.games import Games


def split_seasons(games: Games, train: Sequence[int], calibrate: Sequence[int]) -> tuple[Games, Games]:
    """Return the training games and the calibration games.

    Raises:
        DataError: if the parts share a season, one of them is empty, a season has no game, or a calibration game is
            not later than all training games.
    """
    if shared := sorted(set(train) & set(calibrate)):
        seasons = ", ".join(map(str, shared))
        raise DataError(f"{seasons}: calibrating on training games would make the intervals too narrow")
    if not train or not calibrate:
        raise DataError("expected at least one training season and one calibration season")
    for season in (*train, *calibrate):
        if not (games.season == season).any():
            raise DataError(f"no games of season {season}")
    to_train, to_calibrate = games.of_seasons(train), games.of_seasons(calibrate)
    if (first := to_calibrate.date.min()) <= (last := to_train.date.max()):
        raise DataError(
            f"the calibration games begin on {first}, the training games end on {last}: calibrate on later games, like"
            " those to be forecast"
        )
    return to_train, to_calibrate


def hold_out_last(dates: NDArray[np.datetime64], share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of the earlier games and of the last ones, about `share` of all; a day's games stay together.

    Args:
        dates: (n,), ascending, datetime64[D].
        share: share of the games to hold out, in (0, 1).

    Returns:
        Two complementary masks, (n,) each.

    Raises:
        DataError: if one side would be empty.
    """
    cut = min(round(len(dates) * (1 - share)), len(dates) - 1)
    earlier = dates < dates[cut:][:1]
    if not earlier.any():
        raise DataError(f"{len(dates)} games are on too few days to hold out the last {share:.0%}")
    return earlier, ~earlier
