from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.random_walks import random_walks

from dejavu_feed.errors import DataError
from dejavu_trainer.data.split import hold_out_last, split_seasons


@pytest.mark.parametrize(
    ("train", "calibrate", "message"),
    [
        ([2019, 2020], [2020, 2021], "2020: calibrating on training games"),
        ([2020], [2019], "begin on 2018-11-01, the training games end on 2019-11-03"),
        ([2018, 2020], [2019, 2021], "begin on 2018-11-01, the training games end on 2019-11-03"),
        ([2019], [], "at least one"),
        ([], [2019], "at least one"),
        ([2019], [2030], "no games of season 2030"),
    ],
)
def test_parts_that_share_a_season_overlap_in_time_or_are_empty_are_refused(
    train: list[int], calibrate: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split_seasons(random_walks(10, range(2018, 2022)), train, calibrate)


@given(st.lists(st.integers(0, 60), min_size=2, max_size=200), st.floats(0.01, 0.99))
def test_what_is_held_out_is_later_day_by_day(days: list[int], share: float) -> None:
    dates = np.datetime64("2020-11-01") + np.sort(np.array(days)).astype("timedelta64[D]")
    try:
        earlier, later = hold_out_last(dates, share)
    except DataError:
        assert (dates[: len(dates) - round(len(dates) * share)] == dates[0]).all()
        return
    assert (earlier ^ later).all()
    assert earlier.any()
    assert later.any()
    assert dates[earlier].max() < dates[later].min()
    largest_day = np.unique(dates, return_counts=True)[1].max()
    assert abs(later.sum() - share * len(dates)) <= largest_day + 1
