"""Bad input: exit status 2, one plain sentence, nothing written, nothing changed."""

# SPDX-License-Identifier: GPL-3.0-or-later
import hashlib
import os
import re
import shutil

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main

COUNT, BOX, SAMPLING = 120, 24, 6.0
RUN = [
    "--method",
    "batches",
    "--classes",
    "3",
    "--reconstructions",
    "12",
    "--particles-per-reconstruction",
    "10",
    "--components",
    "3",
    "--resolution",
    "24",
]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    assert (
        main(
            [
                "simulate",
                str(folder),
                "--particles",
                str(COUNT),
                "--box",
                str(BOX),
                "--sampling",
                str(SAMPLING),
                "--snr",
                "1",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture
def data(original, tmp_path):
    """A copy of the particles that a test may spoil."""
    shutil.copytree(str(original), str(tmp_path / "data"))
    return tmp_path / "data"


def contents(folder):
    """Every file and folder with its content."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        if p.is_file()
        else None
        for p in folder.rglob("*")
    }


def refused(data, capsys, *options, output="results/new"):
    """Run, and check everything a refusal must be; its sentence."""
    root = data.parent
    before = contents(root)
    capsys.readouterr()
    assert main(["run", str(data / "particles.star"), "-o", str(root / output), *options]) == 2
    printed, errors = capsys.readouterr()
    assert contents(root) == before
    assert printed == ""
    lines = [line for line in errors.splitlines() if line.startswith("pcainit: ")]
    assert len(lines) == 1 and errors.splitlines()[-1] == lines[0]
    assert "Traceback" not in errors and "Error" not in lines[0]
    assert lines[0].endswith(".") and len(lines[0]) < 600
    return lines[0]


def spoil_star(data, pattern, text, count=0):
    """Edit the STAR file."""
    star = data / "particles.star"
    old = star.read_text()
    new = re.sub(pattern, text, old, count=count, flags=re.MULTILINE)
    assert new != old
    star.write_text(new)


def drop_column(data, label):
    """Take one particle column out."""
    star = data / "particles.star"
    head, table = star.read_text().split("data_particles")
    lines = table.splitlines()
    labels = [line.split()[0] for line in lines if line.startswith("_")]
    k = labels.index("_" + label)
    kept = [line for line in lines if not line.startswith("_" + label)]
    rows = [" ".join(np.delete(line.split(), k)) if "@" in line else line for line in kept]
    star.write_text(head + "data_particles" + "\n".join(rows) + "\n")


def spoil_images(data, change):
    """Edit the stack in place."""
    with mrcfile.open(str(data / "particles.mrcs"), "r+", permissive=True) as mrc:
        change(mrc.data)


# Settings that cannot work: options, and what the sentence must name (parameter, value, remedy).
SETTINGS = {
    "K is 1": (["--classes", "1"], "classes is '1'.*from 2"),
    "K is no number": (["--classes", "many"], "classes is 'many'.*or auto"),
    "K is negative": (["--classes", "-3"], "classes is '-3'"),
    "K auto": (["--classes", "auto"], "classes is auto.*method batches"),
    "K > N": (["--classes", "13"], "classes is 13.*12 reconstructions"),
    "K > M / 10": (["--classes", "13", "--reconstructions", "20"], "classes is 13.*120 particles"),
    "C > N - 1": (["--components", "12"], "components is 12.*at most 11"),
    "C is 0": (["--components", "0"], "components is 0.*from 1"),
    "B > M": (
        ["--particles-per-reconstruction", "121"],
        "particles_per_reconstruction is 121.*120 particles.*60 or fewer",
    ),
    "B is 0": (["--particles-per-reconstruction", "0"], "particles_per_reconstruction is 0"),
    "N B beyond M": (["--reconstructions", "5000"], "5000 reconstructions of 10.*at most 12000"),
    "finer than Nyquist": (["--resolution", "11"], "resolution is 11 A.*12 A or coarser"),
    "too coarse": (["--resolution", "40"], "resolution is 40 A.*24 A or finer"),
    "resolution nan": (["--resolution", "nan"], "resolution is nan"),
    "resolution negative": (["--resolution", "-20"], "resolution is -20"),
    "threads 0": (["--threads", "0"], "threads is 0"),
    "seed negative": (["--seed", "-1"], "seed is -1"),
    "symmetry": (["--symmetry", "q7"], "symmetry is 'q7'.*give c1"),
    "far before near": (["--mask-near", "30", "--mask-far", "10"], "mask_far is 10 A"),
    "mask missing": (["--mask", "/nowhere/mask.mrc"], "mask /nowhere/mask.mrc does not exist"),
    "data folder": (["--data-dir", "/nowhere"], "not found below /nowhere.*--data-dir"),
}


@pytest.mark.parametrize("options, words", SETTINGS.values(), ids=list(SETTINGS))
def test_settings(data, capsys, options, words):
    assert re.search(words, refused(data, capsys, *RUN, *options))


@pytest.mark.parametrize(
    "options",
    [["--reconstructions", "x"], ["--method", "magic"], ["--what"], ["--components", "2.5"]],
)
def test_options_that_cannot_be_read(data, capsys, options):
    before = contents(data.parent)
    with pytest.raises(SystemExit) as caught:
        main(["run", str(data / "particles.star"), "-o", str(data.parent / "out"), *RUN, *options])
    assert caught.value.code == 2
    assert contents(data.parent) == before
    assert "Traceback" not in capsys.readouterr().err


def test_simple_method(data, capsys):
    sentence = refused(
        data,
        capsys,
        "--method",
        "simple",
        "--classes",
        "3",
        "--resolution",
        "24",
        "--particles-per-reconstruction",
        "500",
    )
    assert "particles_per_reconstruction is 500" in sentence


@pytest.mark.parametrize(
    "label, words",
    [
        ("rlnAngleRot", "no poses"),
        ("rlnAnglePsi", "no poses"),
        ("rlnDefocusU", "no CTF.*--no-ctf"),
        ("rlnImageName", "no particles"),
    ],
)
def test_missing_columns(data, capsys, label, words):
    drop_column(data, label)
    assert re.search(words, refused(data, capsys, *RUN))


def test_no_ctf_can_be_asked_for(data):
    drop_column(data, "rlnDefocusU")
    assert (
        main(
            ["run", str(data / "particles.star"), "-o", str(data.parent / "out"), *RUN, "--no-ctf"]
        )
        == 0
    )


def test_2d_alignment(data, capsys):
    star = data / "particles.star"
    lines = star.read_text().splitlines()
    labels = [line.split()[0] for line in lines[lines.index("data_particles") :] if line[:1] == "_"]
    for k, line in enumerate(lines):
        if "@" in line:
            cells = line.split()
            for label in ("_rlnAngleRot", "_rlnAngleTilt"):
                cells[labels.index(label)] = "0.0"
            lines[k] = " ".join(cells)
    star.write_text("\n".join(lines) + "\n")
    assert "2D alignment" in refused(data, capsys, *RUN)


def test_phase_flipped(data, capsys):
    spoil_star(data, r"^_rlnImageDimensionality #9", "_rlnCtfDataArePhaseFlipped #9")
    assert "phase-flipped" in refused(data, capsys, *RUN)


def test_mixed_pixel_sizes(data, capsys):
    spoil_star(data, r"^(simulated 1 .*)$", r"\1\n" + "other 2 3.0 300.0 2.7 0.1 3.0 24 2")
    spoil_star(data, r"mic0000.mrc 1 ", "mic0000.mrc 2 ", count=3)
    words = refused(data, capsys, *RUN)
    assert "mixes images of 72 A (3 rows (1, 2, 3)) with others of 144 A" in words


def test_not_a_number(data, capsys):
    spoil_star(data, r"(000003@particles.mrcs \S+ \S+ \S+) \S+", r"\1 abc")
    assert "row 3 is 'abc'" in refused(data, capsys, *RUN)


def test_no_star_file(data, capsys):
    (data / "particles.star").unlink()
    assert "does not exist" in refused(data, capsys, *RUN)
    shutil.copy(str(data / "particles.mrcs"), str(data / "particles.star"))
    assert "cannot be read as a STAR file" in refused(data, capsys, *RUN)


def test_few_particles(data, capsys):
    spoil_star(data, r"^0000[4-9].*\n|^0001.*\n", "")
    assert "only 39 particles: at least 50" in refused(data, capsys, *RUN)


def test_odd_box(data, capsys):
    images = mrcfile.read(str(data / "particles.mrcs"))[:, 1:, 1:]
    mrcfile.write(str(data / "particles.mrcs"), np.ascontiguousarray(images), overwrite=True)
    assert "box is odd (23 pixels)" in refused(data, capsys, *RUN)


def test_oblong_images(data, capsys):
    images = mrcfile.read(str(data / "particles.mrcs"))[:, 2:]
    mrcfile.write(str(data / "particles.mrcs"), np.ascontiguousarray(images), overwrite=True)
    assert "24 x 22 pixels" in refused(data, capsys, *RUN)


def test_stack_missing_or_truncated(data, capsys):
    os.truncate(str(data / "particles.mrcs"), 1024 + 100 * 4 * BOX * BOX)
    assert "truncated: 100 of its 120" in refused(data, capsys, *RUN)
    (data / "particles.mrcs").write_bytes(b"")
    assert "cannot be read as MRC" in refused(data, capsys, *RUN)
    (data / "particles.mrcs").unlink()
    assert "particles.mrcs" in refused(data, capsys, *RUN)


def test_index_beyond_the_stack(data, capsys):
    spoil_star(data, "000120@", "000121@")
    assert re.search("Image 121 of .* has 120", refused(data, capsys, *RUN))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite(data, capsys, value):
    def change(images):
        images[41, 3, 4] = value

    spoil_images(data, change)
    assert "Image 42 of " in refused(data, capsys, *RUN)


def test_all_images_constant(data, capsys):
    def change(images):
        images[:] = 0

    spoil_images(data, change)
    assert "All images are constant" in refused(data, capsys, *RUN)


def test_dark_particles(data, capsys):
    """Found out only when the consensus is there: all the same nothing is left behind."""

    def change(images):
        images *= -1

    spoil_images(data, change)
    assert "invert their contrast" in refused(data, capsys, *RUN)


def write_mask(data, volume, sampling=SAMPLING):
    with mrcfile.new(str(data / "mask.mrc"), overwrite=True) as mrc:
        mrc.set_data(volume.astype(np.float32))
        mrc.voxel_size = sampling
    return ["--mask", str(data / "mask.mrc")]


@pytest.mark.parametrize(
    "volume, words",
    [
        (np.zeros((BOX,) * 3), "mask is empty"),
        (np.ones((BOX,) * 3), "1 everywhere"),
        (np.linspace(-3, 3, BOX**3).reshape((BOX,) * 3), "is no mask"),
        (np.full((BOX,) * 3, np.nan), "not finite"),
        (np.ones((BOX, BOX, BOX - 2)), "not a cube"),
    ],
    ids=["empty", "full", "density", "nan", "oblong"],
)
def test_masks(data, capsys, volume, words):
    assert words in refused(data, capsys, *RUN, *write_mask(data, volume))


def test_mask_of_another_sampling_that_misses_the_particle(data, capsys):
    volume = np.zeros((BOX,) * 3)
    volume[:4, :4, :4] = 1
    assert "next to nothing" in refused(data, capsys, *RUN, *write_mask(data, volume, 60.0))


def test_output_folder_that_cannot_be_written_to(data, capsys):
    (data.parent / "file").write_text("mine")
    for output in ("file", "file/deeper"):
        assert "cannot be written to" in refused(data, capsys, *RUN, output=output)


def test_output_folder_that_holds_the_input(data, capsys):
    """The results' particles.star would take the place of the input's."""
    assert "holds the input" in refused(data, capsys, *RUN, output="data")
    options = write_mask(data, np.ones((BOX,) * 3))
    (data.parent / "out" / "components").mkdir(parents=True)
    os.rename(options[1], str(data.parent / "out" / "components" / "mask.mrc"))
    options[1] = str(data.parent / "out" / "components" / "mask.mrc")
    assert "holds the input" in refused(data, capsys, *RUN, *options, output="out")


def test_earlier_results_stay_when_a_later_run_is_refused(data, capsys):
    output = data.parent / "out"
    assert main(["run", str(data / "particles.star"), "-o", str(output), *RUN]) == 0
    refused(data, capsys, *RUN, "--classes", "50", output="out")

    def change(images):
        images[7, 0, 0] = np.nan

    spoil_images(data, change)
    refused(data, capsys, *RUN, output="out")


def test_input_is_not_changed_by_a_run(data):
    before = contents(data)
    assert main(["run", str(data / "particles.star"), "-o", str(data.parent / "out"), *RUN]) == 0
    assert contents(data) == before


@pytest.mark.parametrize("spoil", ["nan", "poses"])
def test_stage_prepare_leaves_nothing_behind(data, capsys, spoil):
    if spoil == "nan":

        def change(images):
            images[41, 3, 4] = np.nan

        spoil_images(data, change)
    else:
        drop_column(data, "rlnAngleRot")
    before = contents(data.parent)
    assert (
        main(
            [
                "prepare",
                str(data / "particles.star"),
                "--work",
                str(data.parent / "a" / "work"),
                *RUN,
            ]
        )
        == 2
    )
    assert contents(data.parent) == before
    assert capsys.readouterr().err.splitlines()[-1].startswith("pcainit: ")


SIMULATIONS = {
    "populations": (["--populations", "0.5,x"], "populations is '0.5,x'"),
    "no share": (["--populations", "0.5,0"], "populations are"),
    "particles": (["--particles", "0"], "particles is 0"),
    "odd box": (["--box", "33"], "box is 33"),
    "sampling": (["--sampling", "0"], "sampling is 0"),
    "snr": (["--snr", "-1"], "snr is -1"),
    "junk": (["--junk", "1"], "junk is 1"),
    "views": (["--preferred-views", "1.5"], "preferred_views is 1.5"),
    "views of states": (["--state-views", "0.7"], "state_views are .*0.7.*: give one share"),
    "views of a state": (["--state-views", "0,0.5,1.5"], "state_views are .*1.5.*: give one"),
    "views in words": (["--state-views", "all"], "state_views is 'all': give numbers"),
    "domain": (["--domain", "0.9"], "domain is 0.9"),
    "seed": (["--seed", "-4"], "seed is -4"),
    "large seed": (["--seed", "5000000000"], "seed is 5000000000: give .* to 2147483647"),
    "contrast": (["--contrast-sd", "-0.1"], "contrast_sd is -0.1"),
    "pose error": (["--pose-error", "-1", "0"], "pose_error is"),
    "crowding": (["--crowding", "0.6"], "crowding is 0.6: give 0, or a share from 0.02 to 0.5"),
    "little crowding": (["--crowding", "0.01"], "crowding is 0.01"),
    "background": (["--background", "-1"], "background is -1"),
    "nan background": (["--background", "nan"], "background is nan"),
    "nan": (["--snr", "nan"], "snr is nan"),
}


@pytest.mark.parametrize("options, words", SIMULATIONS.values(), ids=list(SIMULATIONS))
def test_simulate(tmp_path, capsys, options, words):
    assert main(["simulate", str(tmp_path / "new"), *options]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / "new").exists()
