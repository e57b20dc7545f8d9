"""What nobody has to give: the mask of a part that moves far, and the number of many states."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import json
from unittest import mock

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.cli.simulate import write_simulation
from pcainit.engine.simulation.phantoms import Phantom
from pcainit.engine.simulation.simulate import Simulation, draw_truth
from pcainit.io.particle_table import ParticleTable

BOX, SAMPLING, RESOLUTION = 32, 6.0, 22.0
SWUNG = (0.86, 0.14)  # shares of the arm's two places
WIDTH = 6.0  # of a blob, Angstrom


def write(folder, phantoms, shares, **options):
    """A set of these states instead of those that the simulator makes itself."""
    simulation = Simulation(box_px=BOX, sampling=SAMPLING, populations=shares, **options)
    truth = draw_truth(simulation)
    # On the scale of the simulator's own: the same root mean square over the box.
    own, new = (p.volume(BOX, SAMPLING).std() for p in (truth.phantoms[0], phantoms[0]))
    scaled = (dataclasses.replace(p, amplitudes=p.amplitudes * own / new) for p in phantoms)
    write_simulation(folder, simulation, dataclasses.replace(truth, phantoms=tuple(scaled)))
    return truth.state


def run(folder):
    words = ["run", folder / "particles.star", "-o", folder / "out", "--resolution", RESOLUTION]
    with mock.patch("pcainit.output.report.write_report"):  # its plots take seconds
        assert main([str(word) for word in words]) == 0
    return json.loads((folder / "out" / "summary.json").read_text())


def read_maps(folder, pattern):
    return np.array([mrcfile.read(str(path)) for path in sorted(folder.glob(pattern))])


def low_passed(maps):
    f = np.fft.fftfreq(BOX, SAMPLING)
    keep = f[:, None, None] ** 2 + f[:, None] ** 2 + f**2 < RESOLUTION**-2
    return np.fft.ifftn(np.fft.fftn(maps, axes=(1, 2, 3)) * keep, axes=(1, 2, 3)).real


def own_correlation(folder, state):
    """Mean over the images of the correlation of their class with their state, less the mean."""
    volumes, true = (
        low_passed(read_maps(folder, pattern))
        for pattern in ("out/volumes/class_*.mrc", "truth/class*.mrc")
    )
    label = ParticleTable(folder / "out" / "particles.star").numbers("rlnClassNumber")
    label = label.astype(int) - 1
    found, true = (
        (maps - np.average(maps, axis=0, weights=np.bincount(of, minlength=len(maps)))).reshape(
            len(maps), -1
        )
        for maps, of in ((volumes, label), (true, state))
    )
    return np.corrcoef(found, true)[: len(found), len(found) :][label, state].mean()


# ------------------------------- An arm that swings out of the mask --------------------------


def body_and_arms():
    """A body, and a rod that sticks out of it on either side of a right angle, (j, 3) Angstrom."""
    rng, extent = np.random.default_rng(12), BOX * SAMPLING
    direction = rng.normal(size=(160, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    body = direction * rng.uniform(0, 1, (160, 1)) ** (1 / 3) * extent * [0.22, 0.17, 0.13]
    along = np.linspace(0.20, 0.36, 16) * extent
    arms = []
    for turn in (0.6, 0.6 + np.pi / 2):
        rod = np.outer(along, [np.cos(turn), np.sin(turn), 0.25])
        arms.append(rod + rng.normal(0, 4, rod.shape))
    return body, arms


def share_inside(mask, rod):
    x, y, z = np.rint(rod / SAMPLING + BOX // 2).astype(int).T
    return (mask[z, y, x] > 0.5).mean()


def test_a_part_that_moves_out_of_the_mask_is_shown(tmp_path):
    """Where a seventh of the particles have the arm, the consensus is too faint for the mask."""
    body, arms = body_and_arms()
    states = [
        Phantom(np.concatenate([body, rod]), np.ones(len(body) + len(rod)), WIDTH) for rod in arms
    ]
    state = write(tmp_path, states, SWUNG, particles=1500, snr=0.4, seed=21)
    summary = run(tmp_path)
    mask = mrcfile.read(str(tmp_path / "out" / "components" / "mask.mrc"))
    assert min(share_inside(mask, rod) for rod in arms) > 0.9
    assert summary["surroundings"]["mask_grown"]
    assert "goes on outside the automatic mask, which was extended" in summary["verdict"]
    assert summary["class_weights"] == pytest.approx(SWUNG, abs=0.02)
    assert own_correlation(tmp_path, state) > 0.9  # 0.71 in the mask of the consensus


def test_arms_that_do_not_move_are_no_classes(tmp_path):
    """The same consensus, but every particle has both arms, one of them faint."""
    body, arms = body_and_arms()
    mass = [np.ones(len(body)), *(np.full(len(rod), share) for rod, share in zip(arms, SWUNG))]
    one = Phantom(np.concatenate([body, *arms]), np.concatenate(mass), WIDTH)
    write(tmp_path, [one], (1.0,), particles=1500, snr=0.4, seed=22)
    summary = run(tmp_path)
    assert summary["significant_components"] == 0 and summary["classes"] == 1
    assert not summary["surroundings"]["mask_grown"]


# ------------------------------- Eight states --------------------------------


def simulate(folder, populations):
    words = "--particles 1800 --box %d --sampling %g --snr 0.25 --domain 0.08 --seed 31" % (
        BOX,
        SAMPLING,
    )
    assert main(["simulate", str(folder), "--populations", populations, *words.split()]) == 0


def test_eight_states(tmp_path):
    simulate(tmp_path, ",".join(["1"] * 8))
    summary = run(tmp_path)
    table = np.genfromtxt(str(tmp_path / "truth" / "truth.csv"), delimiter=",", skip_header=1)
    # As many as differences between eight; the weakest is near what noise gives.
    assert summary["significant_components"] in (6, 7)
    assert summary["classes"] == 8
    assert summary["class_weights"] == pytest.approx([1 / 8] * 8, abs=0.02)
    assert own_correlation(tmp_path, table[:, 1].astype(int)) > 0.85


def test_one_state_in_the_same_conditions(tmp_path):
    simulate(tmp_path, "1")
    summary = run(tmp_path)
    assert summary["significant_components"] == 0 and summary["classes"] == 1
