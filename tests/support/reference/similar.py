"""Members of the groups of a database, and its games as rows."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Integers
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.features import LIVE_COLUMNS, Rows


def members_of(dejavu: Dejavu, minute: int, groups: Integers) -> Integers:
    """Return the images in groups, (k,), group by group."""
    parts = [dejavu.members[minute - 1, dejavu.starts[each] : dejavu.starts[each + 1]] for each in groups.tolist()]
    return np.concatenate(parts).astype(np.int64)


def past_rows(dejavu: Dejavu, minute: int, games: Integers) -> Rows:
    """Return past games as rows after a minute."""
    live = np.full((len(games), len(LIVE_COLUMNS)), np.nan)
    totals = dejavu.games.totals[games, minute - 1].astype(np.float64)
    live[:, 0] = np.where(totals < 0, np.nan, totals)
    patterns = dejavu.games.differentials[games, :minute].astype(np.float64)
    return Rows(patterns, dejavu.games.margins[games].astype(np.float64), live)
