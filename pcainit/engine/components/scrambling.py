"""A null made of the user's own particles: residuals exchanged between images.

What a residual (image minus its consensus projection) holds of the particle's own density fits the
image's view; what it holds of noise, neighbours, background and normalisation does not know the
view.  Exchanged between particles of like defocus, residuals keep all of the second kind, with
its position in the image, its spectrum and its CTF, and lose the first.  So variance that is as
large in scrambled images is none of the particle's.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pcainit.buffers import Reused
from pcainit.engine.arrays import BoolArray, ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.products import power
from pcainit.engine.geometry.poses import keep_to_one_unit, view_rank
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.model.image_model import Background
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.projection.slices import extract_slices

# Residuals go to one of so many particles of the nearest defocus: of a few micrographs, and enough
# for copies of one image (expanded symmetry) to seldom meet.
MIN_NEIGHBOURS, GROUPS = 256, 40
# Of a small set several exchanges, of a large one some particles: so many tell the null.
SCRAMBLED, MAX_EXCHANGES = 10000, 8
CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Scrambled:
    """Particles whose residuals have been exchanged.

    Parameters
    ----------
    background : Background
        Of the scrambled particles.
    halves : two (m,) int arrays
        Half-sets among them.
    scale : float
        By what a score of standard deviations grows from these to all particles.
    body : (box, box, box) bool
        Where the particle itself is; see `masks.particle_body`.
    redundancy : float
        Root of how many copies there are of an image (expanded symmetry): scores grow by it.
    strongest : float
        Largest score of what surroundings were found to make.
    confirmed : bool
        Whether a narrower look has found what goes on outside the particle.
    crowded : bool
        Whether the images show surroundings at all: more noise about the particle than in it.
        Where they do not, what varies in scrambled particles is the particles' own, that outlives
        the exchange: an arm that turns all the way round has 0.2 to 0.8 of its score.
    mates : Background, optional
        The particles as they are, at poses that their symmetry makes equivalent; see
        `turn_to_mates`.
    """

    background: Background
    halves: tuple[IntArray, IntArray]
    scale: float
    body: BoolArray
    redundancy: float = 1.0
    strongest: float = 0.0
    confirmed: bool = False
    crowded: bool = True
    mates: Background | None = None


def scramble_residuals(
    background: Background,
    halves: tuple[IntArray, IntArray],
    body: BoolArray,
    seed: int,
    count: int = SCRAMBLED,
) -> Scrambled:
    """Exchange residuals between particles of one half-set and of like defocus.

    Parameters
    ----------
    background : Background
    halves : two (m,) int arrays
        Particles of each half-set.
    body : (box, box, box) bool
        Where the particle itself is.
    seed : int
    count : int
        About so many scrambled particles: several of each, or one of some.

    Returns
    -------
    Scrambled
    """
    rng = np.random.default_rng([seed, 51])
    total = sum(len(half) for half in halves)
    times = int(np.clip(count // max(total, 1), 1, MAX_EXCHANGES))
    chosen = [subsample(half, count // 2) for half in halves]
    some = background.slices.take(np.concatenate(chosen))
    likeness, size = _transfer(some), len(some)
    own = np.split(np.arange(size), [len(chosen[0])])
    sources = np.concatenate(
        [_exchanged(half, likeness[half], rng) for _ in range(times) for half in own]
    )
    values = _with_residuals(some, background.mean, sources)
    again = some.take(np.tile(np.arange(size), times))
    slices = dataclasses.replace(again, values=values)
    first, second = (np.concatenate([half + size * k for k in range(times)]) for half in own)
    return Scrambled(
        dataclasses.replace(
            background,
            slices=slices,
            rank=view_rank(slices.rotations),
            offsets=np.zeros((len(slices), NUISANCES), np.float32),
            room=Reused(),
        ),
        (first, second),
        float(np.sqrt(total / max(len(slices), 1))),
        body,
        count_copies(background.slices, np.concatenate(halves)) ** 0.5,
    )


def turn_to_mates(background: Background, symmetry: FloatArray, seed: int) -> Background | None:
    """Give each particle a random one of its equivalent poses, if all were kept to one unit.

    Which unit a pose lies in is then the refinement's choice and tells nothing of the particle, so
    what varies in the particle varies as much at equivalent poses.  What keeps to the image, such
    as neighbours of particles that lie alike, does not.

    Parameters
    ----------
    background : Background
    symmetry : (s, 3, 3) float64
    seed : int

    Returns
    -------
    Background or None
        None where there is no symmetry, or poses are not confined to one unit.
    """
    slices = background.slices
    if not keep_to_one_unit(slices.rotations, symmetry, seed):
        return None
    chosen = np.random.default_rng([seed, 62]).integers(0, len(symmetry), len(slices))
    turned = np.matmul(slices.rotations, symmetry[chosen]).astype(np.float32)
    return dataclasses.replace(
        background,
        slices=dataclasses.replace(slices, rotations=turned),
        rank=view_rank(turned),
        room=Reused(),
    )


def count_copies(slices: Slices, index: IntArray) -> float:
    """Mean number of copies of an image among some particles.

    Copies have the same value at the zero frequency, which shifts and windows leave alone.
    """
    mean = slices.values[index, 0].real
    if not mean.any():  # images whose own mean was taken off
        return 1.0
    return len(index) / max(len(np.unique(mean)), 1)


def _transfer(slices: Slices) -> FloatArray:
    """Mean squared CTF of each image, (n,): what stands for its defocus."""
    out: FloatArray = power(slices.ctf).mean(axis=1, dtype=np.float64)
    return out


def _exchanged(index: IntArray, likeness: FloatArray, rng: np.random.Generator) -> IntArray:
    """For each of some particles another one that is like it, each taken once."""
    order = np.argsort(likeness, kind="stable")
    out = np.empty_like(index)
    size = max(MIN_NEIGHBOURS, len(order) // GROUPS)
    for block in np.array_split(order, max(1, len(order) // size)):
        turn = rng.permutation(block)
        out[turn] = index[np.roll(turn, 1)]
    return out


def _with_residuals(slices: Slices, mean: FloatArray, sources: FloatArray) -> ComplexArray:
    """Projections of the mean with other particles' residuals, (len(sources), p) complex64."""
    grid = slices.grid
    transform = grid.to_fourier(mean[None])
    projections = np.empty_like(slices.values)
    for start in range(0, len(slices), CHUNK):
        part = slice(start, start + CHUNK)
        seen = extract_slices(transform, slices.rotations[part], grid)[..., 0]
        projections.real[part] = seen.real * slices.ctf[part]
        projections.imag[part] = seen.imag * slices.ctf[part]
    values = (slices.values - projections)[sources]
    for start in range(0, len(values), len(slices)):
        values[start : start + len(slices)] += projections
    out: ComplexArray = values
    return out
