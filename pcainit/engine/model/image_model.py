"""The model of a particle: what is fixed, the components, and the spread of the nuisances.

A whitened particle (Tagare et al. 2015; Punjani and Fleet 2021) is::

    y = C P (mu + U z) + N w + noise,   z ~ N(0, diag(variances)),   w ~ N(0, diag(nuisance))

The columns of N are fixed: contrast (the mean's own slice) and, to first order, errors of the pose
(shift along the image's x and y, rotation about its x, y and z).  Without them these errors are
found as components, and they agree between half-sets.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Iterator

import numpy as np

from pcainit.buffers import Reused
from pcainit.engine.arrays import ComplexArray, FloatArray, IntArray
from pcainit.engine.compiled.threads import thread_count
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.poses import view_rank
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.posterior import NUISANCES
from pcainit.engine.projection.reconstruction import Consensus

PART = 2**15


@dataclass(frozen=True)
class NuisanceSpread:
    """Standard deviations of what differs between particles without being heterogeneity.

    Parameters
    ----------
    contrast : float
        About 1.
    shift_px : float
        Per axis, pixels of the particles' box.
    rotation : float
        Per axis, radians.
    falloff : float
        Change of contrast at the resolution limit, growing with the frequency squared.
    """

    contrast: float = 0.15
    shift_px: float = 0.5
    rotation: float = 0.02
    falloff: float = 0.05

    @property
    def precision(self) -> FloatArray:
        """(7,) float64: contrast, shift x y, rotation x y z, fall-off."""
        sd = np.array([self.contrast] + [self.shift_px] * 2 + [self.rotation] * 3 + [self.falloff])
        return 1 / np.maximum(sd, 1e-4) ** 2

    def precision_beside(self, count: int) -> FloatArray:
        """(count + 7,) float64: 1 for each of `count` components, then `precision`."""
        return np.concatenate([np.ones(count), self.precision])

    def improved(self, second: FloatArray, squares: FloatArray) -> NuisanceSpread:
        """Spread that explains the posteriors better (MacKay's fixed point, few rounds needed).

        Equation (8) of docs/theory.md.

        Parameters
        ----------
        second, squares : (7,) float64
            Means over the particles of the coefficients' second moments, and of their posterior
            means squared.
        """
        old = 1 / self.precision
        determined = np.maximum(1 - (second - squares) / old, 1e-6)
        new = []
        for part in (slice(0, 1), slice(1, 3), slice(3, 6), slice(6, 7)):
            ratio = squares[part].mean() / determined[part].mean() / old[part][0]
            new.append(float(np.sqrt(old[part][0] * np.clip(ratio, 0.1, 10.0))))
        return NuisanceSpread(*new)


@dataclass(frozen=True, eq=False)
class LatentModel:
    """Mean, components and their spread.

    Equation (1) of docs/theory.md.

    Parameters
    ----------
    components : (q, box, box, box) float32
        Orthonormal over the working box.
    variances : (q,) float64
        Of the latent coordinates, decreasing.
    nuisance : NuisanceSpread
    gain : float
        Mean log marginal likelihood ratio per particle, against the mean alone.
    """

    components: FloatArray
    variances: FloatArray
    nuisance: NuisanceSpread
    gain: float = 0.0

    @property
    def q(self) -> int:
        """Number of components."""
        return len(self.components)

    @property
    def scaled(self) -> FloatArray:
        """Components times the standard deviations of their coordinates."""
        return self.components * np.sqrt(self.variances)[:, None, None, None].astype(np.float32)

    def take(self, index: IntArray | slice) -> LatentModel:
        """The model with some of the components."""
        return dataclasses.replace(
            self, components=self.components[index], variances=self.variances[index]
        )


@dataclass(frozen=True, eq=False)
class Background:
    """The fixed part of the model while components are sought.

    Parameters
    ----------
    slices : Slices
    mean : (box, box, box) float32
    moments : (3, box, box, box) float32
        x, y and z (pixels of the particles' box) times the solvent-masked mean.
    whitening : (p,) float32
    noise, signal : (n_shells,) float64
    rank : (n,) int64
        Order by view: neighbours share most of the grid points they touch.
    offsets : (n, 7) float32
        Nuisance coefficients that the slices have been corrected by; the prior is about the
        recorded poses all the same.
    room : Reused
        For the sums of passes.
    """

    slices: Slices
    mean: FloatArray
    moments: FloatArray
    whitening: FloatArray
    noise: FloatArray
    signal: FloatArray
    rank: IntArray
    offsets: FloatArray
    room: Reused = dataclasses.field(default_factory=Reused)

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return self.slices.grid

    @cached_property
    def transforms(self) -> list[ComplexArray]:
        """Those of the mean and its moments; see `Grid.transforms`."""
        return self.grid.transforms([self.mean, *self.moments], thread_count())


def make_background(
    slices: Slices,
    consensus: Consensus,
    solvent: FloatArray,
    offsets: FloatArray | None = None,
    room: Reused | None = None,
) -> Background:
    """The fixed part of the model.

    Parameters
    ----------
    slices : Slices
        Cropped, centred transforms of the particles.
    consensus : Consensus
        Mean of the particles with its noise and signal spectra.
    solvent : (box, box, box) float32
        Mask of the whole particle.
    offsets : (n, 7) float32, optional
        Nuisance coefficients that the slices have been corrected by.
    room : Reused, optional
        See `Background`.

    Returns
    -------
    Background
    """
    grid = slices.grid
    body = consensus.mean * solvent
    # An image's mean reflects its background and normalisation more than the particle: where
    # it varies, a flat component would be found in both half-sets.
    whitening = np.where(grid.shell == 0, 0, consensus.whitening(grid)).astype(np.float32)
    return Background(
        slices,
        consensus.mean,
        grid.moments(body),
        whitening,
        consensus.noise,
        consensus.signal,
        view_rank(slices.rotations),
        np.zeros((len(slices), NUISANCES), np.float32) if offsets is None else offsets,
        room or Reused(),
    )


def in_parts(count: int) -> Iterator[slice]:
    """Parts of many particles, so that what is kept of each for a while stays small."""
    for first in range(0, count, PART):
        yield slice(first, min(first + PART, count))
