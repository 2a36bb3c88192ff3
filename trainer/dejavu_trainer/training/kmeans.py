"""Clusters the games of a database into prototypes by k-means (scikit-learn's implementation of Lloyd's algorithm)."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dejavu_models.arrays import Floats, Integers, Singles

ROUNDS = 15
"""Maximum number of iterations; later ones hardly move the means."""


def cluster(vectors: Singles, count: int, seed: int) -> Integers:
    """Clusters vectors by k-means (Lloyd, Least squares quantization in PCM, 1982).

    Args:
        vectors: (n, dimensions).
        count: number of groups, 1 to n.
        seed: random seed of the initial means; the same vectors and seed give the same groups.

    Returns:
        (n,), the group of each vector. Groups are numbered from 0 without gaps; there are fewer than `count` only if
        vectors coincide.

    Raises:
        ValueError: if `count` is out of range.
    """
    if not 1 <= count <= len(vectors):
        raise ValueError(f"{count} prototypes of {len(vectors)} games")
    points = vectors.astype(np.float64)
    means = _seeds(points, count, np.random.default_rng(seed))
    # The result has the groups nearest to the means after max_iter iterations: one more than the means moved.
    model = KMeans(len(means), init=means, n_init=1, max_iter=ROUNDS - 1, tol=0.0, algorithm="lloyd")
    with threadpool_limits(1, "openmp"):  # the order of summation depends on the number of threads
        groups: Integers = model.fit(points).labels_.astype(np.int64)
    return groups


def group_means(values: Floats, groups: Integers) -> Floats:
    """Computes the means of values by group, for groups 0 … max without gaps: (n, …) → (groups, …)."""
    sums = np.zeros((groups.max() + 1, *values.shape[1:]))
    np.add.at(sums, groups, values)
    counts = np.bincount(groups)
    return sums / counts.reshape(-1, *([1] * (values.ndim - 1)))


def _seeds(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draws initial means from the points, with probability ∝ squared distance to the nearest mean drawn before.

    This is k-means++ (Arthur & Vassilvitskii, 2007). scikit-learn's variant draws several candidates for each mean; the
    prototypes of published bundles were seeded by this one.
    """
    chosen = [int(rng.integers(len(points)))]
    nearest = np.square(points - points[chosen[0]]).sum(axis=1)
    while len(chosen) < count:
        cumulative = nearest.cumsum()
        if cumulative[-1] <= 0:  # every point coincides with a chosen one
            break
        # A draw below 1 may round up to the total; then take the last point with positive weight.
        drawn = cumulative.searchsorted(rng.random() * cumulative[-1], side="right")
        chosen.append(int(min(drawn, np.flatnonzero(nearest)[-1])))
        nearest = np.minimum(nearest, np.square(points - points[chosen[-1]]).sum(axis=1))
    return points[chosen]
