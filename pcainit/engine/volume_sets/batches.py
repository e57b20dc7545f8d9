"""The five-step method: random batches, PCA of their reconstructions, clusters, averages."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy import fft

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.compiled.threads import one_thread
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.poses import direction_order

_LEAST = 0.3  # of the amplitude: shells that have less are noise, which is not made larger
_CLEAR = 1e-6  # of the strongest shell's power: below, there is nothing to compare


def draw_batches(
    usable: IntArray,
    count: int,
    size: int,
    rng: np.random.Generator,
    *,
    directions: FloatArray | None = None,
) -> list[IntArray]:
    """Random batches of particles, disjoint as long as there are enough of them.

    The particles are shuffled and dealt; when all are dealt they are shuffled and dealt again.
    No particle is twice in one batch.

    Parameters
    ----------
    usable : (m,) int
        Particles to draw from.
    count, size : int
        Number of batches and particles in each (at most m).
    rng : numpy.random.Generator
    directions : (n, 3), optional
        View of every particle; when given, each batch gets its share of every view.

    Returns
    -------
    list of (size,) int64, sorted
    """
    usable = np.asarray(usable, np.int64)
    if directions is not None:
        return _draw_stratified(usable, count, size, rng, directions)
    batches: list[IntArray] = []
    pool = rng.permutation(usable)
    for _ in range(count):
        if len(pool) < size:
            fresh = rng.permutation(usable)
            waiting = np.isin(fresh, pool)  # dealt last, so as not to meet themselves
            pool = np.concatenate([pool, fresh[~waiting], fresh[waiting]])
        batches.append(np.sort(pool[:size]))
        pool = pool[size:]
    return batches


def _draw_stratified(
    usable: IntArray, count: int, size: int, rng: np.random.Generator, directions: FloatArray
) -> list[IntArray]:
    """Deal from a list sorted by view: neighbours in view go to different batches."""
    batches: list[IntArray] = []
    while len(batches) < count:
        dealt = max(1, min(count - len(batches), len(usable) // size))
        chosen = rng.permutation(usable)[: dealt * size]
        chosen = chosen[np.argsort(direction_order(directions[chosen]), kind="stable")]
        hands = chosen.reshape(size, dealt)  # each row: `dealt` neighbours in view
        hands = rng.permuted(hands, axis=1)
        batches.extend(np.sort(hands[:, k]) for k in range(dealt))
    return batches


def restore_amplitude(volumes: FloatArray, mean: FloatArray, grid: Grid) -> FloatArray:
    """Give volumes the amplitude that the Wiener filter of small batches took from them.

    All batches have as many particles, so what the filter leaves of each shell is the same for
    all: the part of the consensus that is in the mean of the batches.

    Parameters
    ----------
    volumes : (n, box, box, box) float32
    mean : (box, box, box) float32
        The consensus, of all particles.
    grid : Grid

    Returns
    -------
    (n, box, box, box) float32
    """
    power = grid.shell_profile(mean)
    left = grid.shell_profile(volumes.mean(axis=0), mean) / np.maximum(power, 1e-30)
    gain = np.ones(grid.n_shells + 1)
    clear = power > _CLEAR * power.max()
    gain[:-1][clear] = 1 / left[clear].clip(_LEAST, 1)
    factor = gain[grid.box_shells]
    out = np.empty_like(volumes)
    for k, volume in enumerate(volumes):
        out[k] = fft.irfftn(factor * fft.rfftn(volume), s=volume.shape)
    return out


def cluster_batches(coordinates: FloatArray, n_classes: int, seed: int) -> IntArray:
    """Gaussian mixture of the batches' coordinates; each batch's cluster.

    Parameters
    ----------
    coordinates : (n, c) float64
    n_classes : int
        At most n.
    seed : int

    Returns
    -------
    (n,) int, every cluster from 0 to n_classes - 1 present, largest first
    """
    from sklearn.mixture import GaussianMixture

    scaled = coordinates / max(float(coordinates[:, 0].std()), 1e-30)
    with one_thread():
        model = GaussianMixture(n_classes, n_init=10, random_state=seed).fit(scaled)
        label = model.predict(scaled)
    for k in range(n_classes):  # an empty cluster takes the batch nearest its centre
        if not (label == k).any():
            distance = ((scaled - model.means_[k]) ** 2).sum(axis=1)
            crowded = np.bincount(label, minlength=n_classes)[label] > 1
            label[np.argmin(np.where(crowded, distance, np.inf))] = k
    order = np.argsort(-np.bincount(label, minlength=n_classes), kind="stable")
    out: IntArray = np.argsort(order)[label]
    return out
