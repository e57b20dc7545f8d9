"""One pass over the particles: posterior of the latent coordinates, and sums for new components.

For a whitened particle ``r = y - C P mu`` and columns ``A = [C P U, N]`` (q components, then the
nuisance columns) the pass computes ``G = A' A`` and ``b = A' r``, the Gaussian posterior of the
coefficients, and adds what the components' normal equations need.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numba
import numpy as np

from pcainit.engine.posterior_kernels import NUISANCES, class_posterior, invert_posterior
from pcainit.engine.slicing import JIT, corner, read_cell, sample_position

FIXED = 4               # volumes read for them: the mean and its three moments


@numba.njit(inline="always", **JIT)
def _columns(values, ctf, whitening, rotation, frequencies, oversampling, reach, pixel, volumes, q,
             falloff, residual, real, imag, model):
    """Residual and columns (components first, then nuisances) of one particle."""
    for k in range(frequencies.shape[0]):
        kx, ky = frequencies[k, 0], frequencies[k, 1]
        x, y, z, sign = sample_position(rotation, kx, ky, oversampling)
        z0, y0, x0, fz, fy, fx = corner(x, y, z, reach)
        read_cell(volumes, z0, y0, x0, fz, fy, fx, model)
        c = ctf[k] * whitening[k]
        cs = c * sign
        mr, mi = c * model[0], cs * model[1]
        residual[2 * k] = values[2 * k] * whitening[k] - mr
        residual[2 * k + 1] = values[2 * k + 1] * whitening[k] - mi
        for j in range(q):
            real[k, j] = c * model[2 * (FIXED + j)]
            imag[k, j] = cs * model[2 * (FIXED + j) + 1]
        real[k, q], imag[k, q] = mr, mi
        # A shift by d multiplies by exp(-i pixel k.d), pixel = 2 pi / box.
        real[k, q + 1], imag[k, q + 1] = pixel * kx * mi, -pixel * kx * mr
        real[k, q + 2], imag[k, q + 2] = pixel * ky * mi, -pixel * ky * mr
        # Gradient of the transform = -i pixel x transform of (position x density).
        hr = np.empty(3, np.float32)
        hi = np.empty(3, np.float32)
        for a in range(3):
            gr = (rotation[a, 0] * model[2] + rotation[a, 1] * model[4] + rotation[a, 2] * model[6])
            gi = (rotation[a, 0] * model[3] + rotation[a, 1] * model[5] + rotation[a, 2] * model[7])
            hr[a] = c * pixel * gi * sign
            hi[a] = -c * pixel * gr
        real[k, q + 3], imag[k, q + 3] = -ky * hr[2], -ky * hi[2]
        real[k, q + 4], imag[k, q + 4] = kx * hr[2], kx * hi[2]
        real[k, q + 5] = ky * hr[0] - kx * hr[1]
        imag[k, q + 5] = ky * hi[0] - kx * hi[1]
        # What is left of pose errors to second order is a loss at high resolution.
        loss = (kx * kx + ky * ky) * falloff
        real[k, q + 6], imag[k, q + 6] = loss * mr, loss * mi


@numba.njit(inline="always", **JIT)
def _statistics(residual, real, imag, multiplicity, gram, score):
    """``gram = A' A`` (lower triangle) and ``score = A' r``."""
    t = gram.shape[0]
    gram[:] = 0
    score[:] = 0
    for k in range(real.shape[0]):
        m = multiplicity[k]
        rr, ri = m * residual[2 * k], m * residual[2 * k + 1]
        for a in range(t):
            ar, ai = real[k, a], imag[k, a]
            score[a] += ar * rr + ai * ri
            ar *= m
            ai *= m
            for b in range(a + 1):
                gram[a, b] += ar * real[k, b] + ai * imag[k, b]


@numba.njit(inline="always", **JIT)
def _scatter(ctf, whitening, rotation, frequencies, oversampling, reach, q, residual, real, imag,
             mean, moment, add, sums):
    """Add one particle to the components' normal equations (without the weights if sums have no
    room for them)."""
    weigh = sums.shape[3] > 2 * q
    for k in range(frequencies.shape[0]):
        x, y, z, sign = sample_position(rotation, frequencies[k, 0], frequencies[k, 1],
                                        oversampling)
        z0, y0, x0, fz, fy, fx = corner(x, y, z, reach)
        c = ctf[k] * whitening[k]
        cc = c * c
        place = 2 * q
        for j in range(q):
            re, im = residual[2 * k] * mean[j], residual[2 * k + 1] * mean[j]
            for b in range(q, q + NUISANCES):
                re -= real[k, b] * moment[b, j]
                im -= imag[k, b] * moment[b, j]
            add[2 * j] = c * re
            add[2 * j + 1] = c * im * sign
            if weigh:
                for b in range(j + 1):
                    add[place] = cc * moment[j, b]
                    place += 1
        for dz in range(2):
            az = fz if dz else 1 - fz
            for dy in range(2):
                ay = az * (fy if dy else 1 - fy)
                a0, a1 = ay * (1 - fx), ay * fx
                row0 = sums[z0 + dz, y0 + dy, x0]
                row1 = sums[z0 + dz, y0 + dy, x0 + 1]
                for m in range(place):
                    row0[m] += a0 * add[m]
                    row1[m] += a1 * add[m]


@numba.njit(parallel=True, **JIT)
def latent_pass(values, ctf, whitening, multiplicity, rotations, frequencies, oversampling, reach,
                pixel, volumes, q, precision, offsets, order, starts, log_weights, update, sums,
                moments, squares, gains, keep, grams, scores):
    """Posterior of every particle in `order`; see `particle_pca` for the arguments.

    `sums` (blocks, z, y, x, 2q or 2q + q(q+1)/2) is added to when `update`; `moments`
    (blocks, t, t) get the coefficients' second moments and `squares` (blocks, t) the squares of
    their means, both with what was corrected before (`offsets` (n, 7)) added; with `keep`, `grams`
    (n, t, t) and `scores` (n, t) get each particle's statistics; `gains` (n,) its log marginal
    likelihood ratio.  With `log_weights` (q,), the volumes are classes instead of components:
    `scores` then get the responsibilities.
    """
    classes = len(log_weights) > 0
    n_samples = frequencies.shape[0]
    t = q + NUISANCES
    falloff = np.float32(0)
    for k in range(n_samples):
        falloff = max(falloff, frequencies[k, 0] ** 2 + frequencies[k, 1] ** 2)
    falloff = np.float32(1 / falloff)
    for block in numba.prange(len(starts) - 1):
        residual = np.empty(2 * n_samples, np.float32)
        real = np.empty((n_samples, t), np.float32)
        imag = np.empty((n_samples, t), np.float32)
        model = np.empty(2 * (FIXED + q), np.float32)
        gram = np.empty((t, t), np.float32)
        score = np.empty(t, np.float32)
        covariance = np.empty((t, t))
        mean = np.empty(t)
        moment = np.empty((t, t), np.float32)
        mean32 = np.empty(t, np.float32)
        add = np.empty(2 * q + q * (q + 1) // 2 + 1, np.float32)
        for place in range(starts[block], starts[block + 1]):
            i = order[place]
            _columns(values[i], ctf[i], whitening, rotations[i], frequencies, oversampling, reach,
                     pixel, volumes, q, falloff, residual, real, imag, model)
            _statistics(residual, real, imag, multiplicity, gram, score)
            for a in range(NUISANCES):          # the prior's mean: minus what was corrected before
                score[q + a] -= precision[q + a] * offsets[i, a]
            if keep and not classes:
                for a in range(t):
                    scores[i, a] = score[a]
                    for b in range(a + 1):
                        grams[i, a, b] = gram[a, b]
                        grams[i, b, a] = gram[a, b]
            if classes:
                gains[i] = class_posterior(gram, precision, score, log_weights, mean, moment,
                                           mean32)
                for a in range(q):
                    if keep:
                        scores[i, a] = mean[a]
            else:
                gains[i] = invert_posterior(gram, precision, score, covariance, mean)
                for a in range(t):
                    mean32[a] = mean[a]
                    whole = mean[a] + (offsets[i, a - q] if a >= q else 0)
                    squares[block, a] += whole * whole
                    for b in range(t):
                        moment[a, b] = covariance[a, b] + mean[a] * mean[b]
                        moments[block, a, b] += moment[a, b]
                    moments[block, a, a] += whole * whole - mean[a] * mean[a]
            if update:
                _scatter(ctf[i], whitening, rotations[i], frequencies, oversampling, reach, q,
                         residual, real, imag, mean32, moment, add, sums[block])


@numba.njit(parallel=True, **JIT)
def unexplained(values, ctf, whitening, multiplicity, rotations, frequencies, oversampling, reach,
                pixel, volumes, q, precision, offsets, index, out):
    """What the model's posterior means leave of each particle, times CTF over noise variance.

    `out` (m, 2p) gets it as real and imaginary parts; the other arguments are `latent_pass`'s.
    """
    n_samples, t = frequencies.shape[0], q + NUISANCES
    falloff = np.float32(0)
    for k in range(n_samples):
        falloff = max(falloff, frequencies[k, 0] ** 2 + frequencies[k, 1] ** 2)
    falloff = np.float32(1 / falloff)
    for place in numba.prange(len(index)):
        i = index[place]
        residual = np.empty(2 * n_samples, np.float32)
        real = np.empty((n_samples, t), np.float32)
        imag = np.empty((n_samples, t), np.float32)
        gram = np.empty((t, t), np.float32)
        score = np.empty(t, np.float32)
        covariance = np.empty((t, t))
        mean = np.empty(t)
        _columns(values[i], ctf[i], whitening, rotations[i], frequencies, oversampling, reach,
                 pixel, volumes, q, falloff, residual, real, imag,
                 np.empty(2 * (FIXED + q), np.float32))
        _statistics(residual, real, imag, multiplicity, gram, score)
        for a in range(NUISANCES):
            score[q + a] -= precision[q + a] * offsets[i, a]
        invert_posterior(gram, precision, score, covariance, mean)
        for k in range(n_samples):
            re, im = residual[2 * k], residual[2 * k + 1]
            for a in range(t):
                re -= real[k, a] * mean[a]
                im -= imag[k, a] * mean[a]
            out[place, 2 * k] = ctf[i, k] * whitening[k] * re
            out[place, 2 * k + 1] = ctf[i, k] * whitening[k] * im


@numba.njit(parallel=True, **JIT)
def solve_voxels(sums, prior, shell_map, out):
    """Solve each voxel's normal equations ``(weight + diag(prior)) u = numerator``.

    Parameters
    ----------
    sums : (z, y, x, 2q + q(q+1)/2) float32
        Numerators (re, im) of each component, then the lower triangle of the weights.
    prior : (q, shells) float64
        Prior precision of each component in each shell; shells beyond get zero.
    shell_map : (z, y, x) int32
    out : (z, y, x, q) complex64
    """
    q = prior.shape[0]
    for z in numba.prange(sums.shape[0]):
        low = np.zeros((q, q))
        re = np.zeros(q)
        im = np.zeros(q)
        for y in range(sums.shape[1]):
            for x in range(sums.shape[2]):
                shell = shell_map[z, y, x]
                if shell >= prior.shape[1]:
                    for j in range(q):
                        out[z, y, x, j] = 0
                    continue
                row = sums[z, y, x]
                place = 2 * q
                for a in range(q):
                    re[a], im[a] = row[2 * a], row[2 * a + 1]
                    for b in range(a + 1):
                        total = float(row[place])
                        place += 1
                        if a == b:
                            total += prior[a, shell]
                        for k in range(b):
                            total -= low[a, k] * low[b, k]
                        if a == b:
                            low[a, a] = np.sqrt(max(total, 1e-12 * prior[a, shell] + 1e-30))
                        else:
                            low[a, b] = total / low[b, b]
                    for k in range(a):
                        re[a] -= low[a, k] * re[k]
                        im[a] -= low[a, k] * im[k]
                    re[a] /= low[a, a]
                    im[a] /= low[a, a]
                for a in range(q - 1, -1, -1):
                    for k in range(a + 1, q):
                        re[a] -= low[k, a] * re[k]
                        im[a] -= low[k, a] * im[k]
                    re[a] /= low[a, a]
                    im[a] /= low[a, a]
                    out[z, y, x, a] = complex(re[a], im[a])
