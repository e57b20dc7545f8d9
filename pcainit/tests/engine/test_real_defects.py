"""Crowded, normalised images of a hollow shell: sets of one state, and one of two."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pcainit.engine.consensus.refine import clean_consensus
from pcainit.engine.geometry.grid import radial_distance
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.simulation import simulate as simulation_module
from pcainit.engine.simulation.phantoms import Phantom
from pcainit.engine.simulation.simulate import Simulation
from pcainit.pipeline.classes import cluster_particles
from pcainit.pipeline.grown_mask import find_in_grown_mask
from pcainit.pipeline.results import ConsensusResult
from pcainit.settings import Settings
from pcainit.tests.particle_examples import simulated_slices

pytestmark = pytest.mark.slow
RESOLUTION, BLOBS = 24.0, 300
PLACE = np.array([0.2, -0.13, 0.13])  # of the domain, in boxes
COMMON = Simulation(
    particles=1200,
    box_px=32,
    sampling=6.0,
    populations=(1,),
    domain=0.15,
    snr=0.3,
    crowding=0.3,
    normalised=True,
    seed=1,
)


def shells(made):
    """A hollow shell, and the same with a domain beside it."""
    rng = np.random.default_rng([made.seed, 8])
    extent = made.box_px * made.sampling
    centres = rng.normal(size=(BLOBS, 3))
    centres *= 0.2 * extent / np.linalg.norm(centres, axis=1)[:, None]
    amplitudes = rng.uniform(0.5, 1.5, BLOBS)
    width = 0.7 * made.sampling
    count = round(made.domain * BLOBS)
    domain = (PLACE + 0.05 * rng.normal(size=(count, 3))) * extent
    more = np.full(count, amplitudes.mean())
    return [
        Phantom(centres, amplitudes, width),
        Phantom(np.concatenate([centres, domain]), np.concatenate([amplitudes, more]), width),
    ][: len(made.populations)]


@pytest.fixture
def analysed(monkeypatch):
    """Function that simulates a set and returns its truth, consensus, components and clusters."""
    monkeypatch.setattr(simulation_module, "make_states", shells)

    def analyse(**options):
        made = dataclasses.replace(COMMON, **options)
        truth, slices, consensus = simulated_slices(made, RESOLUTION)
        better, quality = clean_consensus(slices, consensus, np.eye(3)[None], 0)
        mask = auto_mask(better.mean, slices.grid)
        base = ConsensusResult.of_particles(better, quality, mask, slices.grid)
        settings = Settings(resolution=RESOLUTION)
        found = find_in_grown_mask(slices, base, settings, lambda share: None).measured
        clusters = cluster_particles(slices, found, settings).particles
        return truth, found.consensus_of(base), found, clusters

    return analyse


def profile(volume):
    """Mean density at each distance from the centre, voxels."""
    distance = np.rint(radial_distance(len(volume))).astype(int).ravel()
    return np.bincount(distance, volume.ravel()) / np.bincount(distance)


@pytest.mark.parametrize("options", [{}, {"background": 0.3}], ids=["halo", "backgrounds"])
def test_a_shell_among_neighbours_is_one_state(analysed, options):
    """Its halo is no level of the solvent, and no slope or pedestal is heterogeneity."""
    _, before, found, clusters = analysed(**options)
    density = profile(before.consensus.mean)
    assert density[5:9].min() < -0.03 * density.max()  # the halo is there
    assert abs(density[9:11].mean()) < 0.02 * density.max()  # and the far solvent is at 0
    assert not found.tests.certified.any() and clusters.supported == 1
    assert before.quality.spread.contrast < 0.2  # true contrasts are within 10 %


def test_a_domain_of_some_is_found_among_neighbours(analysed):
    truth, before, found, clusters = analysed(populations=(0.6, 0.4), background=0.3)
    assert found.tests.certified.any() and clusters.supported == 2
    label = clusters.posterior.argmax(axis=1)
    assert adjusted_rand_score(truth.state[found.index], label) > 0.3
    assert clusters.weights.min() == pytest.approx(0.4, abs=0.06)
    extent = COMMON.box_px * COMMON.sampling
    strongest = np.abs(found.model.components[0])
    z, y, x = np.unravel_index(strongest.argmax(), strongest.shape)
    voxel = COMMON.sampling * COMMON.box_px / len(strongest)
    place = (np.array([x, y, z]) - len(strongest) // 2) * voxel
    assert np.linalg.norm(place - PLACE * extent) < RESOLUTION
