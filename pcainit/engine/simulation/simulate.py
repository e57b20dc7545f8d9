"""Simulated particles whose truth is known, projected analytically (no interpolation)."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Iterator

import numpy as np
from scipy import fft
from scipy.spatial.transform import Rotation

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.images.ctf import evaluate_ctf
from pcainit.engine.images.particles import CTF, Particles
from pcainit.engine.simulation.phantoms import Phantom
from pcainit.engine.simulation.refined_poses import refine_to_noise
from pcainit.engine.simulation.surroundings import (
    crowded_views,
    draw_backgrounds,
    measure_background,
)
from pcainit.engine.simulation.views import draw_views, prefer_by_state
from pcainit.errors import InputError, shorten


@dataclass(frozen=True)
class Simulation:
    """What to simulate.

    Parameters
    ----------
    particles : int
    box_px : int
        Even.
    sampling : float
        Angstrom per pixel.
    populations : tuple of float
        Share of each state; they are scaled to sum 1.
    change : str
        ``missing``: each further state lacks one domain of its own; ``moving``: one domain
        turns away step by step.
    domain : float
        Share of the particle's mass in a changing domain.
    snr : float
        Signal variance over noise variance in the whole image.
    coloured : bool
        Noise that falls off with frequency, as behind a detector and thick ice.
    contrast_sd : float
        Spread of the particles' contrast about 1.
    pose_error : tuple of float
        (degrees per axis, pixels per axis): how far the recorded poses are off.
    preferred_views : float
        0 for uniform views, towards 1 for a strong preference of two of them.
    state_views : tuple of float
        Share of each state's particles that are seen within 30 degrees of one axis, the same for
        all states; the others are seen as without it.  Empty: views do not depend on the state.
    junk : float
        Share of images without a particle, or with something else in them.
    crowding : float
        Share of the plane that the particles' discs cover: neighbours show in each image.
    background : float
        Root mean square of a smooth background of each image, in standard deviations of the noise.
    normalised : bool
        Take mean and deviation of each image outside the particle to 0 and 1, as RELION does.
    refined : bool
        Recorded poses fit each image's own noise, as those of a refinement do; `pose_error`
        comes on top.
    seed : int
    """

    particles: int = 2000
    box_px: int = 64
    sampling: float = 4.0
    populations: tuple[float, ...] = (0.5, 0.3, 0.2)
    change: str = "missing"
    domain: float = 0.12
    snr: float = 0.1
    coloured: bool = False
    contrast_sd: float = 0.0
    pose_error: tuple[float, float] = (0.0, 0.0)
    preferred_views: float = 0.0
    state_views: tuple[float, ...] = ()
    junk: float = 0.0
    crowding: float = 0.0
    background: float = 0.0
    normalised: bool = False
    refined: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [
            (
                not 1 <= self.particles <= 10**8,
                "particles is %s: give a number from 1 to 100000000." % self.particles,
            ),
            (
                not 16 <= self.box_px <= 2048 or self.box_px % 2,
                "box is %s: give an even number from 16 to 2048." % self.box_px,
            ),
            (
                not 0.01 <= self.sampling <= 1000,
                "sampling is %s: give a number from 0.01 to 1000." % self.sampling,
            ),
            (
                not self.populations or not all(1e-6 < share < 1e6 for share in self.populations),
                "populations are %s: give one positive share per state." % (self.populations,),
            ),
            (
                self.change not in ("missing", "moving"),
                "change is %r: choose missing or moving." % self.change,
            ),
            (not 0 < self.domain < 0.5, "domain is %s: give a share under 0.5." % self.domain),
            (
                not 1e-9 <= self.snr <= 1e9,
                "snr is %s: give a positive number, at most 1e9." % self.snr,
            ),
            (
                not 0 <= self.contrast_sd <= 10,
                "contrast_sd is %s: give a number from 0 to 10." % self.contrast_sd,
            ),
            (
                not all(0 <= error <= 1000 for error in self.pose_error),
                "pose_error is %s: give two numbers of 0 or more." % (self.pose_error,),
            ),
            (not 0 <= self.junk < 1, "junk is %s: give a share under 1." % self.junk),
            (
                not 0 <= self.preferred_views < 1,
                "preferred_views is %s: give a number from 0 to under 1." % self.preferred_views,
            ),
            (
                len(self.state_views) not in (0, len(self.populations))
                or not all(0 <= share <= 1 for share in self.state_views),
                "state_views are %s: give one share from 0 to 1 per state." % (self.state_views,),
            ),
            (
                not (self.crowding == 0 or 0.02 <= self.crowding <= 0.5),
                "crowding is %s: give 0, or a share from 0.02 to 0.5." % self.crowding,
            ),
            (
                not 0 <= self.background <= 1000,
                "background is %s: give a number from 0 to 1000." % self.background,
            ),
        ]
        for bad, sentence in wrong:
            if bad:
                raise InputError(shorten(sentence, 400))


def make_states(simulation: Simulation) -> list[Phantom]:
    """One phantom for each state: a common body and domains that go missing or move."""
    rng = np.random.default_rng([simulation.seed, 1])
    extent = simulation.box_px * simulation.sampling
    n_blobs, n_states = 240, len(simulation.populations)
    direction = rng.normal(size=(n_blobs, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    radii = np.array([0.30, 0.24, 0.21]) * extent
    centres = direction * rng.uniform(0, 1, (n_blobs, 1)) ** (1 / 3) * radii
    amplitudes = rng.uniform(0.5, 1.5, n_blobs)
    amplitudes *= (0.1 * extent) ** 3 / amplitudes.sum()  # density of order 1 / 10
    width = max(extent / 60, 0.7 * simulation.sampling)
    corners = Rotation.random(1, random_state=simulation.seed).apply(
        np.array(
            [
                [1, 1, 1],
                [-1, -1, 1],
                [-1, 1, -1],
                [1, -1, -1],
                [-1, -1, -1],
                [1, 1, -1],
                [1, -1, 1],
                [-1, 1, 1],
            ]
        )
        / np.sqrt(3)
    )
    n_domain = max(1, round(simulation.domain * n_blobs))
    states = []
    for k in range(n_states):
        kept, moved = np.ones(n_blobs, bool), centres.copy()
        if k and simulation.change == "missing":
            kept[_nearest(centres, corners[(k - 1) % len(corners)] * radii, n_domain)] = False
        elif k:
            domain = _nearest(centres, corners[0] * radii, n_domain)
            turn = Rotation.from_rotvec(np.radians(30.0 * k) * corners[1])
            hinge = centres[domain].mean(axis=0) * 0.5
            moved[domain] = turn.apply(centres[domain] - hinge) + hinge
        states.append(Phantom(moved[kept], amplitudes[kept], width))
    return states


def _nearest(centres: FloatArray, point: FloatArray, count: int) -> IntArray:
    return np.argsort(((centres - point) ** 2).sum(axis=1))[:count]


@dataclass(frozen=True, eq=False)
class Truth:
    """What the simulator knows.

    Parameters
    ----------
    state : (n,) int
        State of each particle; -1 for junk.
    particles : Particles
        With the recorded poses (errors included).
    rotations, shifts_px : (n, 3, 3), (n, 2)
        True poses.
    contrast : (n,) float64
    micrograph : (n,) int
    phantoms : tuple of Phantom
        Scaled so that the noise has unit variance.
    gain : (n,) float64
        What normalisation multiplies each image with; 1 without it.
    """

    state: IntArray
    particles: Particles
    rotations: FloatArray
    shifts_px: FloatArray
    contrast: FloatArray
    micrograph: IntArray
    phantoms: tuple[Phantom, ...]
    gain: FloatArray

    @property
    def ctf(self) -> CTF:
        """CTF of each particle, which all simulated ones have."""
        assert self.particles.ctf is not None
        return self.particles.ctf

    @property
    def mean_gain(self) -> float:
        """What the true maps are multiplied with to be on the images' greyscale."""
        return float(self.gain[self.state >= 0].mean()) if (self.state >= 0).any() else 1.0

    @property
    def seen_contrast(self) -> FloatArray:
        """Contrast against the true maps on the images' greyscale, (n,)."""
        return self.contrast * self.gain / self.mean_gain


def draw_truth(simulation: Simulation) -> Truth:
    """Draw states, poses, defoci and contrasts; scale the phantoms to the signal-to-noise ratio.

    Parameters
    ----------
    simulation : Simulation
        What to simulate, and the random seed.

    Examples
    --------
    >>> from pcainit.engine.simulation.simulate import Simulation, draw_truth
    >>> truth = draw_truth(Simulation(particles=100, box_px=32, populations=(0.7, 0.3)))
    >>> int((truth.state == 0).sum()), int((truth.state == 1).sum())
    (70, 30)
    """
    rng = np.random.default_rng([simulation.seed, 2])
    n, box = simulation.particles, simulation.box_px
    share = np.array(simulation.populations, float)
    counts = np.floor(np.cumsum(share / share.sum()) * n + 0.5).astype(int)
    state = rng.permutation(np.searchsorted(counts, np.arange(n), side="right"))
    true_rotation = draw_views(n, simulation.preferred_views, rng)
    if simulation.state_views:
        true_rotation = prefer_by_state(
            true_rotation, state, simulation.state_views, simulation.seed
        )
    true_shift = rng.normal(0, 1, (n, 2))
    micrograph = np.arange(n) // 100
    per_micrograph = micrograph.max() + 1
    defocus = rng.uniform(8000, 25000, per_micrograph)[micrograph] + rng.normal(0, 150, n)
    astigmatism = rng.uniform(0, 500, per_micrograph)[micrograph]
    angle = rng.uniform(0, 180, per_micrograph)[micrograph]
    contrast = np.maximum(rng.normal(1, simulation.contrast_sd, n), 0.1)
    ctf = CTF(
        defocus + astigmatism / 2,
        defocus - astigmatism / 2,
        angle,
        np.zeros(n),
        np.full(n, 300.0),
        np.full(n, 2.7),
        np.full(n, 0.1),
        np.zeros(n),
        np.ones(n),
    )
    degrees, pixels = simulation.pose_error
    error = Rotation.from_rotvec(np.radians(rng.normal(0, 1, (n, 3)) * degrees))
    recorded = (error * Rotation.from_matrix(true_rotation)).as_matrix()
    shift = true_shift + rng.normal(0, 1, (n, 2)) * pixels
    junk = rng.permutation(n)[: int(round(simulation.junk * n))]
    state[junk] = -1
    half = (rng.permutation(n) % 2 + 1).astype(np.int8)
    particles = Particles(
        (),
        np.zeros(n, np.int32),
        np.arange(n),
        recorded.astype(np.float32),
        shift.astype(np.float32),
        ctf,
        half,
        box,
        simulation.sampling,
    )
    phantoms = make_states(simulation)
    probe = Truth(
        np.zeros(n, int),
        particles,
        true_rotation,
        true_shift,
        np.ones(n),
        micrograph,
        tuple(phantoms),
        np.ones(n),
    )
    power = np.mean([clean.var() for _, clean in _clean_images(probe, np.arange(min(n, 100)))])
    scale = np.sqrt(simulation.snr / power)
    phantoms = [dataclasses.replace(p, amplitudes=p.amplitudes * scale) for p in phantoms]
    truth = Truth(
        state,
        particles,
        true_rotation,
        true_shift,
        contrast,
        micrograph,
        tuple(phantoms),
        np.ones(n),
    )
    if simulation.normalised:
        deviations = [measure_background(image)[1] for image in _add_up(simulation, truth)]
        truth = dataclasses.replace(truth, gain=1 / np.array(deviations))
    return _refined(simulation, truth) if simulation.refined else truth


def _refined(simulation: Simulation, truth: Truth) -> Truth:
    """The same with recorded poses that fit the noise; errors drawn before come on top."""
    rotations, shifts = refine_to_noise(truth, truth.gain, simulate_images(simulation, truth))
    recorded = truth.particles
    error = recorded.rotations @ truth.rotations.transpose(0, 2, 1)
    moved = recorded.shifts_px - truth.shifts_px
    return dataclasses.replace(
        truth,
        particles=dataclasses.replace(
            recorded,
            rotations=(error @ rotations).astype(np.float32),
            shifts_px=(moved + shifts).astype(np.float32),
        ),
    )


def _clean_images(truth: Truth, index: IntArray) -> Iterator[tuple[int, FloatArray]]:
    box, sampling = truth.particles.box_px, truth.particles.sampling
    fy, fx = fft.fftfreq(box, sampling), fft.rfftfreq(box, sampling)
    spatial = np.stack(np.broadcast_arrays(fx[None, :], fy[:, None]), axis=-1).reshape(-1, 2)
    for i in index:
        image = (
            truth.phantoms[truth.state[i]].projection(
                truth.rotations[i], truth.shifts_px[i], box, sampling
            )
            * truth.contrast[i]
        )
        ctf = evaluate_ctf(truth.ctf.take(slice(i, i + 1)), spatial)[0]
        yield i, fft.irfft2(fft.rfft2(image) * ctf.reshape(box, -1), s=(box, box))


def simulate_images(simulation: Simulation, truth: Truth) -> Iterator[FloatArray]:
    """The images one after the other, (box, box) float32, noise of about unit variance."""
    for image in _add_up(simulation, truth):
        if simulation.normalised:
            mean, deviation = measure_background(image)
            image = (image - mean) / deviation
        yield image.astype(np.float32)


def _add_up(simulation: Simulation, truth: Truth) -> Iterator[FloatArray]:
    """Particle, neighbours, background and noise, (box, box) float64."""
    rng = np.random.default_rng([simulation.seed, 3])
    box = simulation.box_px
    f = fft.fftfreq(box)
    power = 0.6 + 0.9 * np.exp(-0.5 * (np.hypot(f[:, None], f) / 0.12) ** 2)
    colour = np.sqrt(power / power.mean())[:, : box // 2 + 1] if simulation.coloured else None
    views = crowded_views(truth, simulation.crowding, simulation.seed)
    backgrounds = draw_backgrounds(
        simulation.particles, box, simulation.background, simulation.seed
    )
    for i in range(simulation.particles):
        noise = rng.standard_normal((box, box))
        if colour is not None:
            noise = fft.irfft2(fft.rfft2(noise) * colour, s=(box, box))
        if truth.state[i] < 0:
            clean = _junk(truth, i, rng)
        elif not simulation.crowding:
            _, clean = next(_clean_images(truth, np.array([i])))
        else:
            clean = np.zeros((box, box))
        if simulation.crowding:
            clean = clean + next(views)
        if simulation.background:
            clean = clean + next(backgrounds)
        yield clean + noise


def _junk(truth: Truth, i: int, rng: np.random.Generator) -> FloatArray:
    """Nothing at all, or the particle's blobs scattered at random."""
    box = truth.particles.box_px
    if rng.uniform() < 0.5:
        return np.zeros((box, box))
    body = truth.phantoms[0]
    extent = box * truth.particles.sampling
    scattered = Phantom(
        rng.uniform(-0.4, 0.4, body.centres.shape) * extent, body.amplitudes * 0.5, body.width
    )
    return scattered.projection(np.eye(3), np.zeros(2), box, truth.particles.sampling)
