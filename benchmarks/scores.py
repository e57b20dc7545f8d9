"""Figures of merit for volumes and classes whose truth is known."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools

import numpy as np
from scipy import fft
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score


def low_pass(volumes: np.ndarray, cutoff: float) -> np.ndarray:
    """Volumes (c, n, n, n) without the Fourier samples beyond `cutoff` pixels."""
    n = volumes.shape[-1]
    f, x = fft.fftfreq(n, 1 / n), fft.rfftfreq(n, 1 / n)
    keep = f[:, None, None] ** 2 + f[None, :, None] ** 2 + x**2 < cutoff**2
    return np.array([fft.irfftn(np.where(keep, fft.rfftn(v), 0), s=v.shape) for v in volumes])


def differences(volumes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Volumes minus their weighted mean: the difference maps."""
    weights = np.asarray(weights, float)
    return volumes - np.einsum("k,kzyx->zyx", weights / weights.sum(), volumes)


def correlations(found: np.ndarray, true: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Normalised correlation of each difference map found with each true one, (k, c)."""
    a, b = (_flat(maps, mask) for maps in (found, true))
    size = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return np.where(size > 1e-12 * max(size.max(), 1e-300), a @ b.T / np.maximum(size, 1e-300), 0)


def _flat(maps: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return (maps if mask is None else maps * mask).reshape(len(maps), -1).astype(np.float64)


def best_match(table: np.ndarray) -> dict[int, int]:
    """One-to-one assignment with the largest sum: column (truth) -> row (found)."""
    rows, columns = linear_sum_assignment(-np.asarray(table, float))
    return {int(c): int(r) for r, c in zip(rows, columns)}


def mean_of_matches(table: np.ndarray, wanted: int) -> float:
    """Mean of the best one-to-one matches over `wanted` classes; a class not found counts 0."""
    return float(sum(table[r, c] for c, r in best_match(table).items()) / wanted)


def fsc_crossing(
    one: np.ndarray, two: np.ndarray, sampling: float, cutoff: float, least: float = 0.5
) -> float | None:
    """Resolution (A) up to which all shells correlate by at least `least`; None where none does.

    Shells beyond `cutoff` (pixels) are not looked at.
    """
    n = len(one)
    a, b = fft.rfftn(one), fft.rfftn(two)
    f, x = fft.fftfreq(n, 1 / n), fft.rfftfreq(n, 1 / n)
    shell = np.rint(np.sqrt(f[:, None, None] ** 2 + f[None, :, None] ** 2 + x**2)).astype(int)
    shell = np.minimum(shell, n // 2).ravel()
    cross, p, q = (
        np.bincount(shell, values.ravel())
        for values in ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
    )
    inside = slice(1, int(cutoff) + 1)
    good = cross[inside] >= least * np.sqrt(p * q)[inside]
    last = len(good) if good.all() else int(np.argmin(good))  # shells 1 to `last` are good
    return n * sampling / last if last else None


def captured_share(components: np.ndarray, true: np.ndarray, populations: np.ndarray) -> float:
    """Share of the variance between the true states that lies in the components' span."""
    maps = _flat(true, None) * np.sqrt(np.asarray(populations, float))[:, None]
    if not len(components):
        return 0.0
    basis = np.linalg.qr(_flat(components, None).T)[0]
    return float(np.sum((maps @ basis) ** 2) / np.sum(maps**2))


def diversity(maps: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Root-mean-square distance between the maps of all pairs."""
    flat = _flat(maps, mask)
    pairs = [np.sum((a - b) ** 2) for a, b in itertools.combinations(flat, 2)]
    return float(np.sqrt(np.mean(pairs))) if pairs else 0.0


def agreement(states: np.ndarray, labels: np.ndarray) -> float:
    """Adjusted Rand index over the particles that have a true state (junk, -1, left out)."""
    real = states >= 0
    return float(adjusted_rand_score(states[real], labels[real]))


def recall_and_precision(
    states: np.ndarray, labels: np.ndarray
) -> tuple[dict[int, float], dict[int, float]]:
    """Of each true state, matched one to one with the classes by common particles.

    A state without a class of its own has recall and precision 0.  Junk (-1) is left out.
    """
    real = states >= 0
    true, y = np.unique(states[real], return_inverse=True)
    found, c = np.unique(labels[real], return_inverse=True)
    count = np.zeros((len(found), len(true)))
    np.add.at(count, (c, y), 1)
    match = best_match(count)
    recall, precision = {}, {}
    for k, state in enumerate(true.tolist()):
        common = count[match[k], k] if k in match else 0.0
        recall[state] = float(common / count[:, k].sum())
        precision[state] = float(common / count[match[k]].sum()) if k in match else 0.0
    return recall, precision
