"""Agreement of volumes with images, shell by shell: products of slices with residuals."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.kinds import INT, reads, writes
from pcainit.engine.compiled.threads import thread_count
from pcainit.engine.model.image_model import Background
from pcainit.engine.projection.blocks import block_starts
from pcainit.engine.projection.slice_data import (
    SLICE_DATA,
    channel_count,
    empty_places,
    locate,
    read_cell,
    slice_data,
)

_BLOCKS = 16
_NEGLIGIBLE = 1e-4  # of a weight


@kernel(
    INT,
    SLICE_DATA,
    reads("float32", 4),
    reads("int32", 1),
    reads("int64", 1),
    reads("int64", 1),
    reads("float32", 2),
    writes("float64", 3),
    writes("float64", 3),
)
def _shell_products(block, data, volumes, shell, index, starts, weights, products, squares):
    flat, channels, reach = volumes.ravel(), volumes.shape[3], data.reach
    values, ctf, whitening = data.values, data.ctf, data.whitening
    places = empty_places(len(shell))
    cells, fractions, signs = places
    view = np.empty(channels, np.float32)
    for j in range(starts[block], starts[block + 1]):
        i = index[j]
        locate(data.rotations[i], data, places)
        for k in range(len(shell)):
            read_cell(flat, channels, reach, cells, fractions, k, view, 0)
            factor = ctf[i, k]
            scale = factor * whitening[k] * whitening[k]
            re = values[i, 2 * k] - factor * view[0]
            im = signs[k] * values[i, 2 * k + 1] - factor * view[1]
            for m in range(weights.shape[1]):
                if weights[j, m] < _NEGLIGIBLE:
                    continue
                a, b = view[2 * m + 2], view[2 * m + 3]
                share = weights[j, m] * scale
                products[block, m, shell[k]] += share * (a * re + b * im)
                squares[block, m, shell[k]] += share * factor * (a * a + b * b)


def shell_products(
    background: Background, differences: FloatArray, weights: FloatArray, index: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Products of volumes' slices with what the mean leaves of some images, and their squares.

    Their ratio is the least-squares gain of each volume in each shell.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    differences : (K, box, box, box) float32
        Class differences from the mean.
    weights : (m, K) float32
        Of each image for each volume.
    index : (m,) int
        Which particles.

    Returns
    -------
    products, squares : (K, n_shells) float64
        Whitened; slices are modulated by the CTF.
    """
    slices, grid = background.slices, background.grid
    volumes = np.concatenate([background.mean[None], differences])
    transforms = grid.to_fourier(volumes, channel_count(len(volumes)), thread_count())
    products, squares = np.zeros((2, _BLOCKS, len(differences), grid.n_shells))
    _shell_products.over_blocks(
        _BLOCKS,
        slice_data(slices.values, slices.ctf, slices.rotations, grid, background.whitening),
        transforms.view(np.float32),
        grid.shell,
        np.asarray(index, np.int64),
        block_starts(len(index), _BLOCKS),
        np.ascontiguousarray(weights, np.float32),
        products,
        squares,
    )
    return products.sum(axis=0), squares.sum(axis=0)
