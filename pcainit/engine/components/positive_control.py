"""How small a change would have been found?  Domains of known mass, put to the user's own images.

A domain that is there in a share p of n particles adds ``p (1 - p) sqrt(sum G_i^2 / 2)`` standard
deviations to the held-out score of its direction (`score_test`), G_i being what each particle's
view, CTF and noise tell of it, with pose errors, contrast, backgrounds and what was found already
integrated out.  Scrambled particles (`scrambling`) tell how much further the score strays, and
what backgrounds add to it.  The score from which a domain is found was calibrated by adding
domains to real particles and searching (`power_curve`).
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft

from pcainit.engine.arrays import BoolArray, FloatArray, IntArray
from pcainit.engine.components.rules import RULES
from pcainit.engine.components.scrambling import Scrambled
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import particle_body, solvent_level
from pcainit.engine.images.particles import Slices, subsample
from pcainit.engine.model.e_step import posterior_statistics
from pcainit.engine.model.image_model import Background, LatentModel
from pcainit.engine.model.statistics import marginalise
from pcainit.engine.projection.slices import extract_slices

VOLUME_PER_KDA = 1210.0  # cubic Angstrom of protein
# Sizes of domains that are looked at, kDa, and what share of the particle's mass they may have.
SIZES = (4, 8, 15, 30, 60, 120, 240, 480)
MIN_OF_MASS, MAX_OF_MASS = 0.01, 0.3
EDGE = 4.0  # Angstrom by which a domain's surface is blurred (1 sd)
PLACES = 6
MIN_FILLED = 0.75  # share of a domain that lies in the mask
LARGEST_SHARE = 0.5
TELLING = 3000  # particles tell the score of all
# Expected score from which a domain is found in 8 of 10 cases.  Of domains of 15 to 120 kDa at 12
# places of real apoferritin, a simulated ribosome and a phantom, 18 showed 3 of 12, 27 showed 9
# of 11 (what 18 showed counts), 40 all.
FOUND_SCORE = 28.0
MIN_CLASS_WEIGHT = 50  # fewer make no state, however clear
CHUNK = 2048


@dataclass(frozen=True)
class DensityScale:
    """Greyscale of protein in a consensus.

    Parameters
    ----------
    density : float
        Of protein above the solvent around it, at the resolution of the working box.
    mass : float
        Of the whole particle, kDa.
    """

    density: float
    mass: float


def measure_density(mean: FloatArray, mask: FloatArray, grid: Grid) -> DensityScale:
    """Estimate protein's density in the images' own greyscale, and the particle's mass.

    The density-weighted mean density of the particle's body, above the solvent's level around:
    right to about 15 % (apoferritin 12 % high, a ribosome 9 to 17 % low, at 20 A).

    Parameters
    ----------
    mean : (box, box, box) float32
    mask : (box, box, box) float32
        Round the particle.
    grid : Grid

    Returns
    -------
    DensityScale
    """
    above = (mean - solvent_level(mean, mask)).astype(np.float64)
    inside = np.where(particle_body(mean, mask), np.maximum(above, 0), 0)
    density = float((inside**2).sum() / max(inside.sum(), 1e-30))
    volume = float((above * mask).sum()) / max(density, 1e-30) * grid.voxel**3
    return DensityScale(density, max(volume, 0.0) / VOLUME_PER_KDA)


def choose_sizes(mass: float) -> list[int]:
    """Masses of domains, kDa, that make a fair part of a particle of a given mass."""
    sizes = [kda for kda in SIZES if MIN_OF_MASS <= kda / max(mass, 1e-30) <= MAX_OF_MASS]
    return sizes or [SIZES[0] if mass < SIZES[0] else SIZES[-1]]


def ball_radius(kda: float) -> float:
    """Radius of a ball of protein, Angstrom."""
    return float((3 * kda * VOLUME_PER_KDA / (4 * np.pi)) ** (1 / 3))


def make_domain(centre: FloatArray, kda: float, density: float, grid: Grid) -> FloatArray:
    """Make a ball of protein, as the working box shows it.

    Parameters
    ----------
    centre : (3,) float
        z, y, x in the working box.
    kda : float
    density : float
        Of protein, see `measure_density`.
    grid : Grid

    Returns
    -------
    (box, box, box) float32
        Band-limited; its integral is `kda` times `VOLUME_PER_KDA` times the density.
    """
    f, x = fft.fftfreq(grid.box), fft.rfftfreq(grid.box)
    z, y = f[:, None, None], f[:, None]
    size = 2 * np.pi * np.sqrt(z * z + y * y + x * x) * (ball_radius(kda) / grid.voxel)
    safe = np.maximum(size, 1e-2)
    shape = np.where(size < 1e-2, 1.0, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3)
    shape = shape * np.exp(-0.5 * (size * EDGE / ball_radius(kda)) ** 2)
    integral = density * kda * VOLUME_PER_KDA / grid.voxel**3
    phase = np.exp(-2j * np.pi * (z * centre[0] + y * centre[1] + x * centre[2]))
    return grid.band_limit(fft.irfftn(integral * shape * phase, s=(grid.box,) * 3))


def choose_places(
    mask: FloatArray, kda: float, grid: Grid, seed: int, count: int = PLACES
) -> IntArray:
    """Choose centres, far from each other, where a domain lies in the mask for the most part.

    Parameters
    ----------
    mask : (box, box, box) float32
    kda : float
    grid : Grid
    seed : int
        Of the first place; each further one is the farthest from those before.
    count : int

    Returns
    -------
    (count, 3) int
        z, y, x in the working box; fewer where there are fewer.
    """
    axis = np.arange(grid.box) - grid.box // 2
    distance = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    ball = distance <= max((ball_radius(kda) / grid.voxel) ** 2, 1.0)
    kernel = fft.rfftn(fft.ifftshift(ball).astype(np.float64))
    filled = fft.irfftn(fft.rfftn((mask > 0.5).astype(np.float64)) * kernel, s=mask.shape)
    filled = np.where(mask > 0.5, filled / ball.sum(), 0)
    if not filled.any():
        return np.zeros((0, 3), int)
    allowed = np.argwhere(filled >= min(MIN_FILLED, float(filled.max())) - 1e-6)
    chosen = [int(np.random.default_rng([seed, 61]).integers(len(allowed)))]
    nearest = np.full(len(allowed), np.inf)
    while len(chosen) < min(count, len(allowed)):
        gap = allowed - allowed[chosen[-1]]
        nearest = np.minimum(nearest, (gap**2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return allowed[chosen]


def add_domain(slices: Slices, domain: FloatArray, present: BoolArray) -> Slices:
    """Add a domain to some of the particles, with the pose and CTF of each.

    Parameters
    ----------
    slices : Slices
    domain : (box, box, box) float32
    present : (n,) bool

    Returns
    -------
    Slices
        With values of their own.
    """
    grid, values = slices.grid, np.array(slices.values)
    transform, index = grid.to_fourier(domain[None]), np.flatnonzero(present)
    for start in range(0, len(index), CHUNK):
        part = index[start : start + CHUNK]
        seen = extract_slices(transform, slices.rotations[part], grid)[..., 0]
        values[part] += seen * slices.ctf[part]
    return dataclasses.replace(slices, values=values)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Along some directions: mean squares that noise gives, and what there is beyond."""

    expected: FloatArray  # mean G^2
    excess: FloatArray  # mean b^2 - G
    stray: FloatArray  # variance of b^2 - G


def _sum_along(
    domains: FloatArray, background: Background, index: IntArray, beside: LatentModel
) -> _Sums:
    """Statistics of each domain by itself, with what stands beside integrated out."""
    known, c = beside.scaled, len(domains)
    precision = beside.nuisance.precision_beside(c + len(known))
    volumes = np.concatenate([domains, known])
    result = posterior_statistics(background, volumes, precision, index)
    some = marginalise(result.grams, result.scores, c, precision[c:])
    gram = np.einsum("ncc->nc", some.precision).astype(np.float64)
    beyond = some.score.astype(np.float64) ** 2 - gram
    return _Sums((gram**2).mean(axis=0), beyond.mean(axis=0), beyond.var(axis=0))


def expect_share(
    strength: FloatArray, null: FloatArray, stray: FloatArray, inside: BoolArray, count: int
) -> float | None:
    """Smallest share of particles in which a domain would be found, in 8 of 10 places.

    Parameters
    ----------
    strength : (k,) float64
        Expected score at each place, per unit of the variance of the domain's presence.
    null : (k,) float64
        What scrambled particles score there.
    stray : (k,) float64
        Standard deviation of the score without any domain.
    inside : (k,) bool
        Whether most of the domain lies inside the particle.
    count : int
        Number of particles.

    Returns
    -------
    float or None
        None when not even a half of the particles would do.
    """
    most = np.where(inside, RULES.max_scrambled_inside, RULES.max_scrambled_outside)
    # Where noise is overestimated all scores are lower; where backgrounds raise them, a good part
    # must be the domain's own.
    needed = np.maximum(FOUND_SCORE * stray - np.minimum(null, 0), null * (1 / most - 1))
    variance = float(np.percentile(needed / np.maximum(strength, 1e-30), 80))  # p (1 - p)
    if not variance < LARGEST_SHARE * (1 - LARGEST_SHARE):
        return None
    share = max(0.5 - float(np.sqrt(0.25 - variance)), MIN_CLASS_WEIGHT / count)
    return share if share <= LARGEST_SHARE else None


def predict_power(
    background: Background,
    index: IntArray,
    mask: FloatArray,
    scale: DensityScale,
    beside: LatentModel,
    scrambled: Scrambled,
    seed: int,
) -> list[dict[str, Any]]:
    """From what share on domains of some sizes would be found, without any search.

    Parameters
    ----------
    background : Background
    index : (m,) int
        The particles; some are looked at.
    mask : (box, box, box) float32
    scale : DensityScale
    beside : LatentModel
        What is known already: components, backgrounds, nuisances.
    scrambled : Scrambled
    seed : int

    Returns
    -------
    list of dict
        `kda`, and `share`: None when no share up to a half would be found.
    """
    some = subsample(index, TELLING)
    others = subsample(np.concatenate(scrambled.halves), TELLING)
    count, out = len(index), []
    for kda in choose_sizes(scale.mass):
        places = choose_places(mask, kda, background.grid, seed)
        if not len(places):
            continue
        domains = np.stack(
            [make_domain(place, kda, scale.density, background.grid) * mask for place in places]
        ).astype(np.float32)
        real = _sum_along(domains, background, some, beside)
        null = _sum_along(domains, scrambled.background, others, beside)
        # Standard deviations of the score, as `held_out_score` counts them.
        stray = np.sqrt(np.maximum(null.stray / (2 * null.expected), 1))
        unsure = stray * np.sqrt(count / len(others))
        score = np.sqrt(count / 2) * null.excess / np.sqrt(null.expected)
        score = np.sign(score) * np.maximum(np.abs(score) - unsure, 0)
        if not scrambled.crowded:  # they judge nothing then
            score = np.minimum(score, 0)
        square = domains.astype(np.float64) ** 2
        inside = (square * scrambled.body).sum(axis=(1, 2, 3)) > 0.5 * square.sum(axis=(1, 2, 3))
        share = expect_share(np.sqrt(count * real.expected / 2), score, stray, inside, count)
        out.append(dict(kda=kda, share=share))
    return out
