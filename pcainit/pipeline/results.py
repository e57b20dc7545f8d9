"""What each stage makes: one frozen dataclass for each, None where a method does not make it.

Arrays have the shapes that their docstrings say; everything else is text, plain numbers, or lists
and dictionaries of them.  `flat_arrays.to_arrays` makes flat arrays of any of these for the files.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pcainit.engine.arrays import AnyArray, BoolArray, FloatArray, IntArray
from pcainit.engine.consensus.refine import ParticleQuality
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.model.image_model import LatentModel
from pcainit.engine.model.statistics import Measurements
from pcainit.engine.projection.reconstruction import Consensus
from pcainit.engine.volume_sets.volume_set import VolumeComponents
from pcainit.pipeline.prepare_result import PrepareResult, StageResult


@dataclass(frozen=True, eq=False)
class BatchVolumes:
    """One volume for each batch of the methods batches and simple.

    Parameters
    ----------
    volumes : (N, box, box, box) float32
    halves : (2N, box, box, box) float32, optional
        Two of each, for the method simple.
    """

    volumes: FloatArray
    halves: FloatArray | None


@dataclass(frozen=True, eq=False)
class ConsensusResult(StageResult):
    """The mean, where heterogeneity is sought, and what there is of particles or batches.

    Parameters
    ----------
    consensus : Consensus
    mask : (box, box, box) float32
        Where heterogeneity is sought.
    grid : Grid
        Of all volumes here.
    solvent : (box, box, box) float32, optional
        The whole particle; of the method particles.
    quality : ParticleQuality, optional
        Of the method particles.
    batches : BatchVolumes, optional
        Of the methods batches and simple.
    mask_note : str
        A sentence where the user's mask contradicts the particles.
    """

    stage: ClassVar[str] = "reconstruct"
    consensus: Consensus
    mask: FloatArray
    grid: Grid
    solvent: FloatArray | None = None
    quality: ParticleQuality | None = None
    batches: BatchVolumes | None = None
    mask_note: str = ""

    @classmethod
    def of_particles(
        cls, consensus: Consensus, quality: ParticleQuality, mask: AnyArray, grid: Grid
    ) -> ConsensusResult:
        """Of the method particles."""
        return cls(consensus, mask, grid, auto_mask(consensus.mean, grid), quality)


@dataclass(frozen=True, eq=False)
class ComponentTests:
    """What is certified, and by how much.

    Parameters
    ----------
    certified, local : (q,) bool
        What the half-sets agree on, and what of it was found in a small place.
    half_set_cosines : (q,) float64
    null_cosine : float
        What components of noise reach.
    artefacts : int
        Reproducible components that contrast or pose errors make.
    strongest : float
        Largest held-out score of what is certified.
    surroundings : int
        Reproducible components that scrambled residuals have too.
    """

    certified: BoolArray
    local: BoolArray
    half_set_cosines: FloatArray
    null_cosine: float
    artefacts: int
    strongest: float
    surroundings: int


@dataclass(frozen=True, eq=False)
class LocalSearch:
    """The search of small regions.

    Parameters
    ----------
    tried : int
        Regions; 0 when none were searched.
    places : list of dict
        Those that change; see `local_components.describe_place`.
    mask : (box, box, box) float32
        Of all places together.
    scrambled_score : float
        Largest of any region in scrambled residuals.
    detectable_share, detectable_radius : float
        Smallest share of a loss that would have been found (1: none), and its radius in voxels.
    """

    tried: int
    places: list[dict[str, Any]]
    mask: FloatArray
    scrambled_score: float
    detectable_share: float
    detectable_radius: float


@dataclass(frozen=True, eq=False)
class ParticleComponents:
    """Components of the method particles, and the particles measured along them.

    Parameters
    ----------
    model : LatentModel
        Of all particles, what is certified first.
    half_models : two LatentModel
        Of either half-set, one by one the certified ones of `model`.
    index : (m,) int
        The particles that were measured.
    statistics : Measurements
        Of these m particles along `model`.
    cross_statistics : Measurements
        Of the same along the other half-set's components.
    coordinates, covariance : (n, q), (n, q, q) float32
        Of all particles, zero for those that were not measured.
    artefact : (q,) float64
        Share of each component that contrast and pose errors of the consensus could make.
    explained : (q,) float64
        Share of each coordinate that views and defocus explain.
    tests : ComponentTests, optional
        None where the components were taken at their word.
    search : LocalSearch, optional
        Likewise.
    power : dict, optional
        What the positive control says: `short`, `long`, `density`.
    given : dict, optional
        Components that were given: `use`, `files`, and figures of each.
    anew : ConsensusResult, optional
        Made again for a larger mask or at the resolution of the analysis, in place of what the
        stage reconstruct has made.
    mask_grown : bool
        Whether the mask was extended to where components go on.
    surroundings : (a, box, box, box) float32, optional
        Components of backgrounds and neighbours, at the resolution of the volumes.
    agreement : (c, n_shells) float64, optional
        FSC of the half-sets' certified components, at the resolution of the analysis.
    """

    model: LatentModel
    half_models: tuple[LatentModel, LatentModel]
    index: IntArray
    statistics: Measurements
    cross_statistics: Measurements
    coordinates: FloatArray
    covariance: FloatArray
    artefact: FloatArray
    explained: FloatArray
    tests: ComponentTests | None = None
    search: LocalSearch | None = None
    power: dict[str, Any] | None = None
    given: dict[str, Any] | None = None
    anew: ConsensusResult | None = None
    mask_grown: bool = False
    surroundings: FloatArray | None = None
    agreement: FloatArray | None = None

    @property
    def count(self) -> int:
        """Components that classes are sought along: certified, or taken at their word."""
        return self.half_models[0].q

    @property
    def certified(self) -> AnyArray:
        """Those of the components that are certified, (c, box, box, box) float32."""
        assert self.tests is not None
        certified: AnyArray = self.model.components[self.tests.certified]
        return certified

    def consensus_of(self, base: ConsensusResult) -> ConsensusResult:
        """The stage reconstruct's result, or what was made anew for a larger mask."""
        return base if self.anew is None else self.anew


@dataclass(frozen=True, eq=False)
class ComponentsResult(StageResult):
    """What varies: along particles, or between volumes.

    Parameters
    ----------
    variance : (box, box, box) float32, optional
        Of the density, at each voxel; None where it is that of the components.
    noise_edge : float, optional
        Largest eigenvalue to be expected of noise alone, NaN where it cannot be told.
    particles : ParticleComponents, optional
        Of the method particles.
    volumes : VolumeComponents, optional
        Of the method batches, and of volumes that are given.
    """

    stage: ClassVar[str] = "components"
    variance: FloatArray | None = None
    noise_edge: float | None = None
    particles: ParticleComponents | None = None
    volumes: VolumeComponents | None = None

    @property
    def measured(self) -> ParticleComponents:
        """Those of the method particles."""
        assert self.particles is not None
        return self.particles

    @property
    def components(self) -> AnyArray | None:
        """(q, box, box, box) float32, orthonormal."""
        if self.particles is not None:
            return self.particles.model.components
        return None if self.volumes is None else self.volumes.components

    @property
    def eigenvalues(self) -> AnyArray | None:
        """(q,) float64: variances along the components."""
        if self.particles is not None:
            return self.particles.model.variances
        return None if self.volumes is None else self.volumes.variances


@dataclass(frozen=True, eq=False)
class ParticleClusters:
    """Classes of the particles along the components that are certified.

    Parameters
    ----------
    weights : (K,) float64
    posterior : (m, K) float32
        Of the particles that were measured.
    distances : (K, K) float64
        Between the centres, standard deviations of a particle's noise.
    supported : int
        Number of classes that the data support.
    supported_weights : (s,) float64
    merged : (s,) int
        Class that each of the supported ones has gone to, from 0.
    """

    weights: FloatArray
    posterior: FloatArray
    distances: FloatArray
    supported: int
    supported_weights: FloatArray
    merged: IntArray


@dataclass(frozen=True, eq=False)
class ClusterResult(StageResult):
    """Classes, in the space of the components or of given coordinates.

    Parameters
    ----------
    label : (N,) int, optional
        Of each batch, subset or volume, from 0.
    centres, covariances : (K, q), (K, q, q) float64, optional
    tried, bic, held_out : (t,) int, (t,) float64, (t,) float64, optional
        How well each number of classes explains the data.
    particles : ParticleClusters, optional
        Of the method particles.
    """

    stage: ClassVar[str] = "cluster"
    label: IntArray | None = None
    centres: FloatArray | None = None
    covariances: FloatArray | None = None
    tried: AnyArray | None = None
    bic: AnyArray | None = None
    held_out: AnyArray | None = None
    particles: ParticleClusters | None = None


@dataclass(frozen=True, eq=False)
class ParticleClasses:
    """What the K volumes say of each particle.

    Parameters
    ----------
    posterior : (n, K) float32
    label : (n,) int32
        Most probable class, from 0.
    junk : (n,) bool
        Set aside.
    coordinates, covariance : (n, q), (n, q, q) float32, optional
    contrast : (n,) float32, optional
    """

    posterior: FloatArray
    label: IntArray
    junk: BoolArray
    coordinates: FloatArray | None = None
    covariance: FloatArray | None = None
    contrast: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class VolumesResult(StageResult):
    """The K volumes.

    Parameters
    ----------
    volumes : (K, box, box, box) float32
    weights : (K,) float64
    pairwise : (K, K) float64
        Root-mean-square differences over their noise.
    class_fsc : (k, n_shells) float64, optional
        Between the half-sets, of the first k.
    copies : (K,) bool, optional
        Classes that show no state but a random subset of the particles.
    offsets : (k, 6) float64, optional
        How each class as a whole lies against the consensus; see `class_motion`.
    dropped : int
        Classes that no particle was a member of.
    held_out : list of float
        Rises of the likelihood at each step away from the components' span.
    particles : ParticleClasses, optional
        None where there are no particles.
    """

    stage: ClassVar[str] = "volumes"
    volumes: FloatArray
    weights: FloatArray
    pairwise: FloatArray
    class_fsc: FloatArray | None = None
    copies: BoolArray | None = None
    offsets: FloatArray | None = None
    dropped: int = 0
    held_out: tuple[float, ...] = ()
    particles: ParticleClasses | None = None

    @property
    def class_sizes(self) -> AnyArray | None:
        """(K,) int: particles of each class; those set aside have a class in name only."""
        if self.particles is None:
            return None
        kept = self.particles.label[~self.particles.junk]
        return np.bincount(kept, minlength=len(self.volumes))


@dataclass(frozen=True, eq=False)
class RunResults:
    """What any route has made, for the result folder.

    Parameters
    ----------
    grid : Grid
    mean, mask : (box, box, box) float32
        Of all particles or volumes, and where heterogeneity was sought.
    consensus : ConsensusResult, optional
        None where there are no particles.
    components : ComponentsResult
    clusters : ClusterResult, optional
    volumes : VolumesResult, optional
        None, as `clusters`, where only the variance was looked at.
    """

    grid: Grid
    mean: FloatArray
    mask: FloatArray
    consensus: ConsensusResult | None
    components: ComponentsResult
    clusters: ClusterResult | None = None
    volumes: VolumesResult | None = None


STAGE_RESULTS: dict[str, type[StageResult]] = {
    kind.stage: kind
    for kind in (PrepareResult, ConsensusResult, ComponentsResult, ClusterResult, VolumesResult)
}
