"""Clusters the games of a database into prototypes by k-means.

Lloyd's algorithm (Least squares quantization in PCM, 1982), initialized by k-means++ (Arthur & Vassilvitskii, 2007).
docs/decisions/0030-by-hand.md explains why scikit-learn's is not used.
"""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles

ROUNDS = 15
"""Maximum number of iterations of Lloyd's algorithm; later ones hardly move the means."""
_CHUNK = 2048


def cluster(vectors: Singles, count: int, seed: int) -> Integers:
    """Cluster vectors by k-means.

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
    groups = np.full(len(points), -1)
    for _ in range(ROUNDS):
        nearest, distances = _nearest(points, means)
        _fill_empty(nearest, distances, len(means))
        if (nearest == groups).all():
            break
        groups = nearest
        means = group_means(points, groups)
    return groups


def group_means(values: Floats, groups: Integers) -> Floats:
    """Compute the means of values by group, for groups 0 … max without gaps: (n, …) → (groups, …)."""
    sums = np.zeros((groups.max() + 1, *values.shape[1:]))
    np.add.at(sums, groups, values)
    counts = np.bincount(groups)
    return sums / counts.reshape(-1, *([1] * (values.ndim - 1)))


def _seeds(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draw initial means from the points, with probability ∝ squared distance to the nearest mean drawn before."""
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


def _nearest(points: Floats, means: Floats) -> tuple[Integers, Floats]:
    """Return the nearest mean of each point and the squared distance to it; in chunks, to bound the memory."""
    half_squares = np.square(means).sum(axis=1) / 2
    nearest = np.empty(len(points), dtype=np.int64)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        nearest[part] = (half_squares - points[part] @ means.T).argmin(axis=1)
    return nearest, np.square(points - means[nearest]).sum(axis=1)


def _fill_empty(groups: Integers, distances: Floats, count: int) -> None:
    """Move into each empty group, in place, the point farthest from its mean whose group has other points."""
    sizes = np.bincount(groups, minlength=count)
    candidates = iter(np.argsort(-distances, kind="stable"))
    for empty in np.flatnonzero(sizes == 0):
        point = next(point for point in candidates if sizes[groups[point]] > 1)
        sizes[groups[point]] -= 1
        sizes[empty] += 1
        groups[point] = empty
