"""What lies where results go or where files are looked for, and is not what it should be."""

# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.errors import InputError
from pcainit.io.maps import read_map, write_map
from pcainit.tests.robustness.accidents import environment

RUN = [
    "--method",
    "simple",
    "--classes",
    "2",
    "--particles-per-reconstruction",
    "40",
    "--resolution",
    "24",
]

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert (
        main(["simulate", str(folder), "--particles", "100", "--box", "24", "--sampling", "6"]) == 0
    )
    return folder


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """A result."""
    folder = tmp_path_factory.mktemp("made")
    assert run(data, folder) == 0
    return folder


def run(data, output):
    return main(["run", str(data / "particles.star"), "-o", str(output), *RUN])


@pytest.mark.parametrize(
    "name",
    [
        "particles.star",
        "report.html",
        "summary.json",
        "volumes/class_averages.mrc",
        "components/mask.mrc",
    ],
)
def test_files_of_others_are_not_replaced(data, tmp_path, capsys, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"precious")
    assert run(data, tmp_path) == 2
    assert "holds %s, which pcainit has not made" % name in capsys.readouterr().err
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert path.read_bytes() == b"precious"


def test_a_folder_in_the_place_of_a_file(data, tmp_path, capsys):
    (tmp_path / "report.html").mkdir()
    assert run(data, tmp_path) == 2
    assert "holds report.html" in capsys.readouterr().err


def test_simulated_particles_replace_no_others(tmp_path, capsys):
    (tmp_path / "particles.star").write_text("data_particles\n")
    assert main(["simulate", str(tmp_path), "--particles", "60", "--box", "16"]) == 2
    assert "holds particles.star" in capsys.readouterr().err
    assert (tmp_path / "particles.star").read_text() == "data_particles\n"


@pytest.mark.parametrize(
    "name", ["particles.mrcs", "truth/truth.csv", "truth/poses.csv", "truth/class00.mrc"]
)
def test_no_table_of_a_truth_vouches_for_other_files(data, tmp_path, capsys, name):
    shutil.copytree(str(data), str(tmp_path / "set"))
    path = tmp_path / "set" / name
    path.write_bytes(b"rlnImageName,class,note\r\n")
    words = ["simulate", str(tmp_path / "set"), "--particles", "60", "--box", "16"]
    assert main(words) == 2
    assert "holds %s" % name in capsys.readouterr().err
    assert path.read_bytes() == b"rlnImageName,class,note\r\n"
    path.unlink()
    assert main(words) == 0 and main(words) == 0


@pytest.mark.parametrize(
    "name", ["comparison.txt", "comparison.json", "comparison.html", "preview.png", "preview.npz"]
)
def test_looks_and_comparisons_replace_no_others(data, made, tmp_path, capsys, name):
    words = {
        "preview": ["preview", str(data / "particles.star"), "--resolution", "24"],
        "comparison": ["compare", str(made), "--resolution", "24"],
    }[Path(name).stem]
    words += ["-o", str(tmp_path)]
    (tmp_path / name).write_bytes(b"precious")
    (tmp_path / "summary.json").write_text("pcainit")  # of a run, which tells nothing here
    assert main(words) == 2
    assert "holds %s, which pcainit has not made" % name in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == b"precious"
    (tmp_path / name).unlink()
    assert main(words) == 0
    if name == "comparison.txt":  # each of the files tells that it is ours
        (tmp_path / "comparison.html").unlink()
    assert main(words) == 0


def test_results_replace_earlier_ones(data, made, tmp_path):
    """Also those that were not finished, and those that only the summary tells are ours."""
    shutil.copytree(str(made), str(tmp_path / "again"))
    (tmp_path / "again" / "summary.json").unlink()
    assert run(data, tmp_path / "again") == 0
    (tmp_path / "again" / "report.html").write_text("an older version's")
    assert run(data, tmp_path / "again") == 0


def test_the_mask_that_was_made_is_a_mask(data, made, tmp_path):
    """For other programs, which refuse values outside 0 to 1, and for this one."""
    mask = mrcfile.read(str(made / "components" / "mask.mrc"))
    assert mask.min() == 0 and mask.max() == 1
    assert (
        main(
            [
                "run",
                str(data / "particles.star"),
                "-o",
                str(tmp_path),
                *RUN,
                "--mask",
                str(made / "components" / "mask.mrc"),
            ]
        )
        == 0
    )


@pytest.mark.parametrize(
    "words",
    [
        ["latents", "STAR", "PIPE"],
        ["volumes", "PIPE"],
        ["compare", "PIPE", "/dev/zero"],
        ["run", "PIPE"],
        ["run", "STAR", "--mask", "PIPE"],
    ],
    ids=" ".join,
)
def test_pipes_and_devices_are_not_waited_for(data, tmp_path, capsys, words):
    os.mkfifo(str(tmp_path / "pipe"))
    names = {"STAR": str(data / "particles.star"), "PIPE": str(tmp_path / "pipe")}
    assert main([names.get(word, word) for word in words] + ["-o", str(tmp_path / "new")]) == 2
    assert "pipe" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "preview"])
def test_no_home_and_no_temporary_folder(data, tmp_path, command):
    """As in a container that may not be written to, where nobody knows the user."""
    code = """if True:
        import os, pathlib, sys, tempfile
        from pcainit.cli.main import main
        def fail(*args, **options):
            raise (RuntimeError if args else OSError)("none")
        pathlib.Path.home = lambda: fail(1)
        real = tempfile.mkdtemp
        tempfile.mkdtemp = lambda suffix=None, prefix=None, dir=None: (
            real(suffix, prefix, dir) if dir else fail())
        sys.exit(main(sys.argv[1:]))"""
    words = [
        command,
        str(data / "particles.star"),
        "-o",
        str(tmp_path / "new"),
        "--resolution",
        "24",
        *(RUN[:6] if command == "run" else ["--most", "60"]),
    ]
    left = {"MPLCONFIGDIR": None, "XDG_CONFIG_HOME": None, "XDG_CACHE_HOME": None}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment(**left), stderr=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    figure = {"run": "report.html", "preview": "preview.png"}[command]
    assert (tmp_path / "new" / figure).stat().st_size > 10000
    assert not list((tmp_path / "new").rglob(".pcainit.*"))


def test_maps_on_a_file_system_without_memory_maps(tmp_path, monkeypatch):
    def refused(*args, **options):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    volume = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    write_map(tmp_path / "a.mrc", volume, 2)
    monkeypatch.setattr(np, "memmap", type("memmap", (np.memmap,), dict(__new__=refused)))
    assert np.array_equal(read_map(tmp_path / "a.mrc")[0], volume)


def test_a_map_that_is_cut_short_while_it_is_read(tmp_path, monkeypatch):
    mrcfile.write(str(tmp_path / "a.mrc"), np.ones((8, 8, 8), np.float32))

    def cut(layout, read):
        os.truncate(layout.path, 1500)
        return read(layout)

    from pcainit.io.mrc_layout import MrcLayout

    real = MrcLayout.read
    monkeypatch.setattr(MrcLayout, "read", lambda layout: cut(layout, real))
    with pytest.raises(InputError, match="cut short"):
        read_map(tmp_path / "a.mrc")
