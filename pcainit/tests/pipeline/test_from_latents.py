"""Volumes from latent coordinates: against the true states, along an axis, and what is refused."""

# SPDX-License-Identifier: GPL-3.0-or-later
import csv
import json
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.engine.volume_sets.clusters import cluster_along, cluster_mixture, principal_axes
from pcainit.errors import InputError
from pcainit.io.coordinates import match_coordinates
from pcainit.io.particle_table import ParticleTable
from pcainit.tests.conftest import PARTICLES


@pytest.fixture(scope="module")
def states(simulated_set):
    """True state of each particle."""
    with open(simulated_set / "truth" / "truth.csv", newline="") as file:
        return np.array([int(row["class"]) for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def cloud(states):
    """Coordinates in eight dimensions, as another program might give them: scaled and turned."""
    rng = np.random.default_rng(1)
    centres = np.array([[0, 0], [4, 0], [0, 5.0]])[states]
    flat = np.concatenate(
        [centres + rng.normal(0, 0.7, centres.shape), rng.normal(0, 0.3, (len(states), 6))], axis=1
    )
    return 40 * flat @ np.linalg.qr(rng.normal(size=(8, 8)))[0] + 100


def _run(simulated_set, path, out, *words):
    return main(
        [
            "latents",
            str(simulated_set / "particles.star"),
            str(path),
            "-o",
            str(out),
            "--resolution",
            "24",
            *words,
        ]
    )


def _differences(folder, names, weights):
    maps = np.stack([mrcfile.read(p) for p in sorted(folder.glob(names))])
    return maps - np.average(maps, axis=0, weights=weights)


@pytest.mark.parametrize("words", [[], ["--classes", "3"]])
def test_states_come_out(simulated_set, states, cloud, tmp_path, words):
    np.save(tmp_path / "z.npy", cloud)
    out = tmp_path / "out"
    assert _run(simulated_set, tmp_path / "z.npy", out, *words) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["classes"] == 3 and summary["method"] == "latents"
    np.testing.assert_allclose(summary["class_weights"], [0.5, 0.3, 0.2], atol=0.01)
    with np.load(out / "latents.npz") as data:
        label, posterior = data["class"], data["posterior"]
        np.testing.assert_allclose(data["coordinates"], cloud, rtol=1e-5)
    assert (label - 1 == states).mean() > 0.98  # largest first, as the states are
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-5)
    found = _differences(out / "volumes", "*.mrc", (0.5, 0.3, 0.2))
    truth = _differences(simulated_set / "truth", "*.mrc", (0.5, 0.3, 0.2))
    match = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in truth] for a in found])
    assert list(match.argmax(axis=1)) == [0, 1, 2] and match.diagonal().min() > 0.4
    assert "rlnClassNumber" in (out / "particles.star").read_text()
    assert "Particles in latent space" in (out / "report.html").read_text()


def test_images_that_cannot_be_used_do_not_count(simulated_set, tmp_path, capsys, no_report):
    """They keep a class in the STAR file, but in name only."""
    images = mrcfile.read(str(simulated_set / "particles.mrcs")).copy()
    images[:180] = 0
    mrcfile.write(str(tmp_path / "particles.mrcs"), images)
    shutil.copy(str(simulated_set / "particles.star"), str(tmp_path))
    z, out = np.random.default_rng(3).normal(size=PARTICLES), tmp_path / "out"
    np.savetxt(tmp_path / "z.txt", z)
    assert _run(tmp_path, tmp_path / "z.txt", out, "--along", "1", "--classes", "4") == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["constant_images"] == 180 and sum(summary["class_sizes"]) == PARTICLES - 180
    np.testing.assert_allclose(summary["class_sizes"], (PARTICLES - 180) / 4, rtol=0.1)
    assert "class_001.mrc  %d particles" % summary["class_sizes"][0] in capsys.readouterr().out
    label = ParticleTable(out / "particles.star").numbers("rlnClassNumber")
    assert len(label) == PARTICLES and set(label) == {1, 2, 3, 4}


def test_steps_along_an_axis(simulated_set, states, tmp_path):
    """The second coordinate tells state 0, half of the particles: it shows in the later volumes."""
    rng = np.random.default_rng(2)
    np.savetxt(
        tmp_path / "z.txt",
        np.column_stack(
            [rng.normal(size=PARTICLES), (states == 0) + rng.normal(0, 0.2, PARTICLES)]
        ),
    )
    out = tmp_path / "out"
    assert _run(simulated_set, tmp_path / "z.txt", out, "--along", "2", "--classes", "4") == 0
    volumes = [mrcfile.read(p) for p in sorted((out / "volumes").glob("*.mrc"))]
    truth = [mrcfile.read(p) for p in sorted((simulated_set / "truth").glob("*.mrc"))]
    change = truth[0] - np.average(truth[1:], axis=0, weights=(0.3, 0.2))
    along = [float((v * change).sum() / (change**2).sum()) for v in volumes]
    assert len(volumes) == 4 and min(along[2:]) - max(along[:2]) > 0.5
    assert "even steps along dimension 2" in (out / "report.html").read_text()


def test_cryosparcs_file(simulated_set, cloud, tmp_path, no_report):
    """3D Variability's .cs file: a structured array with one field for each component."""
    table = np.zeros(
        PARTICLES,
        [
            ("uid", "u8"),
            ("components_mode_0/component", "u4"),
            ("components_mode_0/value", "f4"),
            ("components_mode_1/component", "u4"),
            ("components_mode_1/value", "f4"),
        ],
    )
    axes = principal_axes(cloud)
    table["components_mode_0/value"], table["components_mode_1/value"] = axes[:, 0], axes[:, 1]
    with open(tmp_path / "J7_particles.cs", "wb") as file:
        np.save(file, table)
    assert _run(simulated_set, tmp_path / "J7_particles.cs", tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["classes"] == 3 and summary["matched_by"] == "order"
    assert "taken to be in the order of the particles" in summary["verdict"]


def _table(names, coordinates, order):
    """A .cs file's rows in some order, with the images that they name."""
    table = np.zeros(
        len(order),
        [("uid", "u8"), ("blob/path", "S60"), ("blob/idx", "u4")]
        + [("components_mode_%d/value" % k, "f4") for k in (0, 10, 2)],
    )
    stacks, places = zip(*names)
    table["uid"] = 10**15 + np.array(order)
    table["blob/path"] = np.array(stacks, "S60")[order]
    table["blob/idx"] = np.array(places)[order]
    for k, mode in enumerate((0, 2, 10)):  # their order is that of the numbers
        table["components_mode_%d/value" % mode] = coordinates[order, k]
    return table


def _star(folder, names, more=None):
    extra = "" if more is None else "_ucsfUid #2\n"
    rows = [
        "%06d@%s%s" % (place + 1, stack, "" if more is None else " %d" % more[k])
        for k, (stack, place) in enumerate(names)
    ]
    (folder / "p.star").write_text(
        "data_particles\n\nloop_\n_rlnImageName #1\n%s%s\n" % (extra, "\n".join(rows))
    )
    return ParticleTable(folder / "p.star")


def _read(folder, rows, table):
    with open(folder / "J7_particles.cs", "wb") as file:
        np.save(file, rows)
    return match_coordinates(folder / "J7_particles.cs", table)


FIXTURES = Path(__file__).parents[1] / "fixtures"  # written with cryoSPARC's own library


def test_a_file_of_cryosparcs_own_library(tmp_path):
    """All fields of a 3D Variability job; rows in another order than the STAR file's."""
    names = [("Runs/000007_Import/extra/stack_%s.mrcs" % "ab"[k % 2], k // 2) for k in range(12)]
    values, by = match_coordinates(FIXTURES / "J42_particles.cs", _star(tmp_path, names))
    assert by == "image names"
    assert np.array_equal(values, np.arange(12)[:, None] + 100 * np.arange(3))
    rows = np.load(FIXTURES / "J42_particles.cs")
    uids = {int(row["components_mode_0/value"]): row["uid"] for row in rows}
    other = [("elsewhere/%d.mrcs" % k, 0) for k in range(12)]
    values, by = match_coordinates(
        FIXTURES / "J42_particles.cs", _star(tmp_path, other, [uids[k] for k in range(12)])
    )
    assert by == "unique ids" and np.array_equal(values[:, 0], np.arange(12))


def test_cryosparcs_compressed_format_is_named(tmp_path):
    with pytest.raises(InputError, match="compressed format.*cryosparc-tools"):
        match_coordinates(FIXTURES / "J42_newest.cs", _star(tmp_path, NAMES[:12]))


NAMES = [("Runs/3/extra/%s.mrcs" % stack, place) for stack in "ab" for place in range(20)]
THEIRS = [
    ("J1/imported/000%019d_%s" % (7, stack.rpartition("/")[2]), place) for stack, place in NAMES
]


def test_rows_of_cryosparc_find_their_particles(tmp_path):
    rng = np.random.default_rng(5)
    z, order = rng.normal(size=(40, 3)).astype("f4"), rng.permutation(40)
    values, by = _read(tmp_path, _table(THEIRS, z, order), _star(tmp_path, NAMES))
    assert by == "image names" and np.array_equal(values, z)
    # A part of the particles, in an order of their own.
    some = rng.permutation(40)[:25]
    values, by = _read(
        tmp_path, _table(THEIRS, z, order), _star(tmp_path, [NAMES[k] for k in some])
    )
    assert by == "image names" and np.array_equal(values, z[some])
    # Unique ids come first: here the names of the STAR file are others.
    values, by = _read(
        tmp_path,
        _table(THEIRS, z, order),
        _star(tmp_path, [("all.mrcs", k) for k in range(40)], 10**15 + np.arange(40)),
    )
    assert by == "unique ids" and np.array_equal(values, z)
    # Nothing in common: the order is taken at its word.
    rows = _table(THEIRS, z, order)
    values, by = _read(tmp_path, rows, _star(tmp_path, [("all.mrcs", k) for k in range(40)]))
    assert by == "order" and np.array_equal(values, z[order])


def test_rows_of_other_particles_are_refused(tmp_path):
    z = np.random.default_rng(6).normal(size=(40, 3))
    table = _star(tmp_path, NAMES)
    with pytest.raises(
        InputError,
        match="1 of its 40 rows are not there by their image names "
        r"\(the first is row 40\)",
    ):
        _read(tmp_path, _table(THEIRS[:39] + [THEIRS[0]], z, np.arange(40)), table)
    # Symmetry-expanded: every image twice.
    twice = _star(tmp_path, NAMES[:20] * 2)
    values, by = _read(tmp_path, _table(THEIRS[:20] * 2, z, np.arange(40)), twice)
    assert by == "image names" and np.allclose(values, z)
    with pytest.raises(InputError, match="in another order than the STAR file, and copies"):
        _read(tmp_path, _table(THEIRS[:20] * 2, z, np.arange(40)[::-1]), twice)


def test_defocus_tells_where_names_do_not(tmp_path):
    """Images of other names: rows found by their defocus, an order confirmed or refused by it."""
    from numpy.lib.recfunctions import append_fields

    rng, count = np.random.default_rng(7), 200
    z, order = rng.normal(size=(count, 3)).astype("f4"), rng.permutation(count)
    names = [("J1/imported/own.mrcs", k) for k in range(count)]
    own, shared = rng.uniform(9e3, 2e4, (2, count)), rng.uniform(9e3, 2e4, 10).repeat(20)

    def read(ours, theirs, order):
        lines = ["%06d@all.mrcs %.3f %.3f" % (k + 1, a, b) for k, (a, b) in enumerate(ours.T)]
        (tmp_path / "p.star").write_text(
            "data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n_rlnDefocusV #3\n%s\n"
            % "\n".join(lines)
        )
        rows = append_fields(
            _table(names, z, order),
            ["ctf/df1_A", "ctf/df2_A"],
            list(theirs[:, order]),
            ["f4", "f4"],
            usemask=False,
        )
        return _read(tmp_path, rows, ParticleTable(tmp_path / "p.star"))

    values, by = read(own, own, order)
    assert by == "defocus values" and np.array_equal(values, z)
    shared = np.array([shared, shared - 300])  # one for each micrograph
    values, by = read(shared[::-1], shared, np.arange(count))
    assert "which their defocus values confirm" in by and np.array_equal(values, z)
    with pytest.raises(InputError, match="in another order than the STAR file, as their defocus"):
        read(shared, shared, order)
    values, by = read(shared, shared + rng.normal(0, 200, (2, count)), np.arange(count))
    assert by == "order" and np.array_equal(values, z)  # refined since
    values, by = read(shared, 0 * shared, order)
    assert by == "order" and np.array_equal(values, z[order])


def test_bic_finds_one_cloud_and_keeps_many_points():
    rng = np.random.default_rng(6)
    assert len(cluster_mixture(rng.normal(size=(3000, 3)), 0, 0).weights) == 1
    two = np.concatenate([rng.normal(0, 1, (52000, 2)), rng.normal(8, 1, (8000, 2))])
    found = cluster_mixture(two, 2, 0)
    assert found.posterior.shape == (60000, 2)
    np.testing.assert_allclose(found.weights, [52 / 60, 8 / 60], atol=0.005)


def test_sizes_count_as_copies():
    rng = np.random.default_rng(8)
    points, sizes = (
        rng.normal(size=(60, 2)) + 6 * (np.arange(60) % 3 == 0)[:, None],
        rng.integers(1, 6, 60),
    )
    found = cluster_mixture(points, 2, 0, sizes=7.5 * sizes)
    copies = cluster_mixture(np.repeat(points, sizes, axis=0), 2, 0)
    np.testing.assert_allclose(found.centres, copies.centres, atol=1e-3)
    near = np.where(points[:, 0] > 3, 0, 1)
    np.testing.assert_allclose(
        sorted(found.weights), sorted(np.bincount(near, sizes) / sizes.sum()), atol=1e-3
    )


def test_volumes_of_few_particles_move_no_centre():
    """Two states in 40 volumes of 2,000 particles each, and noise in 60 volumes of 50."""
    rng = np.random.default_rng(9)
    centres = np.array([[0, 0], [5, 0.0]])
    state = np.arange(40) % 2
    points = np.concatenate(
        [
            centres[state] + rng.normal(0, 0.3, (40, 2)),
            centres[np.arange(60) % 2] + rng.normal(0, 2.0, (60, 2)),
        ]
    )
    sizes = np.repeat([2000.0, 50.0], [40, 60])

    def error(found):
        gaps = np.linalg.norm(found.centres[:, None] - centres, axis=2)
        return gaps.min(axis=0).max()

    found, alike = (cluster_mixture(points, 2, 0, sizes=s) for s in (sizes, None))
    assert error(found) < 0.2 and error(found) < error(alike)
    np.testing.assert_allclose(found.weights, 0.5, atol=0.05)
    # The shares are of particles: 80,000 of the 83,000 belong to the two states.
    assert cluster_mixture(points, 0, 0, sizes=sizes).weights[:2].sum() > 0.95
    assert cluster_mixture(points, 0, 0).weights[:2].sum() < 0.9


def test_an_axis_with_few_values():
    """Many particles share a coordinate, as after clustering elsewhere."""
    found = cluster_along(np.repeat([[0.0], [1.0]], 50, axis=0), 0, 4)
    assert np.isfinite(found.posterior).all() and np.isfinite(found.centres).all()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda z: z[:-1], "have %d rows for %d particles" % (PARTICLES - 1, PARTICLES)),
        (lambda z: np.where(np.arange(len(z))[:, None] == 4, np.nan, z), "in row 5"),
        (lambda z: np.zeros_like(z), "the same for all particles"),
        (lambda z: z[:, None, None], "array of shape"),
    ],
)
def test_bad_coordinates(simulated_set, cloud, tmp_path, capsys, change, said):
    np.save(tmp_path / "z.npy", change(cloud))
    assert _run(simulated_set, tmp_path / "z.npy", tmp_path / "out") == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--along", "9", "--classes", "3"], "the coordinates have 8 dimensions"),
        (["--along", "1"], "along needs a number"),
        (["--classes", "99"], "would have"),
        (["--resolution", "2"], "finer than Nyquist"),
    ],
)
def test_bad_options(simulated_set, cloud, tmp_path, capsys, words, said):
    np.save(tmp_path / "z.npy", cloud)
    assert _run(simulated_set, tmp_path / "z.npy", tmp_path / "out", *words) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out" / "summary.json").exists()


def test_pickles_are_never_opened(simulated_set, tmp_path, capsys):
    np.save(tmp_path / "z.npy", np.array([{"a": 1}] * PARTICLES), allow_pickle=True)
    (tmp_path / "z.pkl").write_bytes(b"\x80\x04\x95garbage")
    for name in ("z.npy", "z.pkl"):
        assert _run(simulated_set, tmp_path / name, tmp_path / "out") == 2
        assert "cannot be read" in capsys.readouterr().err


def test_arrays_of_which_none_is_named_are_refused(simulated_set, cloud, tmp_path, capsys):
    np.savez(tmp_path / "z.npz", first=cloud[:, :1], second=cloud)
    assert _run(simulated_set, tmp_path / "z.npz", tmp_path / "out") == 2
    assert "2 arrays and none is named coordinates" in capsys.readouterr().err
    np.savez(tmp_path / "z.npz", first=cloud[:, :1], coordinates=cloud)
    values, _ = match_coordinates(
        tmp_path / "z.npz", ParticleTable(str(simulated_set / "particles.star"))
    )
    assert np.array_equal(values, cloud)
    assert _run(simulated_set, tmp_path / "none.npz", tmp_path / "out") == 2
    assert "none.npz does not exist: check the path" in capsys.readouterr().err


def test_coordinates_of_an_earlier_result_are_not_replaced(simulated_set, cloud, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    np.savez(out / "latents.npz", coordinates=cloud)
    before = (out / "latents.npz").read_bytes()
    assert _run(simulated_set, out / "latents.npz", out) == 2
    assert "holds the input" in capsys.readouterr().err
    assert (out / "latents.npz").read_bytes() == before


def test_variance_map_is_that_of_the_volumes_by_their_shares(simulated_set, cloud, tmp_path):
    np.save(tmp_path / "z.npy", cloud)
    out = tmp_path / "out"
    assert _run(simulated_set, tmp_path / "z.npy", out, "--classes", "2") == 0
    shares = json.loads((out / "summary.json").read_text())["class_weights"]
    with np.load(out / "analysis.npz") as data:
        volumes, variance = data["class_volumes"], data["variance"]
    expected = shares[0] * shares[1] * (volumes[0] - volumes[1]) ** 2
    np.testing.assert_allclose(variance, expected, atol=1e-5 * expected.max())
    assert "Where the volumes differ" in (out / "report.html").read_text()
