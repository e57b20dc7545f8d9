"""The method `particles` from images to results, on sets whose truth is known."""

# SPDX-License-Identifier: GPL-3.0-or-later
import csv
import json
from unittest import mock

import mrcfile
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pcainit.cli.main import main
from pcainit.engine.geometry.grid import Grid
from pcainit.io.particle_table import ParticleTable

BOX, SAMPLING, RESOLUTION = 32, 6.0, 22.0
STAGES = ("reconstruct", "components", "cluster")


def simulate(folder, *options):
    assert (
        main(
            [
                "simulate",
                str(folder),
                "--box",
                str(BOX),
                "--sampling",
                str(SAMPLING),
                *map(str, options),
            ]
        )
        == 0
    )
    return folder


def command(*words):
    """Run a command without its report, whose plots take seconds."""
    with mock.patch("pcainit.output.report.write_report"):
        return main([str(word) for word in words])


def run(data, output, *options):
    assert (
        command("run", data / "particles.star", "-o", output, "--resolution", RESOLUTION, *options)
        == 0
    )
    return Result(output)


class Result:
    """What a run left in its folder."""

    def __init__(self, folder):
        self.folder = folder
        self.summary = json.loads((folder / "summary.json").read_text())
        self.verdict = self.summary["verdict"]
        self.label = ParticleTable(folder / "particles.star").numbers("rlnClassNumber")
        with np.load(str(folder / "latents.npz")) as arrays:
            self.latents = dict(arrays)
        with np.load(str(folder / "analysis.npz")) as arrays:
            self.analysis = dict(arrays)
        self.volumes = [
            mrcfile.read(str(path)) for path in sorted((folder / "volumes").glob("class_*.mrc"))
        ]

    def check(self):
        """What holds for every result: complete, finite, consistent."""
        n, k = self.summary["particles"], self.summary["classes"]
        assert len(self.volumes) == k == len(self.summary["class_weights"])
        assert all(np.isfinite(volume).all() and volume.std() > 0 for volume in self.volumes)
        for arrays in (self.latents, self.analysis):
            for name, values in arrays.items():
                assert values.dtype.kind not in "fc" or np.isfinite(values).all(), name
        assert len(self.label) == n and set(self.label) <= set(range(1, k + 1))
        assert self.latents["posterior"].shape == (n, k)
        assert self.latents["posterior"].sum(axis=1) == pytest.approx(np.ones(n), abs=1e-4)
        assert sum(self.summary["class_weights"]) == pytest.approx(1, abs=1e-4)
        assert "nan" not in (self.folder / "summary.json").read_text().lower()
        listed = (self.folder / "junk.txt").read_text().splitlines()[1:]
        assert [int(line.split()[0]) - 1 for line in listed] == np.flatnonzero(
            self.latents["junk"]
        ).tolist()
        return self


def true_states(folder):
    with open(str(folder / "truth" / "truth.csv")) as handle:
        return np.array([int(row["class"]) for row in csv.DictReader(handle)])


def working_grid(result):
    return Grid(BOX, SAMPLING, result.summary["analysis_resolution"])


def true_difference(folder, grid):
    maps = [mrcfile.read(str(folder / "truth" / ("class%02d.mrc" % k))) for k in (0, 1)]
    return grid.from_particle_box(maps[0] - maps[1])


def staged(data, folder, *options):
    """Stage by stage; returns a function that makes the rest again with other options."""
    work = ["--work", folder / "work", "--resolution", RESOLUTION]
    assert command("prepare", data / "particles.star", *work, *options) == 0
    for stage in STAGES:
        assert command(stage, *work, *options) == 0

    def finish(output, *more):
        assert command("cluster", *work, *options, *more) == 0
        assert command("class-volumes", *work, *options, *more, "-o", output) == 0
        return Result(output)

    return finish


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Set of two states, its result, and a way to ask for other numbers of classes."""
    folder = tmp_path_factory.mktemp("two")
    data = simulate(
        folder,
        "--particles",
        2000,
        "--populations",
        "0.65,0.35",
        "--snr",
        0.15,
        "--domain",
        0.15,
        "--seed",
        4,
        "--junk",
        0.02,
    )
    finish = staged(data, folder)
    return data, finish(folder / "auto"), finish


def test_two_states(two):
    data, result, _ = two
    result.check()
    summary = result.summary
    assert summary["classes"] == 2 and summary["significant_components"] >= 1
    assert summary["class_weights"] == pytest.approx([0.65, 0.35], abs=0.03)
    state = true_states(data)
    kept = (state >= 0) & ~result.latents["junk"]
    assert adjusted_rand_score(state[kept], result.label[kept]) > 0.8
    assert "2 classes (" in result.verdict and "reproducible between half-sets" in result.verdict
    assert summary["half_set_cosines"][0] > 0.8 > summary["null_cosine"]
    # The larger class is the complete particle.
    grid = working_grid(result)
    found = grid.from_particle_box(result.volumes[0] - result.volumes[1])
    truth = true_difference(data, working_grid(result)) * result.analysis["mask"]
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.85
    assert (found * truth).sum() / (truth**2).sum() == pytest.approx(1, abs=0.3)
    assert result.analysis["pairwise"][0, 1] > 3 and not any(summary["copies"])


def test_the_component_is_the_difference(two):
    data, result, _ = two
    truth = true_difference(data, working_grid(result)) * result.analysis["mask"]
    component = result.analysis["components"][0]
    assert abs(np.corrcoef(component.ravel(), truth.ravel())[0, 1]) > 0.8
    variance = result.analysis["variance"]
    assert np.corrcoef(variance.ravel(), (truth**2).ravel())[0, 1] > 0.7
    assert result.analysis["significant"][0]
    coordinate = result.latents["coordinates"][:, 0]
    state = true_states(data)
    gap = coordinate[state == 0].mean() - coordinate[state == 1].mean()
    spread = np.sqrt(result.latents["covariance"][state >= 0, 0, 0].mean())
    assert abs(gap) > spread


def test_junk_is_listed(two):
    data, result, _ = two
    junk = true_states(data) < 0
    found = result.latents["junk"]
    assert (found & junk).sum() >= 0.8 * junk.sum() and (found & ~junk).sum() < 0.01 * len(junk)
    assert "look like junk and were set aside, listed in junk.txt" in result.verdict
    names = ParticleTable(data / "particles.star").text("rlnImageName")
    lines = (result.folder / "junk.txt").read_text().splitlines()[1:]
    assert [line.split(None, 1)[1] for line in lines] == [names[k] for k in np.flatnonzero(found)]
    assert result.summary["nuisance"]["junk_share"] == pytest.approx(found.mean())


def test_run_is_the_same_as_stage_by_stage(two, tmp_path):
    data, result, _ = two
    whole = run(data, tmp_path / "out", "--threads", 1)
    for name in result.latents:
        assert np.array_equal(whole.latents[name], result.latents[name]), name
    for name in result.analysis:
        assert np.array_equal(whole.analysis[name], result.analysis[name]), name
    assert (tmp_path / "out" / "particles.star").read_bytes() == (
        result.folder / "particles.star"
    ).read_bytes()
    for name in set(whole.summary) - {"seconds", "threads"}:
        assert whole.summary[name] == result.summary[name], name


def test_every_row_comes_back(two):
    data, result, _ = two
    old, new = (ParticleTable(path / "particles.star") for path in (data, result.folder))
    for name in ("rlnImageName", "rlnDefocusU", "rlnAngleRot", "rlnRandomSubset"):
        assert new.text(name) == old.text(name)


def test_more_classes_than_the_data_support(two, tmp_path):
    _, result, finish = two
    many = finish(tmp_path / "out", "--classes", 4).check()
    assert many.summary["copies"] == [False, False, True, True]
    assert "2 classes (" in many.verdict
    assert (
        "More classes were asked for than the data support: volumes 3, 4 show no state"
        in many.verdict
    )
    for k in (0, 1):
        assert np.array_equal(many.volumes[k], result.volumes[k])
    assert len({volume.tobytes() for volume in many.volumes}) == 4
    assert many.latents["posterior"][:, 2:].max() == 0


HOMOGENEOUS = [
    "--populations",
    1,
    "--coloured",
    "--contrast-sd",
    0.15,
    "--junk",
    0.04,
    "--pose-error",
    1.5,
    0.3,
    "--snr",
    0.1,
]


@pytest.fixture(scope="module")
def none(tmp_path_factory):
    """A homogeneous set with the defects of real data, its result, and a way to ask for more."""
    folder = tmp_path_factory.mktemp("none")
    data = simulate(folder, "--particles", 2000, "--seed", 2, *HOMOGENEOUS)
    finish = staged(data, folder)
    return data, finish(folder / "auto"), finish


def test_no_heterogeneity(none):
    _, result, _ = none
    result.check()
    assert result.summary["significant_components"] == 0
    assert result.summary["classes"] == 1 and (result.label == 1).all()
    assert result.verdict.startswith(
        "No heterogeneity beyond noise at %g A: use one class." % RESOLUTION
    )
    assert not result.analysis["significant"].any() and not result.analysis["variance"].any()


def test_quality_without_heterogeneity(none):
    data, result, _ = none
    nuisance = result.summary["nuisance"]
    assert nuisance["contrast_sd"] == pytest.approx(0.15, abs=0.08)
    assert nuisance["rotation_deg"] == pytest.approx(1.5, rel=0.25)
    assert nuisance["shift_px"] == pytest.approx(0.3, rel=0.2)
    junk, found = true_states(data) < 0, result.latents["junk"]
    assert (found & junk).sum() >= 0.6 * junk.sum()  # at this size: 2000 images of 32 pixels
    assert (found & ~junk).sum() < 0.02 * (~junk).sum()


def test_classes_asked_for_where_there_are_none(none, tmp_path):
    _, _, finish = none
    three = finish(tmp_path / "out", "--classes", 3).check()
    assert three.summary["copies"] == [True] * 3
    assert three.verdict.startswith("No heterogeneity")
    assert "The 3 volumes asked for are reconstructions of random subsets" in three.verdict
    assert len({volume.tobytes() for volume in three.volumes}) == 3
    assert np.median(three.analysis["pairwise"][np.triu_indices(3, 1)]) < 2.5


@pytest.mark.slow
def test_images_of_next_to_no_noise_are_homogeneous_all_the_same(tmp_path):
    """What interpolation gets wrong about the consensus is reproducible, and no heterogeneity."""
    data = ["--particles", "3000", "--box", "64", "--sampling", "4", "--snr", "1"]
    assert main(["simulate", str(tmp_path / "data"), *data, "--populations", "1"]) == 0
    assert command("run", tmp_path / "data" / "particles.star", "-o", tmp_path / "result") == 0
    summary = Result(tmp_path / "result").check().summary
    assert summary["significant_components"] == 0 and summary["classes"] == 1
    assert not summary["changing_places"]
