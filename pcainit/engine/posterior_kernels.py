"""Posterior of one particle's coefficients: Gaussian, or a choice between classes."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numba
import numpy as np

from pcainit.engine.slicing import JIT

# Contrast; shift x, y; rotation about x, y, z (image's frame); fall-off with resolution.
NUISANCES = 7


@numba.njit(**JIT)
def invert_posterior(gram, precision, score, covariance, mean):
    """Covariance and mean of the coefficients; returns the log marginal likelihood ratio.

    ``covariance = (gram + diag(precision))^-1`` by Cholesky, ``mean = covariance score``; the
    return value is ``(score' mean - log det(I + gram / precision)) / 2``.
    """
    t = gram.shape[0]
    low = np.zeros((t, t))
    log_det = 0.0
    for a in range(t):
        for b in range(a + 1):
            total = float(gram[a, b])
            if a == b:
                total += precision[a]
            for k in range(b):
                total -= low[a, k] * low[b, k]
            if a == b:
                low[a, a] = np.sqrt(max(total, 1e-12 * precision[a]))
                log_det += 2 * np.log(low[a, a]) - np.log(precision[a])
            else:
                low[a, b] = total / low[b, b]
    inverse = np.zeros((t, t))          # of the factor
    for a in range(t):
        inverse[a, a] = 1 / low[a, a]
        for b in range(a):
            total = 0.0
            for k in range(b, a):
                total -= low[a, k] * inverse[k, b]
            inverse[a, b] = total / low[a, a]
    gain = 0.0
    for a in range(t):
        mean[a] = 0
        for b in range(t):
            total = 0.0
            for k in range(max(a, b), t):
                total += inverse[k, a] * inverse[k, b]
            covariance[a, b] = total
            mean[a] += total * score[b]
        gain += mean[a] * score[a]
    return 0.5 * (gain - log_det)


@numba.njit(**JIT)
def class_posterior(gram, precision, score, log_weights, mean, moment, factor):
    """Responsibilities of K classes, column k of A being class k's difference from the mean.

    The nuisance coefficients are integrated out under each class; contrast is that of the class's
    own volume, mean and difference together.  `mean` (K + 7,) gets the responsibilities, `factor`
    (K + 7,) and `moment` what `_scatter` needs; returns the log of the marginal likelihood.
    """
    n_classes = len(log_weights)
    inner = np.empty((NUISANCES, NUISANCES), gram.dtype)
    target = np.empty(NUISANCES)
    covariance = np.empty((NUISANCES, NUISANCES))
    fitted = np.empty(NUISANCES)
    top = -np.inf
    base = 0.0
    moment[:] = 0
    for k in range(n_classes, -1, -1):          # the mean alone first
        for a in range(NUISANCES):
            target[a] = score[n_classes + a]
            for b in range(a + 1):
                inner[a, b] = gram[n_classes + a, n_classes + b]
        if k < n_classes:
            own = gram[n_classes, k] + gram[k, k]
            target[0] += score[k] - own
            inner[0, 0] += gram[n_classes, k] + own
            for a in range(1, NUISANCES):
                target[a] -= gram[n_classes + a, k]
                inner[a, 0] += gram[n_classes + a, k]
        gain = invert_posterior(inner, precision[n_classes:], target, covariance, fitted)
        if k == n_classes:
            base = gain
            continue
        mean[k] = log_weights[k] + score[k] - 0.5 * gram[k, k] + gain - base
        top = max(top, mean[k])
        # Second moments of the contrast (1 + the first coefficient) with all coefficients.
        factor[k] = 1 + fitted[0]
        for a in range(NUISANCES):
            moment[n_classes + a, k] = fitted[a] * (1 + fitted[0]) + covariance[a, 0]
        moment[k, k] = 1 + fitted[0] + moment[n_classes, k]
    total = 0.0
    for k in range(n_classes):
        mean[k] = np.exp(mean[k] - top)
        total += mean[k]
    for k in range(n_classes):
        mean[k] /= total
        factor[k] *= mean[k]
        moment[k, k] *= mean[k]
        for a in range(NUISANCES):
            moment[n_classes + a, k] *= mean[k]
    return top + np.log(total)
