"""Posterior of one particle's coefficients: Gaussian, or a choice between classes.

The whitened image less the mean's slice is ``r = A x + noise``, noise white of variance 1, with
prior ``x ~ N(0, D^-1)``, D diagonal.  With ``G = A' A`` and ``b = A' r``

    log p(r, x) = const - |r|^2 / 2 + b' x - x' (G + D) x / 2 + log det(D) / 2,

a parabola in x.  So ``x | r ~ N(m, V)`` with ``V = (G + D)^-1`` and ``m = V b``, and integrating x
out leaves, over what the mean alone gives,

    log p(r) - log p(r | x = 0) = (b' m - log det(I + D^-1 G)) / 2.

Where a pose was corrected before by o, the prior is about the recorded one, ``x ~ N(-o, D^-1)``:
that turns b into ``b - D o`` (and adds a constant, which is left out).

All is done with an upper triangle T, ``T T' = V``: the inverse, transposed, of the Cholesky factor
``L L' = G + D``.  Then ``m = T (T' b)``, ``b' m = |T' b|^2``, and the determinant is the product
of ``L_aa^2 / D_aa``.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.compiled.jit import kernel, part
from pcainit.engine.compiled.kinds import INT, reads, writes

# Contrast; shift x, y; rotation about x, y, z (image's frame); fall-off with resolution.
NUISANCES = 7


@part
def _root_of_inverse(gram, precision, root, room):
    """Upper triangle T of ``T T' = (gram + diag(precision))^-1``, in `root` and its diagonal.

    By Cholesky, whose factor stands below the diagonal of `root` meanwhile; `room` (t,) is
    overwritten.  Returns ``log det(I + gram / precision)``.
    """
    log_det = 0.0
    for a in range(len(precision)):
        for b in range(a):
            total = float(gram[a, b])
            for k in range(b):
                total -= root[a, k] * root[b, k]
            root[a, b] = total * room[b]
        total = gram[a, a] + precision[a]
        for k in range(a):
            total -= root[a, k] * root[a, k]
        total = max(total, 1e-12 * precision[a])
        log_det += np.log(total / precision[a])
        room[a] = 1 / np.sqrt(total)
    for a in range(len(precision)):
        root[a, a] = room[a]
        for b in range(a):
            total = 0.0
            for k in range(b, a):
                total -= root[a, k] * root[b, k]
            root[b, a] = total * room[a]
    return log_det


@part
def _turn(root, vector, out):
    """``out = T' vector`` of an upper triangle T."""
    for b in range(len(out)):
        out[b] = 0
        for a in range(b + 1):
            out[b] += root[a, b] * vector[a]


@part
def _posterior_mean(root, score, room, mean):
    """``mean = T T' score`` of an upper triangle T; returns ``score' mean``."""
    t, size = len(score), 0.0
    _turn(root, score, room)
    for a in range(t):
        size += room[a] * room[a]
        mean[a] = 0
        for k in range(a, t):
            mean[a] += root[a, k] * room[k]
    return size


@part
def invert_posterior(gram, precision, score, covariance, mean, room):
    """Covariance and mean of the coefficients; returns the log marginal likelihood ratio.

    Equation (6) of docs/theory.md.

    ``covariance = (gram + diag(precision))^-1``, ``mean = covariance score``; the return value is
    ``(score' mean - log det(I + gram / precision)) / 2``.  Of `gram` (t, t) the lower triangle is
    read; `room` (t,) float64 is overwritten.
    """
    log_det = _root_of_inverse(gram, precision, covariance, room)
    gain = _posterior_mean(covariance, score, room, mean)
    for a in range(len(precision)):  # column by column, each in the place of the root's own
        for b in range(a + 1):
            total = 0.0
            for k in range(a, len(precision)):
                total += covariance[a, k] * covariance[b, k]
            covariance[b, a] = total
        for b in range(a):
            covariance[a, b] = covariance[b, a]
    return 0.5 * (gain - log_det)


@part
def class_posterior(gram, precision, score, log_weights, mean, moment, factor):
    """Responsibilities of K classes, column k of A being class k's difference from the mean.

    Equation (11) of docs/theory.md.

    The nuisance coefficients are integrated out under each class; contrast is that of the class's
    own volume, mean and difference together.  Only contrast depends on the class, so
    the others are integrated out of all at once.  `mean` (K + 7,) gets the responsibilities,
    `factor` (K + 7,) and `moment` what the sums for new volumes need; returns the log of the
    marginal likelihood over that of the mean alone.

    Derivation.  Let c be the column of contrast (the mean's slice), a that of class k, N the six
    other nuisances, and ``1 + d`` the contrast.  Under class k

        r = a + d (c + a) + N w + noise,   d ~ N(0, 1 / D_c),   w ~ N(0, D_N^-1).

    First w: with ``T T' = (N'N + D_N)^-1`` and ``e = r - a - d (c + a)`` it leaves
    ``-(|e|^2 - |T' N' e|^2) / 2`` and a determinant that is the same for all classes.  With
    ``target = T' N' r``, ``turned = T' N' c`` and ``own = T' N' a``,

        T' N' e = (target - own) - d (turned + own).

    What is left is a parabola in d, ``value d - power d^2 / 2``:

        power = |c + a|^2 + D_c - |turned + own|^2
        value = (c + a)' (r - a) - (turned + own)' (target - own),

    so ``d ~ N(fitted, 1 / power)`` with ``fitted = value / power``, and class k has

        log weight_k + a' r - |a|^2 / 2 + (|target - own|^2 + value^2 / power - log(power)) / 2.

    The mean alone is the same with a = 0.  A new volume needs, times the responsibility,
    ``E(1 + d) = 1 + fitted``, ``E d (1 + d) = fitted (1 + fitted) + 1 / power``, their sum
    ``E (1 + d)^2``, and

        E (1 + d) w = T [(1 + fitted) (target - own) - (turned + own) E d (1 + d)].

    `classes.mixture` has the same with the nuisances but contrast integrated out before, and
    `likelihood` with none at all.
    """
    n_classes, rest = len(log_weights), NUISANCES - 1
    first = n_classes + 1  # of the coefficients beside contrast
    root, room = np.empty((rest, rest)), np.empty(rest)
    turned, target, own = np.empty(rest), np.empty(rest), np.empty(rest)
    _root_of_inverse(gram[first:, first:], precision[first:], root, room)
    _turn(root, gram[first:, n_classes], turned)
    _turn(root, score[first:], target)
    top = -1e300  # kernels may take for granted that all is finite
    base = 0.0
    moment[:] = 0
    for k in range(n_classes, -1, -1):  # the mean alone first
        power, value = gram[n_classes, n_classes] + precision[n_classes], float(score[n_classes])
        own[:] = 0
        if k < n_classes:
            _turn(root, gram[first:, k], own)
            power += 2 * gram[n_classes, k] + gram[k, k]
            value += score[k] - gram[n_classes, k] - gram[k, k]
        size = 0.0
        for a in range(rest):
            with_contrast, alone = turned[a] + own[a], target[a] - own[a]
            power -= with_contrast * with_contrast
            value -= with_contrast * alone
            size += alone * alone
        power = max(power, 1e-12 * precision[n_classes])
        fitted = value / power
        gain = 0.5 * (size + value * fitted - np.log(power))
        if k == n_classes:
            base = gain
            continue
        mean[k] = log_weights[k] + score[k] - 0.5 * gram[k, k] + gain - base
        top = max(top, mean[k])
        # Second moments of the contrast (1 + the first coefficient) with all coefficients.
        factor[k] = 1 + fitted
        moment[n_classes, k] = fitted * (1 + fitted) + 1 / power
        for a in range(rest):
            total = 0.0
            for b in range(a, rest):
                with_contrast = turned[b] + own[b]
                total += root[a, b] * (
                    (1 + fitted) * (target[b] - own[b] - with_contrast * fitted)
                    - with_contrast / power
                )
            moment[first + a, k] = total
        moment[k, k] = 1 + fitted + moment[n_classes, k]
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


@kernel(
    INT,
    reads("int64", 1),
    reads("float32", 3),
    reads("float64", 2),
    reads("float64", 2),
    reads("float64", 1),
    writes("float64", 2),
    writes("float64", 2),
)
def moments(block, starts, grams, plain, before, precision, second, squares):
    """Sums over particles of the coefficients' second moments, and of their means squared.

    `grams` (n, t, t) float32, `plain` and `before` (n, t) float64: scores without the prior's mean,
    and what was corrected before; `second` and `squares` (blocks, t) float64 are added to.
    """
    t = len(precision)
    root, room, mean, score = np.empty((t, t)), np.empty(t), np.empty(t), np.empty(t)
    for i in range(starts[block], starts[block + 1]):
        for a in range(t):
            score[a] = plain[i, a] - precision[a] * before[i, a]
        _root_of_inverse(grams[i], precision, root, room)
        _posterior_mean(root, score, room, mean)
        for a in range(t):
            whole, variance = (mean[a] + before[i, a]) ** 2, 0.0
            for k in range(a, t):
                variance += root[a, k] * root[a, k]
            squares[block, a] += whole
            second[block, a] += whole + variance
