"""The command line, in this process: run, its stages one by one, seeds, threads, results."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import shutil
import subprocess
import sys
from unittest import mock

import mrcfile
import numpy as np
import pytest

from pcainit import __version__
from pcainit.cli.main import main
from pcainit.io.particle_table import ParticleTable

COUNT, BOX, SAMPLING = 600, 32, 6.0
BATCHES = ["--method", "batches", "--classes", "3", "--components", "3"]
BATCHES += ["--reconstructions", "20", "--particles-per-reconstruction", "30"]
SIMPLE = ["--method", "simple", "--classes", "4", "--particles-per-reconstruction", "100"]
METHODS = {"batches": BATCHES, "simple": SIMPLE}
# What design and documentation promise in summary.json.
KEYS = {
    "method",
    "parameters",
    "versions",
    "seed",
    "particles",
    "working_box",
    "seconds",
    "eigenvalues",
    "half_set_cosines",
    "significant_components",
    "verdict",
    "class_weights",
    "pairwise_differences",
    "nuisance",
    "box",
    "sampling",
    "resolution",
    "classes",
    "class_sizes",
    "version",
    "threads",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small simulated set, its rows shuffled and with a few blank images."""
    folder = tmp_path_factory.mktemp("data")
    words = "--particles %d --box %d --sampling %s --seed 7 --snr 0.3" % (COUNT, BOX, SAMPLING)
    assert main(["simulate", str(folder), *words.split()]) == 0
    with mrcfile.open(str(folder / "particles.mrcs"), "r+") as mrc:
        mrc.data[[5, 99]] = 0
    star = folder / "particles.star"
    lines = star.read_text().splitlines()
    rows = [k for k, line in enumerate(lines) if "@" in line]
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = [lines[rows[k]] for k in order]
    star.write_text("\n".join(lines[: rows[0]] + shuffled) + "\n\n")
    return folder


def run_with_report(data, output, *options):
    assert main(["run", str(data / "particles.star"), "-o", str(output), *options]) == 0
    return output


def run(*words):
    """The same without the report, whose plots take seconds."""
    with mock.patch("pcainit.output.report.write_report"):
        return run_with_report(*words)


@pytest.fixture(scope="module", params=list(METHODS))
def result(request, data, tmp_path_factory):
    """Method and output folder of a finished run."""
    output = tmp_path_factory.mktemp(request.param) / "new" / "folder"
    return request.param, run_with_report(data, output, *METHODS[request.param])


def results(folder):
    """Everything a run leaves, without times and header stamps, by file name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".mrc":
            found[name] = mrcfile.read(str(path)).tobytes()
        elif path.suffix == ".npz":
            with np.load(str(path)) as arrays:
                found.update({name + ":" + key: arrays[key].tobytes() for key in arrays.files})
        elif path.suffix == ".star":
            found[name] = path.read_bytes()
    return found


def read_summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_files_are_there_and_no_others(result):
    method, output = result
    count = 3 if method == "batches" else 4
    components = 3 if method == "batches" else 0
    expected = {
        "summary.json",
        "report.html",
        "particles.star",
        "junk.txt",
        "latents.npz",
        "analysis.npz",
        "components/mean.mrc",
        "components/variance.mrc",
        "components/mask.mrc",
    }
    expected |= {"volumes/class_%03d.mrc" % (k + 1) for k in range(count)}
    expected |= {"states/class_%03d.star" % (k + 1) for k in range(count)}
    expected |= {"components/component_%03d.mrc" % (k + 1) for k in range(components)}
    assert {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()} == expected


def test_maps_have_the_particles_box_and_sampling(result):
    _, output = result
    for path in output.rglob("*.mrc"):
        with mrcfile.open(str(path)) as mrc:
            assert mrc.data.shape == (BOX,) * 3 and mrc.data.dtype == np.float32
            assert mrc.voxel_size.tolist() == pytest.approx((SAMPLING,) * 3)
            assert mrc.is_volume() and np.isfinite(mrc.data).all()
            assert mrc.data.std() > 0


def test_volumes_differ_and_are_low_passed(result):
    _, output = result
    volumes = [mrcfile.read(str(p)) for p in sorted((output / "volumes").iterdir())]
    f = np.fft.fftfreq(BOX, 1 / BOX)
    distance = np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2)
    for k, volume in enumerate(volumes):
        power = np.abs(np.fft.fftn(volume)) ** 2
        assert power[distance > BOX * SAMPLING / 20 + 1].sum() < 1e-6 * power.sum()
        assert all(not np.array_equal(volume, other) for other in volumes[:k])


def test_volumes_equal_the_consensus_outside_the_mask(result):
    _, output = result
    with np.load(str(output / "analysis.npz")) as arrays:
        outside = arrays["mask"] == 0
        assert outside.any()
        for volume in arrays["class_volumes"]:
            assert np.array_equal(volume[outside], arrays["mean"][outside])


def test_particles_are_all_there_in_order(result, data):
    method, output = result
    old, new = ParticleTable(data / "particles.star"), ParticleTable(output / "particles.star")
    assert new.text("rlnImageName") == old.text("rlnImageName")
    assert new.text("rlnAngleRot") == old.text("rlnAngleRot")
    label = new.numbers("rlnClassNumber")
    assert set(label) <= set(range(1, 4 if method == "batches" else 5)) and len(set(label)) > 1
    with np.load(str(output / "latents.npz")) as latents:
        assert np.array_equal(latents["class"], label)
        posterior = latents["posterior"]
        assert posterior.sum(axis=1) == pytest.approx(np.ones(COUNT), abs=1e-5)
        junk = [k for k, name in enumerate(new.text("rlnImageName")) if int(name[:6]) in (6, 100)]
        assert np.flatnonzero(latents["junk"]).tolist() == sorted(junk)


def test_summary_has_what_is_promised(result, data):
    method, output = result
    summary = read_summary(output)
    assert set(summary) >= KEYS
    assert summary["method"] == method and summary["version"] == __version__
    assert summary["particles"] == COUNT and summary["constant_images"] == 2
    assert (summary["box"], summary["sampling"]) == (BOX, SAMPLING)
    assert summary["parameters"]["resolution"] == 20.0 and summary["seed"] == 0
    assert sum(summary["class_weights"]) == pytest.approx(1)
    with np.load(str(output / "latents.npz")) as latents:  # images left out do not count
        sizes = np.bincount(latents["class"][~latents["junk"]] - 1, minlength=summary["classes"])
    assert summary["class_sizes"] == sizes.tolist() and sizes.sum() == COUNT - 2
    assert summary["class_weights"] == pytest.approx(sizes / sizes.sum())
    k = summary["classes"]
    assert np.shape(summary["pairwise_differences"]) == (k, k)
    assert {"prepare", "reconstruct", "components", "cluster", "volumes"} <= set(summary["seconds"])
    assert all(value >= 0 for value in summary["seconds"].values())
    assert summary["significant_components"] is None
    assert "2 constant images" in summary["verdict"]
    assert len(summary["eigenvalues"]) == (3 if method == "batches" else 0)
    assert {"python", "numpy", "scipy", "sklearn", "numba"} <= set(summary["versions"])


@pytest.mark.relion
@pytest.mark.skipif(not shutil.which("relion_star_handler"), reason="RELION is not installed")
def test_relion_reads_the_particles(result, tmp_path):
    _, output = result
    done = subprocess.run(
        [
            "relion_star_handler",
            "--i",
            str(output / "particles.star"),
            "--o",
            str(tmp_path / "one.star"),
            "--select",
            "rlnClassNumber",
            "--minval",
            "1",
            "--maxval",
            "1",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    label = ParticleTable(output / "particles.star").numbers("rlnClassNumber")
    assert len(ParticleTable(tmp_path / "one.star")) == (label == 1).sum()


def test_what_is_printed(data, tmp_path, capsys):
    run_with_report(data, tmp_path / "out", *BATCHES)
    printed, progress = capsys.readouterr()
    assert "does not test whether the particles are heterogeneous" in printed
    assert printed.count("class_00") == 3 and printed.rstrip().endswith("report.html")
    for stage in ("prepare", "reconstruct", "components", "cluster", "volumes", "write"):
        assert "%s: done in " % stage in progress
    assert "\r" not in progress  # bars are for terminals


@pytest.mark.parametrize("method", list(METHODS))
def test_same_seed_same_result_on_any_number_of_threads(data, tmp_path, method):
    options = METHODS[method] + ["--seed", "11", "--stratify"]
    one = results(run(data, tmp_path / "one", *options, "--threads", "1"))
    two = results(run(data, tmp_path / "two", *options, "--threads", "2"))
    assert one == two
    again = results(run(data, tmp_path / "two", *options, "--threads", "2"))  # replaces it
    assert again == two
    other = results(run(data, tmp_path / "other", *METHODS[method], "--seed", "12"))
    assert set(other) == set(one)
    assert all(other[name] != one[name] for name in one if name.startswith("volumes/"))
    assert other["components/mean.mrc"] == one["components/mean.mrc"]


def test_stage_by_stage_is_the_same_as_run(data, tmp_path, result, no_report):
    options = METHODS[result[0]]
    work = ["--work", str(tmp_path / "work")]
    assert main(["prepare", str(data / "particles.star"), *work, *options]) == 0
    for stage in ("reconstruct", "components", "cluster"):
        assert main([stage, *work, *options]) == 0
    assert main(["class-volumes", *work, "-o", str(tmp_path / "out"), *options]) == 0
    assert results(tmp_path / "out") == results(result[1])
    summary, whole = read_summary(tmp_path / "out"), read_summary(result[1])
    for name in set(summary) - {"seconds"}:
        assert summary[name] == whole[name], name


def test_stages_are_redone_only_when_something_they_need_changed(data, tmp_path, no_report):
    work = ["--work", str(tmp_path / "work")]
    options = [
        "--method",
        "batches",
        "--reconstructions",
        "20",
        "--particles-per-reconstruction",
        "30",
    ]

    def times():
        return {p.name: p.stat().st_mtime_ns for p in (tmp_path / "work").glob("*.np?")}

    def all_stages(*more):
        assert main(["prepare", str(data / "particles.star"), *work, *options, *more]) == 0
        for stage in ("reconstruct", "components", "cluster"):
            assert main([stage, *work, *options, *more]) == 0
        assert main(["class-volumes", *work, "-o", str(tmp_path / "out"), *options, *more]) == 0
        return times()

    first = all_stages("--classes", "3")
    assert all_stages("--classes", "3") == first
    second = all_stages("--classes", "2")
    assert {name for name in first if first[name] != second[name]} == {"cluster.npz", "volumes.npz"}
    assert len(list((tmp_path / "out" / "volumes").iterdir())) == 2
    assert main(["cluster", *work, *options, "--classes", "2", "--components", "2"]) == 2
    assert times() == second


@pytest.mark.parametrize(
    "words, said",
    [
        (["--chunk", "\u00b2/3"], "chunk is '\u00b2/3': give its number and how many"),
        (["--chunk", "1/" + "9" * 5000], "chunk is '1/9999"),
        (["--chunk", "4/3"], "chunk is '4/3'"),
        (["--chunk", "1/3", "--join", "3"], "chunk is 1/3 and join is 3: give one of them"),
        (["--join", "-2"], "join is -2: give the number of chunks"),
    ],
    ids=["superscript", "huge", "beyond", "both", "negative"],
)
def test_parts_that_are_not_understood(data, tmp_path, capsys, words, said):
    assert (
        main(
            [
                "prepare",
                str(data / "particles.star"),
                "--work",
                str(tmp_path / "work"),
                *words,
                *BATCHES,
            ]
        )
        == 2
    )
    assert said in capsys.readouterr().err and not (tmp_path / "work").exists()


def test_the_output_folder_is_not_the_work_folder(tmp_path, capsys):
    (tmp_path / "work").mkdir()
    for command, options in (("class-volumes", BATCHES), ("variance", [])):
        for same in ("work", "work/", "../%s/work" % tmp_path.name):
            assert (
                main(
                    [
                        command,
                        "--work",
                        str(tmp_path / "work"),
                        "-o",
                        str(tmp_path / same),
                        *options,
                    ]
                )
                == 2
            )
            assert "is the work folder: choose another" in capsys.readouterr().err


def test_a_stage_without_the_one_before_it(tmp_path, capsys):
    assert main(["components", "--work", str(tmp_path), *BATCHES]) == 2
    assert "prepare" in capsys.readouterr().err


def test_star_file_changed_in_between(data, tmp_path, capsys):
    star = tmp_path / "particles.star"
    shutil.copy(str(data / "particles.star"), str(star))
    work = ["--work", str(tmp_path / "work")]
    assert main(["prepare", str(star), "--data-dir", str(data), *work, *SIMPLE]) == 0
    for stage in ("reconstruct", "components", "cluster"):
        assert main([stage, *work, *SIMPLE]) == 0
    star.write_text("\n".join(star.read_text().splitlines()[:-5]) + "\n\n")
    assert main(["class-volumes", *work, "-o", str(tmp_path / "out"), *SIMPLE]) == 2
    assert "has changed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_own_mask_of_another_box(data, tmp_path):
    axis = np.arange(50) - 25
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) * 3.0
    with mrcfile.new(str(tmp_path / "mask.mrc")) as mrc:
        mrc.set_data((distance < 40).astype(np.float32))
        mrc.voxel_size = 3.0
    output = run(data, tmp_path / "out", *BATCHES, "--mask", str(tmp_path / "mask.mrc"))
    mask = mrcfile.read(str(output / "components" / "mask.mrc"))
    axis = np.arange(BOX) - BOX // 2
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) * SAMPLING
    assert mask[distance < 28].mean() > 0.9 and np.abs(mask[distance > 60]).max() < 0.1


def test_results_of_others_in_the_output_folder_survive(data, tmp_path):
    """Only this program's own files of an earlier run are replaced."""
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "mine.mrc").write_bytes(b"mine")
    (tmp_path / "notes.txt").write_text("mine")
    run(data, tmp_path, *SIMPLE)
    run(data, tmp_path, *BATCHES)
    assert (tmp_path / "volumes" / "mine.mrc").read_bytes() == b"mine"
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "volumes").glob("class_*.mrc"))) == 3


def test_contrast_inversion(data, tmp_path):
    dark = tmp_path / "dark"
    shutil.copytree(str(data), str(dark))
    with mrcfile.open(str(dark / "particles.mrcs"), "r+") as mrc:
        mrc.data[:] *= -1
    one = results(run(data, tmp_path / "one", *SIMPLE))
    two = results(run(dark, tmp_path / "two", *SIMPLE, "--invert-contrast"))
    names = [name for name in one if name.endswith(".mrc")]
    assert len(names) >= 4 and all(one[name] == two[name] for name in names)


def test_version_and_help(capsys):
    for words in (["--version"], ["--help"], ["run", "--help"], ["prepare", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, code",
    [
        (["--version"], 0),
        (["run", "--help"], 0),
        (["run"], 2),
        (["run", "no.star", "-o", "out"], 2),
    ],
)
def test_a_program_says_all_before_it_ends(tmp_path, words, code):
    """Into a pipe, whose text is kept back until there is much of it."""
    done = subprocess.run(
        [sys.executable, "-m", "pcainit", *words], cwd=tmp_path, capture_output=True, text=True
    )
    said, silent = (done.stderr, done.stdout) if code else (done.stdout, done.stderr)
    assert done.returncode == code and said.endswith("\n") and not silent


def test_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pcainit",
            "run",
            str(tmp_path / "no.star"),
            "-o",
            str(tmp_path / "out"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("pcainit: The particle STAR file ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
