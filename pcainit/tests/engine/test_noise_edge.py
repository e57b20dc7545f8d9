"""The edge between components and noise, on sets of volumes with known states and noise."""

# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask
from pcainit.engine.volume_sets.noise_edge import NoiseShape, above_noise, noise_edge
from pcainit.engine.volume_sets.volume_set import principal_components
from pcainit.tests.volume_examples import BOX, SAMPLING, state_volumes

GRID = Grid(BOX, SAMPLING, 20.0)
STATES = np.stack([GRID.from_particle_box(volume) for volume in state_volumes()])
MASK = auto_mask(STATES.mean(axis=0), GRID)
CHANGE = (STATES[1] - STATES[0])[MASK > 0.5].std()
FREQUENCY = np.linalg.norm(
    np.stack(np.meshgrid(*[np.fft.fftfreq(GRID.box)] * 3, indexing="ij")), axis=0
) / (GRID.voxel / 20)  # 1 at the resolution
RADIUS = np.linalg.norm(np.indices((GRID.box,) * 3) - GRID.box // 2, axis=0)
WHITE, STEEP = FREQUENCY < 1, (FREQUENCY < 1) * FREQUENCY


def noise(n, rng, colour=WHITE, place=1.0):
    """Noise up to the resolution, as strong as the difference of two states."""
    out = np.empty((n,) + (GRID.box,) * 3, np.float32)
    for volume in out:
        volume[:] = np.fft.ifftn(np.fft.fftn(rng.normal(size=volume.shape)) * colour).real * place
    return out * (CHANGE / out[:, MASK > 0.5].std())


def components_above(volumes, kept=8):
    """How many of the components kept lie above the edge, and whether there is one."""
    volumes = np.asarray(volumes, np.float32)
    found = principal_components(volumes, MASK, np.ones(len(volumes)), min(kept, len(volumes) - 1))
    edge = noise_edge(volumes, MASK, found)
    return int((found.variances > edge).sum()), np.isfinite(edge)


def test_the_law_of_white_noise():
    """Marchenko and Pastur's edge, and eigenvalues that were drawn."""
    white = NoiseShape(np.ones(1), 3000.0, np.ones(1))
    assert white.largest(99) == pytest.approx((1 + np.sqrt(99 / 3000)) ** 2, rel=0.15)
    data = np.random.default_rng(8).normal(size=(100, 3000))
    drawn = np.linalg.svd(data - data.mean(axis=0), compute_uv=False)[:99] ** 2 / 99
    assert drawn[0] < above_noise(drawn, white.largest(99)) < 1.15 * drawn[0]


def test_the_law_of_uneven_noise():
    rng = np.random.default_rng(9)
    levels = rng.uniform(0, 1, 1000) ** 2
    data = rng.normal(size=(300, 1000)) * np.sqrt(levels)
    drawn = np.linalg.svd(data - data.mean(axis=0), compute_uv=False)[:299] ** 2 / 299
    largest = NoiseShape(levels / levels.mean(), 1000.0, np.ones(1)).largest(299)
    assert drawn[0] < above_noise(drawn, largest) < 1.15 * drawn[0]


def test_the_law_of_volumes_of_different_noise():
    """A third of the volumes each with noise of variance 0.2, 1 and 4."""
    rng = np.random.default_rng(11)
    strengths, levels = np.repeat([0.2, 1.0, 4.0], 50), rng.uniform(0, 1, 1000)
    data = rng.normal(size=(150, 1000)) * np.sqrt(levels) * np.sqrt(strengths)[:, None]
    drawn = np.linalg.svd(data, compute_uv=False) ** 2
    shape = NoiseShape(levels / levels.mean(), 1000.0, strengths / strengths.mean())
    assert drawn[0] < above_noise(drawn, shape.largest(150)) < 1.2 * drawn[0]


@pytest.mark.parametrize("strong", [3.0, 1e6])
def test_strong_components_do_not_hide_each_other(strong):
    """As strong as all noise together, or as all else is nothing."""
    rng = np.random.default_rng(10)
    data = rng.normal(size=(60, 2000))
    noise_only = np.linalg.svd(data - data.mean(axis=0), compute_uv=False)[:59] ** 2 / 59
    spectrum = np.concatenate([strong * np.array([2, 1]) * noise_only[0], noise_only])
    edge = above_noise(spectrum, NoiseShape(np.ones(1), 2000.0, np.ones(1)).largest(61))
    assert int((spectrum > edge).sum()) == 2


@pytest.mark.parametrize("n", [3, 6, 30, 200])
@pytest.mark.parametrize(
    "colour, place", [(WHITE, 1.0), (STEEP, 1.0), (WHITE, 0.5 + np.exp(-(RADIUS**2) / 72))]
)
def test_noise_alone_has_nothing_above_the_edge(n, colour, place):
    volumes = STATES[0] + noise(n, np.random.default_rng(n), colour, place)
    assert components_above(volumes)[0] == 0


@pytest.mark.parametrize("n", [24, 60, 240])
def test_volumes_of_different_noise(n):
    """As from different box sizes or programs: only what varies beside the noise stands out."""
    rng = np.random.default_rng(n)
    some = noise(n, rng) * np.array([0.5, 1, 2])[np.arange(n) % 3][:, None, None, None]
    assert components_above(STATES[0] + some)[0] == 0
    states = STATES[rng.permutation(np.arange(n) % 2)]
    assert components_above(states + some)[0] == 1


@pytest.mark.parametrize("n", [5, 12, 60, 240])
@pytest.mark.parametrize("strength", [1e-4, 1.0])
def test_discrete_states_are_above_the_edge(n, strength):
    """Three states, with next to no noise and with as much as they differ by."""
    volumes = STATES[np.arange(n) % 3] + strength * noise(n, np.random.default_rng(n))
    assert components_above(volumes) == (2, True)


@pytest.mark.parametrize("strength", [0.0, 1e-4, 1.0, 2.0])
def test_a_continuum_is_above_the_edge(strength):
    rng = np.random.default_rng(4)
    share = rng.uniform(0, 1, 200)[:, None, None, None]
    volumes = STATES[0] + share * (STATES[1] - STATES[0]) + strength * noise(200, rng)
    found, known = components_above(volumes)
    assert known and (found == 1 if strength else found >= 1)


def test_a_curve_without_noise_is_above_the_edge():
    share = np.linspace(0, 1, 40)[:, None, None, None]
    volumes = STATES[0] + share * (STATES[1] - STATES[0]) + share**2 * (STATES[2] - STATES[0])
    assert components_above(volumes, kept=2) == (2, True)


def test_a_thousand_volumes():
    rng = np.random.default_rng(5)
    some = noise(1000, rng)
    assert components_above(STATES[0] + some)[0] == 0
    assert components_above(STATES[rng.integers(0, 3, 1000)] + some)[0] == 2


def test_too_few_volumes_cannot_be_told():
    """Two eigenvalues of few directions: any ratio of the two may be chance."""
    share = np.array([0, 0.4, 1])[:, None, None, None]
    volumes = STATES[0] + share * (STATES[1] - STATES[0]) + share**2 * (STATES[2] - STATES[0])
    assert components_above(volumes) == (0, False)
