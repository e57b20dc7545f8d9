"""The M step of EM: new volumes from the sums of a pass over the particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Iterable

import numpy as np

from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.compiled.kinds import INT, reads, writes
from pcainit.engine.compiled.threads import parallel_map
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import solvent_level
from pcainit.engine.model.e_step import ComponentSums
from pcainit.engine.model.image_model import Background
from pcainit.engine.projection.blocks import block_starts
from pcainit.engine.projection.slice_data import SLICE_DATA, empty_places, locate, slice_data
from pcainit.engine.projection.slices import complete_half_space

# A component's prior power is at least so many times the power that noise gives its estimate:
# less would let EM switch off components that it has not found yet, more lets noise in.
PRIOR_OVER_NOISE = 12.0
_BLOCKS = 8


@kernel(INT, SLICE_DATA, reads("int64", 1), reads("int64", 1), writes("float32", 4))
def _add_weights(block, data, order, starts, sums):
    ctf, whitening, reach = data.ctf, data.whitening, data.reach
    step_y = reach + 1
    step_z = (2 * reach + 1) * step_y
    out = sums[block].ravel()
    places = empty_places(len(whitening))
    cells, fractions = places.cells, places.fractions
    for j in range(starts[block], starts[block + 1]):
        i = order[j]
        locate(data.rotations[i], data, places)
        for k in range(len(whitening)):
            fx, fy, fz = fractions[0, k], fractions[1, k], fractions[2, k]
            c = ctf[i, k] * whitening[k]
            near, far = c * c * (1 - fx), c * c * fx
            for dz in range(2):
                for dy in range(2):
                    share = (fz if dz else 1 - fz) * (fy if dy else 1 - fy)
                    place = cells[k] + dz * step_z + dy * step_y
                    out[place] += share * near
                    out[place + 1] += share * far


def total_weight(background: Background, index: IntArray) -> FloatArray:
    """Sum of CTF^2 over noise variance of some particles, `Grid.half_shape` float32."""
    slices, grid = background.slices, background.grid
    order = index[np.argsort(background.rank[index], kind="stable")]
    sums = np.zeros((_BLOCKS,) + grid.half_shape, np.float32)
    _add_weights.over_blocks(
        _BLOCKS,
        slice_data(slices.values, slices.ctf, slices.rotations, grid, background.whitening),
        order,
        block_starts(len(order), _BLOCKS),
        sums,
    )
    out: FloatArray = complete_half_space(sums.sum(axis=0))
    return out


class Weights:
    """`total_weight` of groups of particles, each summed once.

    Parameters
    ----------
    background : Background
    """

    def __init__(self, background: Background) -> None:
        self._background = background
        self._known: list[tuple[IntArray, FloatArray]] = []

    def of(self, index: IntArray) -> FloatArray:
        """Sum of CTF^2 over noise variance of some particles, `Grid.half_shape` float32."""
        for known, weight in self._known:
            if np.array_equal(known, index):
                return weight
        weight = total_weight(self._background, index)
        self._known.append((index, weight))
        return weight


def maximise(
    background: Background,
    found: ComponentSums,
    scaled: FloatArray,
    mask: FloatArray,
    weight: FloatArray,
    damping: float = 1.0,
) -> FloatArray:
    """New components (times standard deviation) from a pass's sums, masked.

    A particle adds its weight times its own second moment to the normal equations.  Second moments
    change slowly over Fourier space: they are averaged over the grid's cells.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    found : ComponentSums
        Sums of the pass over the particles.
    scaled : (q, box, box, box) float32
        The old ones.
    mask : (box, box, box) float32
        Where the result may differ from zero, 0 to 1.
    weight : `Grid.half_shape` float32
        `total_weight` of the pass's particles.
    damping : float
        Multiplies the prior precision.

    Returns
    -------
    (q, box, box, box) float32
    """
    grid, q = background.grid, len(scaled)
    diagonal = [j * (j + 1) // 2 + j for j in range(q)]
    known = [weight * found.local[:, place][grid.cells] for place in diagonal]
    prior = _prior(background, scaled, mask, known) * damping
    out = np.empty(grid.half_shape + (q,), np.complex64)
    solve_voxels.over_spans(
        len(out),
        found.sums,
        weight,
        grid.cells,
        np.ascontiguousarray(found.local),
        prior,
        grid.shell_map,
        out,
    )
    return _masked(out, grid, mask)


def maximise_classes(
    background: Background, sums: FloatArray, differences: FloatArray, mask: FloatArray
) -> FloatArray:
    """New differences of classes from the mean: like `maximise`, but each has a weight of its own.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    sums : (z, y, x, 3K) float32
        See `e_step.ClassSums`.
    differences : (K, box, box, box) float32
        The old ones, whose power the prior takes.
    mask : (box, box, box) float32
        Where the result may differ from zero, 0 to 1.

    Returns
    -------
    (K, box, box, box) float32
    """
    grid, k = background.grid, len(differences)
    weights = np.moveaxis(sums[..., 2 * k :], -1, 0)
    prior = np.append(_prior(background, differences, mask, weights), np.ones((k, 1)), axis=1)
    shell = np.minimum(grid.shell_map, grid.n_shells)
    numerators = np.ascontiguousarray(sums[..., : 2 * k]).view(np.complex64)
    factors = (shell < grid.n_shells)[..., None] / (
        np.moveaxis(weights, 0, -1) + prior.T[shell] + 1e-30
    )
    return _masked(numerators * factors.astype(np.float32), grid, mask)


def _prior(
    background: Background, scaled: FloatArray, mask: FloatArray, weights: Iterable[FloatArray]
) -> FloatArray:
    """Prior precision of each volume in each shell, (q, n_shells) float64.

    Each prior has the shape of the mean's spectrum, and the volume's own present power or a
    multiple of its noise's, whichever is more.
    """
    grid = background.grid
    area = np.arange(grid.n_shells) ** 2  # a shell's size, up to a factor
    signal = float((background.signal * area).sum())
    crowd = grid.oversampling**3  # grid points per independent coefficient
    shell = np.minimum(grid.shell_map, grid.n_shells).ravel()
    count = np.bincount(shell)[: grid.n_shells]
    prior = np.zeros((len(scaled), grid.n_shells))
    for j, (volume, weight) in enumerate(zip(scaled, weights)):
        known = np.bincount(shell, weight.ravel())[: grid.n_shells] / count * crowd
        noise = float(mask.mean() * (area[1:] / np.maximum(known[1:], 1e-30)).sum())
        power = float((grid.shell_profile(volume) * area).sum())
        share = max(power, PRIOR_OVER_NOISE * noise) / signal
        prior[j] = 1 / (background.signal * share * crowd)
    return prior


def _masked(transforms: ComplexArray, grid: Grid, mask: FloatArray) -> FloatArray:
    """Real volumes of transforms (z, y, x, q), solvent at 0, inside a mask."""

    def volume(j: int) -> FloatArray:
        real = grid.band_limit(grid.to_real(transforms[..., j]))
        return (real - np.float32(solvent_level(real, mask))) * mask

    return np.stack(parallel_map(volume, range(transforms.shape[-1])))


@kernel(
    INT,
    INT,
    reads("float32", 4),
    reads("float32", 3),
    reads("int32", 3),
    reads("float32", 2),
    reads("float64", 2),
    reads("int32", 3),
    writes("complex64", 4),
)
def solve_voxels(first, last, numerators, weight, cells, local, prior, shell_map, out):
    """Solve each voxel's normal equations ``(weight M + diag(prior)) u = numerator``.

    Equation (7) of docs/theory.md.

    Derivation.  The expected log-posterior of the components U is, with the free ones' slices
    ``C P u_j``, the fixed columns n_l (the other components, the nuisances) and coefficients x,

        -sum_i E |r_i - sum_j x_ij C_i P_i u_j - sum_l x_il n_il|^2 / 2
            - sum_j u_j' prior_j u_j / 2.

    Setting its derivative to u_j to zero, and summing slices at the voxel v that they touch,

        sum_k [sum_i w_i(v) E(x_ij x_ik)] u_k + prior_j u_j
            = sum_i P_i' C_i [E(x_ij) r_i - sum_l E(x_ij x_il) n_il],

    w_i being what ``P_i' C_i^2 P_i`` puts at the voxel over the noise's variance.  `numerators` are
    the right side.  On the left the moments are averaged over a cell of voxels,
    ``sum_i w_i(v) E(x_ij x_ik) = weight(v) M(cell)``, M being their mean with weights w: they
    change slowly over Fourier space, and the whole matrix at each voxel would be q(q + 1)/2
    volumes.  That neighbouring voxels go together in ``P' C^2 P`` is left out, as in a direct
    reconstruction.

    Parameters
    ----------
    numerators : (z, y, x, 2q) float32
        Real and imaginary part of each component's.
    weight : (z, y, x) float32
        Sum of CTF^2 over noise variance at each voxel.
    cells : (z, y, x) int32
        Cell of each voxel.
    local : (cells, q(q+1)/2) float32
        Lower triangle of M in each cell.
    prior : (q, shells) float64
        Prior precision of each component in each shell; shells beyond get zero.
    shell_map : (z, y, x) int32
        Shell of each voxel.
    out : (z, y, x, q) complex64
        Gets the solution.
    """
    q = prior.shape[0]
    for z in range(first, last):
        low = np.zeros((q, q))
        re = np.zeros(q)
        im = np.zeros(q)
        for y in range(numerators.shape[1]):
            for x in range(numerators.shape[2]):
                shell = shell_map[z, y, x]
                if shell >= prior.shape[1]:
                    for j in range(q):
                        out[z, y, x, j] = 0
                    continue
                row, moment = numerators[z, y, x], local[cells[z, y, x]]
                place = 0
                for a in range(q):
                    re[a], im[a] = row[2 * a], row[2 * a + 1]
                    for b in range(a + 1):
                        total = float(weight[z, y, x]) * moment[place]
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
