"""The particles as the stage reconstruct has left them, and all that follows, made once."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Tuple

import numpy as np

from pcainit.engine.arrays import AnyArray, FloatArray
from pcainit.engine.consensus.poses import correct_slices
from pcainit.engine.consensus.refine import ParticleQuality, polish_consensus
from pcainit.engine.consensus.windowing import window_slices
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask, particle_body
from pcainit.engine.geometry.poses import symmetry_matrices
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.image_model import Background, NuisanceSpread, make_background
from pcainit.engine.projection.reconstruction import Consensus
from pcainit.pipeline.results import ConsensusResult
from pcainit.settings import Settings

Halves = Tuple[AnyArray, AnyArray]


@dataclass(frozen=True, eq=False)
class AnalysedParticles:
    """Particles of the method particles, ready for analysis.

    Parameters
    ----------
    slices : Slices
        Seen through the window, with their poses corrected.
    consensus : Consensus
    mask, solvent : (box, box, box) float32
        Where heterogeneity is sought, and the whole particle.
    quality : ParticleQuality
    symmetry : (s, 3, 3)
    """

    slices: Slices
    consensus: Consensus
    mask: FloatArray
    solvent: FloatArray
    quality: ParticleQuality
    symmetry: FloatArray

    @classmethod
    def of(
        cls, slices: Slices, base: ConsensusResult, settings: Settings, *, windowed: bool = True
    ) -> AnalysedParticles:
        """From the slices as they were prepared.

        Parameters
        ----------
        slices : Slices
        base : ConsensusResult
            Of the method particles.
        settings : Settings
        windowed : bool
            False where one has to look beyond the window.
        """
        quality, solvent = base.quality, base.solvent
        assert quality is not None and solvent is not None
        if windowed:
            slices = window_slices(slices, quality.window)
        return cls(
            correct_slices(slices, quality.offsets),
            base.consensus,
            base.mask,
            solvent,
            quality,
            symmetry_matrices(settings.symmetry),
        )

    @property
    def grid(self) -> Grid:
        """The working grid."""
        return self.slices.grid

    @property
    def spread(self) -> NuisanceSpread:
        """Of contrast and pose errors, as known before components are."""
        return self.quality.spread

    @cached_property
    def everyone(self) -> AnyArray:
        """(m,) int: the particles that are kept."""
        return np.flatnonzero(self.quality.keep)

    @cached_property
    def half_sets(self) -> Halves:
        """The particles of either half-set among those that are kept."""
        keep, half = self.quality.keep, self.slices.half
        return np.flatnonzero(keep & (half == 1)), np.flatnonzero(keep & (half == 2))

    @cached_property
    def background(self) -> Background:
        """What stays fixed while components or classes are sought."""
        return make_background(self.slices, self.consensus, self.solvent, self.quality.offsets)

    @cached_property
    def body(self) -> AnyArray:
        """(box, box, box) bool: where the particle itself is."""
        return particle_body(self.consensus.mean, self.solvent)

    def polished(self, index: AnyArray) -> Consensus:
        """The consensus made again of some of the particles, or of changed ones."""
        return polish_consensus(
            self.slices,
            self.consensus,
            index,
            self.spread,
            self.quality.offsets,
            rounds=2,
            symmetry=self.symmetry,
        )

    def background_of(self, consensus: Consensus) -> Background:
        """The same particles around another consensus; both share what room they need."""
        solvent = auto_mask(consensus.mean, self.grid)
        return make_background(
            self.slices, consensus, solvent, self.quality.offsets, self.background.room
        )
