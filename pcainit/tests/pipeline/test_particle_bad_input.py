"""The method `particles` on little, one-sided or damaged data: a result, or one plain sentence."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.cli.simulate import write_simulation
from pcainit.engine.simulation.simulate import Simulation, draw_truth
from pcainit.tests.pipeline.test_particle_runs import (
    BOX,
    RESOLUTION,
    SAMPLING,
    command,
    run,
    simulate,
)


def run_or_sentence(data, output, capsys, *options):
    """The result, checked, or None after one plain sentence."""
    code = command(
        "run", data / "particles.star", "-o", output, "--resolution", RESOLUTION, *options
    )
    if code == 0:
        from pcainit.tests.pipeline.test_particle_runs import Result

        return Result(output).check()
    message = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and message.startswith("pcainit: ") and message.endswith(".")
    assert not output.exists()
    return None


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A few hundred particles."""
    return simulate(tmp_path_factory.mktemp("few"), "--particles", 300, "--seed", 5, "--snr", 0.3)


@pytest.mark.parametrize("classes", ["auto", "3"])
def test_a_few_hundred_particles(few, tmp_path, classes):
    result = run(few, tmp_path / "out", "--classes", classes).check()
    assert classes == "auto" or result.summary["classes"] == 3


def test_more_components_than_usual(few, tmp_path):
    result = run(few, tmp_path / "out", "--components", 20).check()
    assert len(result.analysis["components"]) >= 20  # and what the search of regions adds


def test_constant_images(few, tmp_path):
    for name in ("particles.star", "particles.mrcs"):
        (tmp_path / name).write_bytes((few / name).read_bytes())
    with mrcfile.open(str(tmp_path / "particles.mrcs"), "r+") as mrc:
        mrc.data[[3, 50, 211]] = 0
        mrc.data[7] = 4.5
    result = run(tmp_path, tmp_path / "out", "--classes", "2").check()
    assert "4 constant images left out." in result.verdict
    assert result.latents["junk"][[3, 7, 50, 211]].all()
    assert result.summary["constant_images"] == 4


def test_images_that_are_noise(few, tmp_path, capsys):
    (tmp_path / "particles.star").write_bytes((few / "particles.star").read_bytes())
    with mrcfile.new(str(tmp_path / "particles.mrcs")) as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=(300, BOX, BOX)).astype(np.float32))
        mrc.voxel_size = SAMPLING
        mrc.set_image_stack()
    run_or_sentence(tmp_path, tmp_path / "out", capsys)


@pytest.mark.parametrize("degrees", [0.0, 2.0])
def test_nearly_one_view(tmp_path, capsys, degrees):
    simulation = Simulation(
        particles=400, box_px=BOX, sampling=SAMPLING, snr=0.3, populations=(0.6, 0.4), seed=2
    )
    truth = draw_truth(simulation)
    rng = np.random.default_rng(0)
    turn = Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=(400, 3)))
    spin = Rotation.from_rotvec(rng.uniform(0, 6.28, (400, 1)) * [0, 0, 1])
    view = (spin * turn * Rotation.from_rotvec([0.3, 1.0, 0.2])).as_matrix()
    particles = dataclasses.replace(truth.particles, rotations=view.astype(np.float32))
    write_simulation(
        tmp_path, simulation, dataclasses.replace(truth, rotations=view, particles=particles)
    )
    run_or_sentence(tmp_path, tmp_path / "out", capsys, "--classes", "2")


def test_half_sets_of_very_different_size(few, tmp_path, capsys):
    """All particles but a few in one half-set, as after a selection."""
    lines = (few / "particles.star").read_text().splitlines()
    rows = [k for k, line in enumerate(lines) if "@" in line]
    for place, k in enumerate(rows):
        words = lines[k].split()
        words[3] = "2" if place < 2 else "1"
        lines[k] = " ".join(words)
    (tmp_path / "particles.star").write_text("\n".join(lines) + "\n\n")
    (tmp_path / "particles.mrcs").write_bytes((few / "particles.mrcs").read_bytes())
    run_or_sentence(tmp_path, tmp_path / "out", capsys)


def test_a_focus_mask_cuts_no_hole(few, tmp_path):
    """Outside the mask every volume is the consensus."""
    axis = (np.arange(BOX) - BOX // 2) * SAMPLING
    distance = np.sqrt((axis[:, None, None] - 20) ** 2 + axis[:, None] ** 2 + (axis + 15) ** 2)
    with mrcfile.new(str(tmp_path / "mask.mrc")) as mrc:
        mrc.set_data(np.clip((45 - distance) / 15, 0, 1).astype(np.float32))
        mrc.voxel_size = SAMPLING
    result = run(few, tmp_path / "out", "--classes", "3", "--mask", tmp_path / "mask.mrc").check()
    outside = result.analysis["mask"] == 0
    assert 0.3 < outside.mean() < 0.99
    for volume in result.analysis["class_volumes"]:
        assert np.array_equal(volume[outside], result.analysis["mean"][outside])
        assert not np.array_equal(volume, result.analysis["mean"])
    # At the particles' box too, but for the ripple of the resolution limit.
    far = distance > 45 + 40
    mean = mrcfile.read(str(tmp_path / "out" / "components" / "mean.mrc"))
    for volume in result.volumes:
        assert np.abs((volume - mean)[far]).max() < 0.2 * np.abs(volume - mean).max()
