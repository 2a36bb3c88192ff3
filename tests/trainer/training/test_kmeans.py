from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_trainer.training.dejavu import cluster, group_means


def test_heaps_are_found() -> None:
    rng = np.random.default_rng(0)
    heaps = np.repeat(np.arange(5), 20)
    points = (100 * np.eye(5)[heaps] + rng.normal(0, 1, (100, 5))).astype(np.float32)
    groups = cluster(points, 5, seed=1)
    assert len({(heap, group) for heap, group in zip(heaps.tolist(), groups.tolist(), strict=True)}) == 5


@given(st.integers(1, 60), st.integers(0, 5), st.integers(1, 8))
def test_every_group_has_a_member(count: int, seed: int, values: int) -> None:
    """With few distinct values points coincide; there are at most as many groups as distinct points."""
    points = np.random.default_rng(seed).integers(0, values, (60, 2)).astype(np.float32)
    groups = cluster(points, count, seed)
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    assert groups.max() + 1 == min(count, len(np.unique(points, axis=0)))


def test_groups_fit_closer_than_games_drawn_at_random() -> None:
    points = np.random.default_rng(3).normal(0, 1, (2000, 6)).astype(np.float32)
    groups = cluster(points, 50, 0)
    loss = np.square(points - group_means(points.astype(float), groups)[groups]).sum()
    drawn = points[np.random.default_rng(0).choice(2000, 50, replace=False)]
    assert loss < 0.8 * np.square(points[:, None] - drawn[None]).sum(axis=2).min(axis=1).sum()


def test_the_same_seed_gives_the_same_groups() -> None:
    points = np.random.default_rng(4).normal(0, 1, (300, 3)).astype(np.float32)
    assert np.array_equal(cluster(points, 40, 7), cluster(points, 40, 7))
    assert not np.array_equal(cluster(points, 40, 7), cluster(points, 40, 8))


@pytest.mark.parametrize("count", [0, 11])
def test_as_many_prototypes_as_games_at_most(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} prototypes of 10 games"):
        cluster(np.zeros((10, 2), dtype=np.float32), count, 0)


def test_means_by_group() -> None:
    groups = np.array([1, 0, 1])
    assert group_means(np.array([2.0, 5.0, 4.0]), groups).tolist() == [5.0, 3.0]
    assert group_means(np.array([[2.0, 0.0], [5.0, 1.0], [4.0, 4.0]]), groups).tolist() == [[5.0, 1.0], [3.0, 2.0]]
