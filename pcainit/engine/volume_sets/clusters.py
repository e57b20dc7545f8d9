"""Classes in any space of coordinates: a Gaussian mixture, or steps along one axis."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.compiled.threads import one_thread
from pcainit.engine.volume_sets.batches import draw_batches

MAX_CLASSES = 12
MIN_MEMBERS = 8  # points for each class that is tried
MAX_POINTS = 50000  # that a mixture is fitted to; more do not move it
MAX_AXES = 10


@dataclass(frozen=True, eq=False)
class Clusters:
    """Classes of n points in q dimensions.

    Parameters
    ----------
    posterior : (n, K) float64
        Share of each class in each point.
    weights : (K,) float64
        Decreasing for a mixture; in order along an axis.
    centres : (K, q) float64
    covariances : (K, q, q) float64
    tried : (t,) int
        Numbers of classes that were tried.
    bic : (t,) float64
        Their Bayesian information criterion; smaller is better.
    """

    posterior: FloatArray
    weights: FloatArray
    centres: FloatArray
    covariances: FloatArray
    tried: IntArray
    bic: FloatArray


def principal_axes(coordinates: FloatArray, most: int = MAX_AXES) -> FloatArray:
    """Coordinates turned so that the first axis has the largest variance, centred.

    Parameters
    ----------
    coordinates : (n, q)
    most : int
        Axes kept; those without any variance are left out.

    Returns
    -------
    (n, p) float64
    """
    centred = np.asarray(coordinates, np.float64) - np.mean(coordinates, axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / max(len(centred) - 1, 1))
    values, axes = values[::-1], axes[:, ::-1]
    kept = (values > 1e-10 * max(float(values[0]), 1e-300))[:most]
    axes = axes[:, :most][:, kept]
    out: FloatArray = centred @ (
        axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    )
    return out


def cluster_mixture(
    coordinates: FloatArray,
    n_classes: int,
    seed: int,
    most: int = MAX_CLASSES,
    sizes: FloatArray | None = None,
    least: float = 0.0,
) -> Clusters:
    """Gaussian mixture with full covariances.

    A point that stands for many particles counts as so many points: it is known better, and the
    classes' shares are shares of particles.  The choice of a number goes by how many points of
    equal size would say as much, ``(sum s)^2 / sum s^2``: particles averaged together are no
    independent witnesses.

    Parameters
    ----------
    coordinates : (n, q) float64
    n_classes : int
        0: the number with the smallest BIC.
    seed : int
    most : int
        Classes to try at most.
    sizes : (n,) float64, optional
        How much each point counts, positive; the same for all when not given.
    least : float
        Points of a class, in shares; numbers with smaller classes are not chosen, unless all have
        such.

    Returns
    -------
    Clusters
        Largest first.
    """
    from sklearn.mixture import GaussianMixture

    scale = max(float(coordinates.std(axis=0).max()), 1e-30)
    points = coordinates / scale
    some, counted = points, np.ones(len(points)) if sizes is None else np.asarray(sizes, float)
    if len(points) > MAX_POINTS:
        rng = np.random.default_rng([seed, 51])
        chosen = draw_batches(np.arange(len(points)), 1, MAX_POINTS, rng)[0]
        some, counted = points[chosen], counted[chosen]
    effective = counted.sum() ** 2 / (counted**2).sum()
    most = max(1, min(most, int(effective + 1e-6) // MIN_MEMBERS))
    copied = np.repeat(some, _copies(counted), axis=0)
    tried = np.array([n_classes] if n_classes else range(1, most + 1))
    restarts = 8 if len(some) < 5000 else 3
    fits, bic, q = [], [], points.shape[1]
    for k in tried:
        with one_thread():
            fits.append(
                GaussianMixture(
                    int(k), n_init=restarts, random_state=seed, max_iter=300, reg_covar=1e-6
                ).fit(copied)
            )
        gain = float(np.average(fits[-1].score_samples(some), weights=counted))
        free = k * (q + 1) * (q + 2) // 2 - 1  # centres, covariances and shares
        bic.append(free * np.log(effective) - 2 * effective * gain)
        if len(bic) >= 4 and bic[-1] > bic[-2] > bic[-3] > bic[-4]:
            break
    ranked = [fits[k] for k in np.argsort(bic, kind="stable")]
    model = next(
        (
            fit
            for fit in ranked
            if least <= 0 or fit.predict_proba(points).sum(axis=0).min() >= least
        ),
        ranked[0],
    )
    order = np.argsort(-model.weights_, kind="stable")
    posterior = model.predict_proba(points)[:, order]
    return Clusters(
        posterior,
        model.weights_[order],
        model.means_[order] * scale,
        model.covariances_[order] * scale**2,
        tried[: len(bic)],
        np.array(bic),
    )


def _copies(sizes: FloatArray) -> IntArray:
    """How often to repeat each point so that it counts by its size, at least once."""
    smallest = max(float(sizes.min()), float(sizes.sum()) / MAX_POINTS)
    out: IntArray = np.maximum(np.rint(sizes / smallest), 1).astype(int)
    return out


def even_steps(values: FloatArray, count: int) -> FloatArray:
    """The middle value of each of `count` equal shares of the points, (count,) float64."""
    return np.quantile(values, (np.arange(count) + 0.5) / count)


def cluster_along(coordinates: FloatArray, axis: int, n_classes: int) -> Clusters:
    """Points at even shares along one axis; each class fades into its neighbours.

    Parameters
    ----------
    coordinates : (n, q) float64
    axis : int
        From 0.
    n_classes : int

    Returns
    -------
    Clusters
        In the order of the axis.
    """
    values = coordinates[:, axis]
    centres = even_steps(values, n_classes)
    gaps = np.maximum(np.gradient(centres), 1e-12) if n_classes > 1 else np.array([np.inf])
    logs = -0.5 * ((values[:, None] - centres) / (0.5 * gaps)) ** 2 - np.log(gaps)
    posterior = np.exp(logs - logs.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    return moments(coordinates, posterior)


def moments(coordinates: FloatArray, posterior: FloatArray) -> Clusters:
    """Weights, centres and covariances of classes whose shares in each point are given."""
    total = np.maximum(posterior.sum(axis=0), 1e-30)
    centres = posterior.T @ coordinates / total[:, None]
    covariances = np.stack(
        [
            (coordinates - c).T @ (share[:, None] * (coordinates - c)) / t
            for c, share, t in zip(centres, posterior.T, total)
        ]
    )
    none = np.zeros(0)
    return Clusters(posterior, total / len(posterior), centres, covariances, none.astype(int), none)


def drop_empty_classes(clusters: Clusters) -> Clusters:
    """Without classes that no point belongs to most."""
    label = clusters.posterior.argmax(axis=1)
    kept = np.flatnonzero(np.bincount(label, minlength=len(clusters.weights)))
    posterior = clusters.posterior[:, kept]
    return dataclasses.replace(
        clusters,
        posterior=posterior / posterior.sum(axis=1, keepdims=True),
        weights=clusters.weights[kept] / clusters.weights[kept].sum(),
        centres=clusters.centres[kept],
        covariances=clusters.covariances[kept],
    )
