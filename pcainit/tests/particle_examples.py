"""Particles of known truth for the tests of the method `particles`; made from the model itself."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
from scipy.spatial.transform import Rotation

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.crop import prepare_slices
from pcainit.engine.images.particles import Slices
from pcainit.engine.model.image_model import make_background
from pcainit.engine.projection.reconstruction import Consensus, reconstruct_consensus
from pcainit.engine.projection.slices import extract_slices
from pcainit.engine.simulation.simulate import draw_truth, simulate_images

GRID = Grid(24, 6.0, 24.0)
PLACES = np.array([[2, 0, 1], [-1, 2, 0], [0, -2, -2], [1, 1, 2], [-2, -1, 1], [0, 0, 0.0]])


def blobs(grid, places, width=1.2):
    """Sum of Gaussians at (x, y, z) places, in voxels of the working box, float32."""
    axis = np.arange(grid.box) - grid.box // 2
    x, y, z = (np.exp(-0.5 * ((axis - c[:, None]) / width) ** 2) for c in np.asarray(places).T)
    return np.einsum("jz,jy,jx->zyx", z, y, x).astype(np.float32)


def ball(grid, radius):
    """Mask of a sphere, voxels of the working box."""
    axis = np.arange(grid.box) - grid.box // 2
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)


def model_background(
    n, *, seed=0, grid=GRID, differences=None, coordinates=None, noise=1.0, mean=None
):
    """`Background` of n particles that follow the model exactly, and its solvent mask.

    Parameters
    ----------
    differences : (q, box, box, box)
        What is added to the mean volume, times `coordinates` (n, q).
    noise : float
        Variance of a Fourier sample.
    mean : (box, box, box) float32, optional
        A few blobs by default.
    """
    rng = np.random.default_rng([seed, 77])
    mean = blobs(grid, PLACES) if mean is None else mean
    rotations = Rotation.random(n, random_state=seed).as_matrix().astype(np.float32)
    k = np.hypot(*grid.frequencies.T) / grid.sample_cutoff
    ctf = np.cos(1.5 * k + rng.uniform(0, 1, (n, 1))).astype(np.float32)
    values = extract_slices(grid.to_fourier(mean[None]), rotations, grid)[..., 0]
    if differences is not None:
        slices = extract_slices(grid.to_fourier(np.asarray(differences)), rotations, grid)
        values = values + np.einsum("npq,nq->np", slices, coordinates)
    error = rng.normal(size=values.shape) + 1j * rng.normal(size=values.shape)
    error[:, 0] = error[:, 0].real * np.sqrt(2)
    values = (ctf * values + np.sqrt(noise / 2) * error).astype(np.complex64)
    values[:, 0] = values[:, 0].real
    half = (np.arange(n) % 2 + 1).astype(np.int8)
    slices = Slices(values, ctf, rotations, half, np.ones(n, bool), grid)
    consensus = Consensus(
        mean, np.full(grid.n_shells, float(noise)), grid.shell_profile(mean), np.ones(grid.n_shells)
    )
    solvent = ball(grid, 5)
    return make_background(slices, consensus, solvent), solvent


def simulated_slices(simulation, resolution):
    """Truth, slices and consensus of a simulation, in memory."""
    truth = draw_truth(simulation)
    grid = Grid(simulation.box_px, simulation.sampling, resolution)
    images = np.array(list(simulate_images(simulation, truth)))
    slices = prepare_slices(truth.particles, grid, [(np.arange(len(images)), images.copy)])
    return truth, slices, reconstruct_consensus(slices)


def latent_statistics(centres, label, *, seed=0, strength=4.0, spread=0.5):
    """Precisions and scores (float32) of particles at the centres that `label` names.

    Each particle's own precision is a random matrix of mean `strength` times the identity.
    """
    rng = np.random.default_rng([seed, 78])
    centres = np.asarray(centres, float)
    n, q = len(label), centres.shape[1]
    root = np.eye(q) + spread * rng.normal(size=(n, q, q)) / np.sqrt(q)
    root *= np.sqrt(strength / (1 + spread**2)) * rng.uniform(0.7, 1.3, (n, 1, 1))
    precision = root @ root.transpose(0, 2, 1)
    score = np.einsum("nab,nb->na", precision, centres[label]) + np.einsum(
        "nab,nb->na", root, rng.normal(size=(n, q))
    )
    return precision.astype(np.float32), score.astype(np.float32)
