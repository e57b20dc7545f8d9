"""Images and settings at the edge of what can be worked with: finite results, or one sentence.

A result has no value that is not finite, and no warning of numpy reaches the user.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import json
import re
import shutil
import warnings
from unittest import mock

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcainit.cli.main import main
from pcainit.cli.simulate import write_simulation
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.simulation.simulate import Simulation, draw_truth
from pcainit.io.particle_table import ParticleTable

COUNT, BOX, SAMPLING, RESOLUTION = 240, 24, 6.0, 24
SIMULATION = Simulation(
    particles=COUNT,
    box_px=BOX,
    sampling=SAMPLING,
    snr=0.5,
    seed=3,
    populations=(0.6, 0.4),
    domain=0.2,
)


class Outcome:
    """What a run left: its folder, or the sentence that refused it."""

    def __init__(self, folder, sentence):
        self.folder, self.sentence = folder, sentence
        if sentence is None:
            self.summary = json.loads((folder / "summary.json").read_text())
            with np.load(str(folder / "latents.npz")) as arrays:
                self.latents = dict(arrays)
            self.volumes = [
                mrcfile.read(str(path)) for path in sorted((folder / "volumes").glob("*.mrc"))
            ]

    def check(self):
        """Every number of a result is finite."""
        for path in self.folder.rglob("*.mrc"):
            assert np.isfinite(mrcfile.read(str(path))).all(), path
        for path in self.folder.glob("*.npz"):
            with np.load(str(path)) as arrays:
                for name in arrays.files:
                    if arrays[name].dtype.kind in "fc":
                        assert np.isfinite(arrays[name]).all(), (path, name)
        assert "NaN" not in (self.folder / "summary.json").read_text()
        return self


@pytest.fixture
def go(tmp_path, capsys):
    """Runs the whole job on a folder of particles; its `Outcome`."""

    def run(data, *options, name="out"):
        words = ["run", str(data / "particles.star"), "-o", str(tmp_path / name), *options]
        if "--resolution" not in options:
            words += ["--resolution", str(RESOLUTION)]
        capsys.readouterr()
        with warnings.catch_warnings(), mock.patch("pcainit.output.report.write_report"):
            warnings.simplefilter("error", RuntimeWarning)
            code = main(list(map(str, words)))
        if code == 0:
            return Outcome(tmp_path / name, None).check()
        last = capsys.readouterr().err.splitlines()[-1]
        assert code == 2 and last.startswith("pcainit: ") and last.endswith(".")
        assert not (tmp_path / name).exists()
        return Outcome(None, last)

    return run


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Particles in two states."""
    folder = tmp_path_factory.mktemp("good")
    write_simulation(folder, SIMULATION, draw_truth(SIMULATION))
    return folder


@pytest.fixture
def spoiled(good, tmp_path):
    """A copy of the good particles with other images or columns."""

    def make(images=None, name="data", **columns):
        folder = tmp_path / name
        shutil.copytree(str(good), str(folder))
        if images is not None:
            data = mrcfile.read(str(folder / "particles.mrcs")).copy()
            data = images(data)
            with warnings.catch_warnings(), np.errstate(all="ignore"):  # of the writer
                warnings.simplefilter("ignore")
                mrcfile.write(
                    str(folder / "particles.mrcs"), data.astype(np.float32), overwrite=True
                )
        if columns:
            ParticleTable(folder / "particles.star").write_with(
                folder / "particles.star",
                {label: [value] * COUNT for label, value in columns.items()},
            )
        return folder

    return make


def replaced(rows, value):
    """Puts values in the place of some images."""

    def change(images):
        images[rows] = value(images[rows]) if callable(value) else value
        return images

    return change


def test_unusable_images_among_good_ones(go, good, spoiled):
    """One saturated image used to hide all that varies."""

    def change(images):
        images[[3, 60]] = 7.0
        images[10] = np.where(images[10] > 0, 1e4, -1e4)
        images[11, 4, 4] = 1e8
        images[20:24] = images[20]
        return images

    before, after = go(good, "--classes", 2, name="before"), go(spoiled(change), "--classes", 2)
    assert after.summary["constant_images"] == 2 and after.summary["saturated_images"] == 2
    assert "2 constant images left out. 2 saturated images left out." in after.summary["verdict"]
    assert after.latents["junk"][[3, 60, 10, 11]].all()
    assert after.summary["significant_components"] >= 1
    same = (before.latents["class"] == after.latents["class"]).mean()
    assert max(same, 1 - same) > 0.9


@pytest.mark.parametrize(
    "method, options, words",
    [
        ("particles", ["--classes", 8], "classes is 8 for only 70 usable particles of 240"),
        (
            "simple",
            ["--classes", 8, "--particles-per-reconstruction", 5],
            "classes is 8 for only 70 usable particles of 240: ask for 7 or fewer",
        ),
        (
            "batches",
            ["--classes", 2, "--particles-per-reconstruction", 80],
            "particles_per_reconstruction is 80, but there are only 70 usable particles of 240",
        ),
    ],
)
def test_settings_are_checked_against_the_usable_images(go, spoiled, method, options, words):
    """Classes of no image are volumes of zeros, and batches of all images are all the same."""
    data = spoiled(replaced(slice(70, None), 0.0))
    assert words in go(data, "--method", method, *options).sentence


@pytest.mark.parametrize("left", [0, 5])
def test_a_half_set_without_images(go, good, spoiled, left):
    """The consensus keeps the data's greyscale: it came out twenty times too low, or as nothing."""
    half = ParticleTable(good / "particles.star").numbers("rlnRandomSubset")
    options = ["--method", "simple", "--classes", 2, "--particles-per-reconstruction", 40]
    before = go(good, *options, name="before")
    after = go(spoiled(replaced(np.flatnonzero(half == 2)[left:], 0.0)), *options)
    one, two = (
        mrcfile.read(str(result.folder / "components" / "mean.mrc")) for result in (before, after)
    )
    assert (one * two).sum() / (one**2).sum() == pytest.approx(1, abs=0.15)
    assert after.summary["half_sets_redrawn"] and not before.summary["half_sets_redrawn"]
    assert "shared out anew" in after.summary["verdict"]


def test_as_many_classes_as_the_usable_images_allow(go, spoiled):
    result = go(
        spoiled(replaced(slice(70, None), 0.0)),
        "--method",
        "simple",
        "--classes",
        7,
        "--particles-per-reconstruction",
        40,
    )
    assert min(volume.std() for volume in result.volumes) > 0


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_greyscale(go, good, spoiled, factor):
    """The same classes; densities times the factor to within 1e-4 of the largest."""
    one = go(good, "--classes", 2, name="one")
    other = go(spoiled(lambda images: images * factor), "--classes", 2)
    assert np.array_equal(one.latents["class"], other.latents["class"])
    for a, b in zip(one.volumes, other.volumes):
        assert np.abs(b / factor - a).max() < 2e-4 * np.abs(a).max()


@pytest.mark.parametrize("factor", [1e-20, 1e12])
def test_greyscale_beyond_single_precision(go, spoiled, factor):
    assert "single precision" in go(spoiled(lambda images: images * factor)).sentence


REFUSED = {
    "one image repeated": (
        lambda images: np.broadcast_to(images[0], images.shape),
        {},
        "Only 1 of the 240 images",
    ),
    "all but ten constant": (replaced(slice(10, None), 0.0), {}, "Only 10 of the 240 images"),
    "an infinite pixel": (replaced((7, 3, 3), np.inf), {}, "Image 8 of .*finite"),
    "the largest float": (
        replaced(7, lambda image: np.sign(image) * 3e38),
        {},
        "Image 8 of .*large",
    ),
    "CTF zero": (
        None,
        dict(
            rlnDefocusU="0",
            rlnDefocusV="0",
            rlnAmplitudeContrast="0",
            rlnSphericalAberration="0",
            rlnPhaseShift="180",
        ),
        "The CTF of all particles is zero",
    ),
    "one view": (None, dict(rlnAngleRot="30", rlnAngleTilt="60"), "same view"),
}


@pytest.mark.parametrize("images, columns, words", REFUSED.values(), ids=list(REFUSED))
def test_refused(go, spoiled, images, columns, words):
    assert re.search(words, go(spoiled(images, **columns)).sentence)


@pytest.mark.parametrize(
    "columns",
    [
        dict(rlnDefocusU="60", rlnDefocusV="60"),
        dict(rlnDefocusU="100000", rlnDefocusV="100000"),
        dict(rlnDefocusU="-15000", rlnDefocusV="-15000", rlnPhaseShift="10"),
        dict(rlnPhaseShift="90"),
        dict(rlnPhaseShift="-700"),
    ],
    ids=["60", "10 um", "negative with a phase plate", "phase plate", "phase -700"],
)
def test_defocus_that_the_images_do_not_have(go, spoiled, columns):
    """A CTF that is wrong for the images gives whatever it gives, but numbers."""
    go(spoiled(**columns), "--no-local-search")


def test_images_of_pure_noise(go, spoiled):
    noise = np.random.default_rng(0).normal(size=(COUNT, BOX, BOX))
    outcome = go(spoiled(lambda images: noise))
    assert outcome.sentence or outcome.summary["classes"] == 1


def test_images_without_a_particle(go, spoiled):
    """Contrast 0 in a third of them."""
    noise = np.random.default_rng(0).normal(size=(COUNT // 3, BOX, BOX))

    def change(images):
        images[::3] = noise * images.std()
        return images

    outcome = go(spoiled(change), "--classes", 2)
    assert outcome.summary["classes"] == 2


def test_all_particles_in_two_views(go, tmp_path):
    """Seen from two sides only, with their true poses."""
    truth = draw_truth(SIMULATION)
    rng = np.random.default_rng(0)
    spin = Rotation.from_rotvec(rng.uniform(0, 6.28, (COUNT, 1)) * [0, 0, 1])
    side = Rotation.from_rotvec(np.array([[0.3, 1.0, 0.2], [-1.0, 0.4, 1.5]])[np.arange(COUNT) % 2])
    view = (spin * side).as_matrix()
    particles = dataclasses.replace(truth.particles, rotations=view.astype(np.float32))
    (tmp_path / "data").mkdir()
    write_simulation(
        tmp_path / "data",
        SIMULATION,
        dataclasses.replace(truth, rotations=view, particles=particles),
    )
    go(tmp_path / "data", "--classes", 2)


@pytest.mark.parametrize(
    "changes",
    [
        dict(particles=50),
        dict(particles=300, populations=(0.995, 0.005)),
        dict(contrast_sd=3.0),
        dict(snr=1e-9),
        dict(snr=1e9),
        dict(box_px=16, sampling=9.0),
        dict(snr=1e9, populations=(1.0,)),
    ],
    ids=[
        "50 particles",
        "a state of 0.5 %",
        "contrast",
        "no signal",
        "no noise",
        "box 16",
        "identical particles",
    ],
)
def test_sets_at_the_edge(go, tmp_path, changes):
    simulation = dataclasses.replace(SIMULATION, **changes)
    (tmp_path / "data").mkdir()
    write_simulation(tmp_path / "data", simulation, draw_truth(simulation))
    outcome = go(tmp_path / "data", "--no-local-search")
    assert outcome.sentence is None or "dark on bright" in outcome.sentence


@pytest.mark.parametrize("count", [2, 10, 49])
def test_too_few(go, tmp_path, count):
    simulation = dataclasses.replace(SIMULATION, particles=count)
    (tmp_path / "data").mkdir()
    write_simulation(tmp_path / "data", simulation, draw_truth(simulation))
    assert "only %d particles" % count in go(tmp_path / "data").sentence


@pytest.mark.parametrize(
    "options, words",
    [
        (("--resolution", 2 * SAMPLING, "--no-local-search"), None),
        (("--resolution", BOX * SAMPLING / 6), None),
        (("--resolution", BOX * SAMPLING), "too coarse"),
        (("--classes", COUNT + 1), "ask for"),
        (("--classes", COUNT // 10), None),
        (("--components", 32, "--no-local-search"), None),
    ],
    ids=["Nyquist", "coarsest", "the box", "K > particles", "most classes", "32 components"],
)
def test_settings_at_the_edge(go, good, options, words):
    outcome = go(good, *options)
    assert (words is None) == (outcome.sentence is None)
    assert words is None or words in outcome.sentence


def corner(place):
    volume = np.zeros((BOX,) * 3, np.float32)
    volume[place] = 1
    return volume


@pytest.mark.parametrize(
    "options",
    [
        [],
        [
            "--method",
            "batches",
            "--classes",
            2,
            "--reconstructions",
            40,
            "--particles-per-reconstruction",
            40,
        ],
    ],
)
def test_more_components_than_the_mask_has_voxels(go, good, tmp_path, options):
    grid = Grid(BOX, SAMPLING, RESOLUTION)
    mask = np.zeros((grid.box,) * 3, np.float32)
    mask[(slice(7, 9),) * 3] = 1
    mrcfile.write(str(tmp_path / "mask.mrc"), mask, voxel_size=grid.voxel)
    words = ["--mask", tmp_path / "mask.mrc", *options, "--components"]
    assert "components is 12, but the mask has only 8 voxels" in go(good, *words, 12).sentence
    assert options or go(good, *words, 8).sentence is None


@pytest.mark.parametrize(
    "volume, sampling, words",
    [
        (corner((12, 12, 12)), SAMPLING, "next to nothing"),
        (corner(()), SAMPLING, "1 everywhere"),
        (corner((0, 0, 0)) * 0, SAMPLING, "empty"),
        (corner((slice(0, 5),) * 3), SAMPLING, None),
        (1 - corner((0, 0, 0)), 10 * SAMPLING, None),
        (corner((slice(6, 18),) * 3), 0.01, "nothing"),
    ],
    ids=["one voxel", "full", "empty", "outside the particle", "far larger", "far smaller"],
)
def test_masks_at_the_edge(go, good, tmp_path, volume, sampling, words):
    mrcfile.write(str(tmp_path / "mask.mrc"), volume, voxel_size=sampling)
    outcome = go(good, "--mask", tmp_path / "mask.mrc", "--no-local-search")
    assert (words is None) == (outcome.sentence is None)
    assert words is None or words in outcome.sentence
