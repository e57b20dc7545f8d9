"""CTF-premultiplied images: what is read of them is what the same images were before.

The images are made from RELION's definitions (`pcainit.tests.optics_examples`); the truth is their
twin, which was not multiplied.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pcainit.cli.main import main as pcainit
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.crop import prepare_slices, with_leak
from pcainit.errors import InputError
from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import read_particles
from pcainit.pipeline.prepare import chunks_of
from pcainit.tests.optics_examples import balls, write_set

PLAIN = [(64, 4.0, np.eye(2))]
KINDS = [*PLAIN, (50, 5.0, np.array([[1.01, 0.004], [0.004, 0.99]]))]


def slices_of(path, resolution=14.0):
    particles = read_particles(ParticleTable(path))
    grid = Grid(particles.box_px, particles.sampling, resolution)
    particles = with_leak(particles, grid, chunks_of)
    return prepare_slices(particles, grid, chunks_of(particles)), particles


def pair(folder, groups, count, **options):
    """Slices of a set, of its premultiplied twin, and the twin's particles."""
    made = []
    for name, multiplied in (("plain", ()), ("multiplied", options.pop("which", (0,)))):
        (folder / name).mkdir()
        made.append(
            write_set(folder / name, groups, count, premultiplied=multiplied, **options)["path"]
        )
    return slices_of(made[0])[0], *slices_of(made[1])


def test_the_twin_is_restored(tmp_path):
    """Of the same box: the images as they were, and their CTF, but for samples at its zeros."""
    plain, twin, particles = pair(tmp_path, PLAIN, 300, noise=3)
    assert particles.leak < 1e-8
    assert np.abs(twin.ctf**2 - plain.ctf**2).max() < 1e-3
    product = plain.values * plain.ctf
    assert np.abs(twin.values * twin.ctf - product).max() < 2e-3 * np.abs(product).max()
    far = plain.ctf**2 > 0.01
    assert np.allclose(twin.values[far], plain.values[far], atol=2e-3 * np.abs(plain.values).max())


def test_one_optics_group_of_two_may_be_premultiplied(tmp_path):
    plain, twin, _ = pair(tmp_path, KINDS, 300, noise=3, which=(1,))
    assert np.array_equal(twin.values[::2], plain.values[::2])
    assert not np.allclose(twin.values[1::2], plain.values[1::2])
    # Between the frequencies of their own box images are not products any more.
    one, other = ((some.values * some.ctf)[1::2] for some in (plain, twin))
    assert np.abs(np.vdot(one, other)) > 0.95 * np.linalg.norm(one) * np.linalg.norm(other)


def test_noise_is_white_after_a_cut_from_a_larger_box(tmp_path):
    """The cut brings power to the CTF's zeros, which must not pass for a great deal of noise."""
    _, twin, particles = pair(tmp_path, PLAIN, 300, noise=30, around=16)
    assert particles.leak > 1e-7
    true = slices_of(tmp_path / "plain" / "particles.star")[0].ctf ** 2
    power, inside = np.abs(twin.values) ** 2, twin.grid.shell > 8
    bands = [
        power[:, inside][(true[:, inside] >= low) & (true[:, inside] < high)].mean()
        for low, high in ((0, 0.01), (0.01, 0.1), (0.1, 0.5), (0.5, 1))
    ]
    assert max(bands) < 1.25 * min(bands)


def test_a_wrong_flag_is_noticed(tmp_path):
    path = write_set(tmp_path, PLAIN, 300, noise=3, premultiplied=(0,))["path"]
    other = tmp_path / "other"
    other.mkdir()
    write_set(other, PLAIN, 300, noise=3)
    (other / "particles.star").write_text(path.read_text())
    with pytest.raises(InputError, match="said to be CTF-premultiplied .* as if they were not"):
        slices_of(other / "particles.star")


@pytest.mark.parametrize("states", [2, 1])
def test_a_run_finds_what_it_finds_in_the_twin(tmp_path, states):
    count = 900
    state = np.random.default_rng(3).permutation(count) < count // 2
    weights = np.ones((count, len(balls())))
    if states == 2:
        weights[np.ix_(state, np.argsort(balls()[:, 0])[-6:])] = 0
    found = {}
    for name, multiplied in (("plain", ()), ("multiplied", (0,))):
        (tmp_path / name).mkdir()
        path = write_set(
            tmp_path / name,
            [(32, 8.0, np.eye(2))],
            count,
            noise=3,
            weights=weights,
            premultiplied=multiplied,
        )["path"]
        out = tmp_path / name / "out"
        assert pcainit(["run", str(path), "-o", str(out), "--threads", "1", "--seed", "1"]) == 0
        summary = json.loads((out / "summary.json").read_text())
        label = ParticleTable(out / "particles.star").numbers("rlnClassNumber")
        found[name] = (
            summary["significant_components"],
            summary["classes"],
            adjusted_rand_score(state, label),
        )
    assert found["plain"][:2] == found["multiplied"][:2] == (states - 1, states)
    assert found["multiplied"][2] == pytest.approx(found["plain"][2], abs=0.01)
    if states == 2:
        assert found["plain"][2] > 0.8
