from __future__ import annotations

import threading

import numpy as np
import pytest

from dejavu_trainer.execution import map_threads


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_every_piece_is_told(workers: int) -> None:
    told = list[int]()
    assert map_threads(lambda piece: piece**2, range(20), workers, told.append) == [n**2 for n in range(20)]
    assert told == [1] * 20


def test_pieces_run_at_the_same_time() -> None:
    """Each waits for the other; run sequentially they would time out."""
    both = threading.Barrier(2, timeout=30)
    assert sorted(map_threads(lambda _: both.wait(), range(2), 2, lambda _: None)) == [0, 1]


def test_products_do_not_depend_on_how_many_work() -> None:
    rng = np.random.default_rng(0)
    pieces = [(rng.normal(size=(200, 300)), rng.normal(size=(300, 100))) for _ in range(4)]
    alone, together = (
        map_threads(lambda pair: pair[0] @ pair[1], pieces, workers, lambda _: None) for workers in (1, 4)
    )
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_what_goes_wrong_in_a_piece_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        map_threads(lambda piece: 1 // piece, [1, 0, 2], 2, lambda _: None)
