"""The simulator knows the truth: its images follow the recorded parameters."""

# SPDX-License-Identifier: GPL-3.0-or-later
import csv

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.cli.main import main
from pcainit.engine.geometry.poses import rotation_from_euler
from pcainit.engine.simulation.simulate import (
    Phantom,
    Simulation,
    draw_truth,
    make_states,
    simulate_images,
)
from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import read_particles

BOX, SAMPLING = 32, 5.0


def simulate(folder, *options):
    assert (
        main(["simulate", str(folder), "--box", str(BOX), "--sampling", str(SAMPLING), *options])
        == 0
    )
    return read_particles(ParticleTable(folder / "particles.star"))


def read_truth(folder):
    with open(str(folder / "truth" / "truth.csv")) as handle:
        return list(csv.DictReader(handle))


def test_what_is_written(tmp_path):
    particles = simulate(tmp_path, "--particles", "250", "--populations", "3,1,1")
    assert (len(particles), particles.box_px, particles.sampling) == (250, BOX, SAMPLING)
    truth = read_truth(tmp_path)
    assert [row["rlnImageName"] for row in truth] == ParticleTable(
        tmp_path / "particles.star"
    ).text("rlnImageName")
    assert np.bincount([int(row["class"]) for row in truth]).tolist() == [150, 50, 50]
    maps = sorted(path.name for path in (tmp_path / "truth").glob("*.mrc"))
    assert maps == ["class00.mrc", "class01.mrc", "class02.mrc"]
    with mrcfile.open(str(tmp_path / "particles.mrcs")) as mrc:
        assert mrc.is_image_stack() and mrc.data.shape == (250, BOX, BOX)
        assert mrc.voxel_size.x == pytest.approx(SAMPLING)
    with open(str(tmp_path / "truth" / "poses.csv")) as handle:
        poses = list(csv.DictReader(handle))
    angles = [np.array([row[name] for row in poses], float) for name in ("rot", "tilt", "psi")]
    assert rotation_from_euler(*angles) == pytest.approx(particles.rotations, abs=1e-4)
    assert [float(row["x_px"]) for row in poses] == pytest.approx(
        particles.shifts_px[:, 0], abs=1e-4
    )
    assert sorted(np.bincount(particles.half).tolist()) == [0, 125, 125]


def test_seed(tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        simulate(tmp_path / name, "--particles", "60", "--seed", seed)
    images = {name: mrcfile.read(str(tmp_path / name / "particles.mrcs")) for name in "abc"}
    assert np.array_equal(images["a"], images["b"])
    assert not np.array_equal(images["a"], images["c"])


def test_images_are_projections_of_the_true_maps(tmp_path):
    """Sums along z of the turned and shifted true map, times the CTF, by plain numpy."""
    particles = simulate(tmp_path, "--particles", "60", "--snr", "1000")
    images = mrcfile.read(str(tmp_path / "particles.mrcs")).astype(float)
    truth = read_truth(tmp_path)
    axis = np.arange(BOX) - BOX // 2
    f = np.fft.fftfreq(BOX, SAMPLING)
    for i in (0, 17, 42):
        volume = mrcfile.read(str(tmp_path / "truth" / ("class%02d.mrc" % int(truth[i]["class"]))))
        z, y, x = np.nonzero(volume > 1e-4 * volume.max())
        mass = volume[z, y, x].astype(float)
        place = np.stack([x, y, z], 1) - BOX // 2
        seen = place @ particles.rotations[i].astype(float).T
        seen = seen[:, :2] - particles.shifts_px[i]
        k = np.fft.fftfreq(BOX)
        transform = np.einsum(
            "v,vy,vx->yx",
            mass,
            np.exp(-2j * np.pi * np.outer(seen[:, 1], k)),
            np.exp(-2j * np.pi * np.outer(seen[:, 0], k)),
            optimize=True,
        )
        du, dv = particles.ctf.defocus_u[i], particles.ctf.defocus_v[i]
        a = np.radians(particles.ctf.defocus_angle[i])
        along = (f * np.cos(a) + f[:, None] * np.sin(a)) ** 2
        across = (f[:, None] * np.cos(a) - f * np.sin(a)) ** 2
        chi = (
            np.pi * 0.0196875 * (du * along + dv * across)
            - np.pi / 2 * 2.7e7 * 0.0196875**3 * (along + across) ** 2
        )
        image = np.fft.fftshift(np.fft.ifft2(transform * np.sin(chi + np.arcsin(0.1))).real)
        assert np.corrcoef(image.ravel(), images[i].ravel())[0, 1] > 0.98
        slope = (image * images[i]).sum() / (image**2).sum()
        assert slope == pytest.approx(1, abs=0.05)
    assert axis[0] == -BOX // 2


@pytest.mark.parametrize("coloured", [False, True])
def test_noise_and_signal_have_the_stated_ratio(coloured):
    simulation = Simulation(
        particles=300,
        box_px=BOX,
        sampling=SAMPLING,
        snr=0.5,
        populations=(1,),
        coloured=coloured,
        seed=2,
    )
    truth = draw_truth(simulation)
    images = np.array(list(simulate_images(simulation, truth)))
    assert images.var(axis=(1, 2)).mean() == pytest.approx(1.5, rel=0.15)
    if coloured:
        power = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0) / BOX**2
        assert power[BOX // 2, BOX // 2] < 1.0 < 1.5 * power[8, 8] < power[1, 2]


def test_recorded_poses_are_off_by_the_stated_error():
    exact = draw_truth(Simulation(particles=2000, box_px=BOX, seed=1))
    assert np.abs(exact.rotations - exact.particles.rotations).max() < 1e-6
    assert np.abs(exact.shifts_px - exact.particles.shifts_px).max() < 1e-6
    off = draw_truth(Simulation(particles=2000, box_px=BOX, seed=1, pose_error=(3.0, 0.6)))
    turn = Rotation.from_matrix(off.particles.rotations @ off.rotations.transpose(0, 2, 1))
    assert np.degrees(turn.as_rotvec()).std(axis=0) == pytest.approx(np.full(3, 3.0), rel=0.07)
    moved = off.particles.shifts_px - off.shifts_px
    assert moved.std(axis=0) == pytest.approx(np.full(2, 0.6), rel=0.07)


def test_contrast_views_and_junk():
    truth = draw_truth(
        Simulation(
            particles=2000,
            box_px=BOX,
            contrast_sd=0.2,
            junk=0.1,
            preferred_views=0.8,
            populations=(0.5, 0.5),
        )
    )
    assert truth.contrast.std() == pytest.approx(0.2, rel=0.1)
    assert (truth.state == -1).sum() == 200
    views = truth.rotations[:, 2]
    even = draw_truth(Simulation(particles=2000, box_px=BOX)).rotations[:, 2]
    assert np.linalg.eigvalsh(np.cov(even.T)) == pytest.approx(np.full(3, 1 / 3), abs=0.03)
    assert np.linalg.eigvalsh(views.T @ views / 2000)[0] < 0.22


def test_views_that_depend_on_the_state():
    """As many as were asked for lie in a cone of 30 degrees, evenly; the other state's do not."""
    options = dict(particles=4000, box_px=BOX, populations=(0.5, 0.5), seed=7)
    truth = draw_truth(Simulation(state_views=(0, 0.7), **options))
    views = [truth.rotations[truth.state == k, 2] for k in (0, 1)]
    in_cone, even = (1 - np.cos(np.radians(30))) / 2, 1 / 3
    assert np.linalg.eigvalsh(np.cov(views[0].T)) == pytest.approx(np.full(3, even), abs=0.03)
    axis = views[1].mean(axis=0) / np.linalg.norm(views[1].mean(axis=0))
    height = views[1] @ axis  # even on the sphere: height is uniform
    expected = 0.7 + 0.3 * in_cone
    assert (height > np.cos(np.radians(31))).mean() == pytest.approx(expected, abs=0.02)
    assert np.median(height[height > np.cos(np.radians(30))]) == pytest.approx(
        np.cos(np.radians(30)) / 2 + 0.5, abs=0.005
    )
    assert truth.rotations @ truth.rotations.transpose(0, 2, 1) == pytest.approx(
        np.broadcast_to(np.eye(3), (4000, 3, 3)), abs=1e-9
    )
    # Nothing else changes, and in plane the turns are even.
    same = draw_truth(Simulation(**options))
    assert np.array_equal(truth.state, same.state)
    assert np.array_equal(truth.shifts_px, same.shifts_px)
    assert np.array_equal(truth.rotations[truth.state == 0], same.rotations[truth.state == 0])
    assert np.abs(truth.rotations[truth.state == 1, :2].mean(axis=0)).max() < 0.05


@pytest.mark.parametrize("change", ["missing", "moving"])
def test_states_differ_in_their_domain_alone(change):
    simulation = Simulation(
        box_px=BOX, sampling=SAMPLING, populations=(1, 1, 1), change=change, domain=0.1
    )
    states = make_states(simulation)
    volumes = [state.volume(BOX, SAMPLING) for state in states]
    total = volumes[0].sum()
    for volume in volumes[1:]:
        assert volume.sum() / total == pytest.approx(0.9 if change == "missing" else 1.0, abs=0.04)
        differs = np.abs(volume - volumes[0]) > 0.05 * volumes[0].max()
        assert 0 < differs.sum() < 0.4 * (volumes[0] > 0.05 * volumes[0].max()).sum()


def test_phantoms_project_their_mass():
    phantom = Phantom(np.array([[10.0, -20.0, 5.0]]), np.array([3e4]), 8.0)
    image = phantom.projection(np.eye(3), np.array([1.0, 0.0]), BOX, SAMPLING)
    assert image.sum() * SAMPLING**3 == pytest.approx(3e4, rel=1e-3)
    place = np.indices(image.shape).reshape(2, -1) @ image.ravel() / image.sum() - BOX // 2
    assert place == pytest.approx([-4.0, 1.0], abs=1e-3)  # y, then x moved by minus the shift
    volume = phantom.volume(BOX, SAMPLING)
    assert volume.sum(axis=0) == pytest.approx(
        phantom.projection(np.eye(3), np.zeros(2), BOX, SAMPLING), rel=1e-3, abs=1e-3
    )
