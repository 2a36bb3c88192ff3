"""Random queries of any minute that can be asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import HORIZONS


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
