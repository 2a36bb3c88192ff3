"""Connections in turn."""

from __future__ import annotations

import itertools

import pytest

from dejavu_client.errors import ClientClosedError
from dejavu_client.pool import Pool


def test_lines_are_dialled_one_by_one_and_then_used_in_turn() -> None:
    numbers = itertools.count()
    pool = Pool(lambda: next(numbers), 3)
    assert [pool.take() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert pool.close() == [0, 1, 2]


def test_a_closed_pool_dials_no_more() -> None:
    pool = Pool(object, 2)
    line = pool.take()
    assert pool.close() == [line]
    assert pool.close() == []
    with pytest.raises(ClientClosedError):
        pool.take()


@pytest.mark.parametrize("size", [0, -1])
def test_a_pool_needs_a_line(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pool(object, size)
