"""Likelihood of each particle under each of several volumes."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import ComplexArray, FloatArray
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.kinds import INT, reads, writes
from pcainit.engine.images.particles import Slices
from pcainit.engine.projection.slice_data import (
    SLICE_DATA,
    empty_places,
    in_lanes,
    locate,
    read_cell,
    slice_data,
)


@kernel(INT, INT, SLICE_DATA, reads("float32", 1), reads("float32", 4), writes("float64", 2))
def _log_likelihoods(first, last, data, multiplicity, volumes, out):
    flat, channels, n_classes = volumes.ravel(), volumes.shape[3], out.shape[1]
    values, ctf, whitening, reach = data.values, data.ctf, data.whitening, data.reach
    for i in range(first, last):
        places = empty_places(len(whitening))
        cells, fractions, signs = places
        model = np.empty(channels, np.float32)
        total = np.zeros(n_classes, np.float64)
        locate(data.rotations[i], data, places)
        for k in range(len(whitening)):
            read_cell(flat, channels, reach, cells, fractions, k, model, 0)
            c = ctf[i, k]
            w = multiplicity[k] * whitening[k] * whitening[k]
            for m in range(n_classes):
                re = c * model[2 * m]
                im = c * model[2 * m + 1] * signs[k]
                total[m] += w * (
                    values[i, 2 * k] * re + values[i, 2 * k + 1] * im - 0.5 * (re * re + im * im)
                )
        for m in range(n_classes):
            out[i, m] = total[m]


def log_likelihoods(slices: Slices, transforms: ComplexArray, whitening: FloatArray) -> FloatArray:
    """Log-likelihood of each particle under each volume, up to a constant per particle.

    ``y' a - |a|^2 / 2`` with a volume's slice a, whitened: contrast is 1 and poses are true, where
    `posterior.class_posterior` integrates the nuisances out.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    transforms : (z, y, x, K) complex64
        As made by `Grid.to_fourier`.
    whitening : (p,) float32
        One over the noise's standard deviation at each sample.

    Returns
    -------
    (n, K) float64
    """
    grid = slices.grid
    out = np.empty((len(slices), transforms.shape[-1]), np.float64)
    _log_likelihoods.over_spans(
        len(slices),
        slice_data(slices.values, slices.ctf, slices.rotations, grid, whitening),
        np.asarray(grid.multiplicity, np.float32),
        in_lanes(transforms),
        out,
    )
    return out


def class_posteriors(slices: Slices, volumes: FloatArray, whitening: FloatArray) -> FloatArray:
    """Probability of each volume for each particle, all volumes being equally likely before.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    volumes : (K, box, box, box) float32
        Real densities in the working box.
    whitening : (p,) float32
        One over the noise's standard deviation at each sample.

    Returns
    -------
    (n, K) float32
    """
    logs = log_likelihoods(slices, slices.grid.to_fourier(volumes), whitening)
    ratio = np.exp(logs - logs.max(axis=1, keepdims=True))
    out: FloatArray = (ratio / ratio.sum(axis=1, keepdims=True)).astype(np.float32)
    return out
