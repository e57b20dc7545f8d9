"""Classes of a few points, which are too few for a mixture: groups that stand far apart."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from pcainit.engine.arrays import FloatArray
from pcainit.engine.volume_sets.clusters import Clusters, moments

MIN_POINTS = 4
MAX_POINTS = 40  # of more, the mixture's criterion tells
_DRAWS = 400  # sets of one group that tell what gap chance gives
_RARE = 0.99
_FLAT = 1e-6  # of the largest distance: points that are copies of each other


def cluster_by_gap(coordinates: FloatArray, sizes: FloatArray, seed: int) -> Clusters | None:
    """Groups whose members are much nearer to each other than to any other group.

    Points are merged by their average distances.  Where one merge is much longer than the one
    before it, longer than in 99 of 100 sets of as many points of one Gaussian with the same spread
    along each axis, what was merged before are the groups.  There are at most half as many groups
    as points, so that most have a neighbour to stand near to.

    Parameters
    ----------
    coordinates : (n, q) float64
    sizes : (n,) float64
        How much each point counts; only orders the groups.
    seed : int

    Returns
    -------
    Clusters
        Largest first; None where there are no such groups, or too few or too many points.
    """
    n = len(coordinates)
    if not MIN_POINTS <= n <= MAX_POINTS:
        return None
    gap, count = _largest_gap(coordinates)
    rng = np.random.default_rng([seed, 52])
    spread = coordinates.std(axis=0)
    chance = [_largest_gap(rng.normal(size=coordinates.shape) * spread)[0] for _ in range(_DRAWS)]
    if not gap > np.quantile(chance, _RARE):
        return None
    label = fcluster(linkage(coordinates, "average"), count, "maxclust") - 1
    order = np.argsort(-np.bincount(label, weights=sizes), kind="stable")
    return moments(coordinates, np.eye(len(order))[np.argsort(order)[label]])


def _largest_gap(points: FloatArray) -> tuple[float, int]:
    """Largest ratio of a merge's length to that of the one before, and the groups between them."""
    lengths = linkage(points, "average")[:, 2]
    lengths = np.maximum(lengths, _FLAT * max(float(lengths[-1]), 1e-300))
    counts = np.arange(2, len(points) // 2 + 1)
    ratios = lengths[len(points) - counts] / lengths[len(points) - counts - 1]
    best = int(ratios.argmax())
    return float(ratios[best]), int(counts[best])
