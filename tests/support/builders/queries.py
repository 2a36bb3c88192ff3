"""Queries of a moment, and random ones of any minute that can be asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from dejavu_feed.moment import Moment
from dejavu_feed.pattern import period_of, period_seconds
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import HORIZONS


def moment_at(elapsed: float, lead: int) -> Moment:
    """Return the moment so many seconds of play after tip-off."""
    period = period_of(elapsed)
    start = 720 * min(period - 1, 4) + 300 * max(period - 5, 0)
    return Moment(period, period_seconds(period) - (elapsed - start), lead)


def queries(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[ForecastQuery]:
    """Draw queries of random walks, with drawn values of the given fields."""
    return st.sampled_from(HORIZONS).flatmap(
        lambda horizon: st.builds(
            lambda changes, **drawn: ForecastQuery(
                ScorePattern(tuple(np.cumsum(changes).astype(float).tolist())), horizon, **drawn
            ),
            st.lists(st.integers(-7, 7), min_size=1, max_size=horizon.last_slot),
            **fields,
        )
    )
