"""A fold over outcomes that can be rewound."""

from __future__ import annotations

from datetime import date

from dejavu_models.types import Horizon
from dejavu_server.forecasting.projection import SNAPSHOT_EVERY, Projection, Snapshot
from dejavu_server.ledger.queries.learning import SettledGame


def test_a_fold_goes_back_no_further_than_it_has_to() -> None:
    fold: Projection[int] = Projection(0, lambda count, _: count + 1)
    games = [
        SettledGame(place, "", Horizon.FINAL, 1, "", "", date(2024, 11, 20), ())
        for place in range(1, 3 * SNAPSHOT_EVERY)
    ]
    passed = fold.advance(games)
    assert [point.sequence for point in passed] == [SNAPSHOT_EVERY, 2 * SNAPSHOT_EVERY]
    fold.rewind(SNAPSHOT_EVERY + 1)
    assert fold.current.sequence == SNAPSHOT_EVERY
    fold.rewind(SNAPSHOT_EVERY)
    assert fold.current == Snapshot(0, 0, 0)
