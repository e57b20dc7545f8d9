"""Whole runs on cryoSPARC's particles, against those on the RELION set they are a twin of."""

# SPDX-License-Identifier: GPL-3.0-or-later
import re
from unittest import mock

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.errors import InputError
from pcainit.io.cryosparc_particles import open_particles
from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import read_particles
from pcainit.output.result_folder import ResultFolder
from pcainit.output.states import write_particles
from pcainit.pipeline.results import ParticleClasses, VolumesResult
from pcainit.tests.cryosparc_examples import save, write_job

OPTIONS = ["--classes", "2", "--resolution", "24", "--no-local-search", "--threads", "1"]


def run(particles, output, *more):
    """Run without the report, whose plots take seconds."""
    with mock.patch("pcainit.output.report.write_report"):
        assert main(["run", str(particles), "-o", str(output), *OPTIONS, *more]) == 0
    return output


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a RELION set, its twin J42 and the results of both."""
    folder = tmp_path_factory.mktemp("project")
    simulate = ["--particles", "400", "--box", "32", "--sampling", "6", "--snr", "0.5"]
    assert main(["simulate", str(folder / "J1"), *simulate, "--populations", "0.6,0.4"]) == 0
    job, rows = write_job(folder / "J1" / "particles.star", folder, alignment_pixel=9.1)
    run(folder / "J1" / "particles.star", folder / "star")
    run(job, folder / "cs")
    return folder, rows


def volumes(folder):
    return [mrcfile.read(str(path)) for path in sorted((folder / "volumes").glob("class_*.mrc"))]


def assert_same_volumes(ours, theirs):
    for one, other in zip(volumes(ours), volumes(theirs)):
        assert np.abs(one - other).max() < 1e-5 * np.abs(other).max()


def test_the_twin_gives_the_same_result(project):
    folder, _ = project
    ours, theirs = (np.load(str(folder / name / "latents.npz")) for name in ("cs", "star"))
    assert np.array_equal(ours["class"], theirs["class"])
    np.testing.assert_allclose(ours["posterior"], theirs["posterior"], atol=1e-4)
    assert len(volumes(folder / "cs")) == len(volumes(folder / "star")) == 2
    assert_same_volumes(folder / "cs", folder / "star")


def test_images_of_the_other_sign_give_the_same_volumes(project, tmp_path):
    folder, _ = project
    (tmp_path / "J1").mkdir()
    text = (folder / "J1" / "particles.star").read_text()
    (tmp_path / "J1" / "particles.star").write_text(text)
    with mrcfile.open(str(folder / "J1" / "particles.mrcs")) as stack:
        mrcfile.write(str(tmp_path / "J1" / "particles.mrcs"), -stack.data)

    def change(rows):
        rows["blob/sign"] = -1
        return rows

    job, _ = write_job(tmp_path / "J1" / "particles.star", tmp_path, change=change)
    assert_same_volumes(run(job, tmp_path / "out"), folder / "star")


def test_groups_hold_the_classes_on_the_original_ids(project):
    folder, rows = project
    out = folder / "cs"
    latents = np.load(str(out / "latents.npz"))
    own = {int(uid): k for k, uid in enumerate(rows["uid"])}
    seen = []
    for k in range(2):
        found = np.load(str(out / "cryosparc" / ("class_%03d.cs" % (k + 1))))
        index = np.array([own[int(uid)] for uid in found["uid"]])
        expected = np.flatnonzero((latents["class"] == k + 1) & ~latents["junk"])
        assert index.tolist() == expected.tolist()
        for name in rows.dtype.names:  # nothing of theirs is changed
            assert np.array_equal(found[name], rows[name][index]), name
        assert (found["alignments3D/class"] == k).all()
        np.testing.assert_allclose(
            found["alignments3D/class_posterior"], latents["posterior"][index, k], rtol=1e-6
        )
        np.testing.assert_allclose(
            found["pcainit/class_posterior"], latents["posterior"][index], rtol=1e-6
        )
        text = (out / "cryosparc" / ("class_%03d.csg" % (k + 1))).read_text()
        assert set(re.findall(r"metafile: '(.*)'", text)) == {">class_%03d.cs" % (k + 1)}
        assert set(re.findall(r"num_items: (\d+)", text)) == {str(len(found))}
        assert re.findall(r"type: (\S+)", text) == [
            "particle",
            "particle.blob",
            "particle.ctf",
            "particle.alignments3D",
        ]
        seen.extend(index)
    everything = np.load(str(out / "cryosparc" / "all_classes.cs"))
    assert [own[int(uid)] for uid in everything["uid"]] == sorted(seen)


def test_a_group_goes_in_again(project):
    folder, _ = project
    out = folder / "cs"
    particles = read_particles(open_particles(out / "cryosparc" / "class_001.csg"))
    every = read_particles(open_particles(folder / "J42"))
    latents = np.load(str(out / "latents.npz"))
    index = np.flatnonzero((latents["class"] == 1) & ~latents["junk"])
    assert np.array_equal(particles.rotations, every.rotations[index])
    assert np.array_equal(particles.shifts_px, every.shifts_px[index])
    assert np.array_equal(particles.row, every.row[index])


def test_one_star_file_of_each_class(project):
    folder, _ = project
    for name in ("star", "cs"):
        whole = ParticleTable(folder / name / "particles.star")
        junk = np.load(str(folder / name / "latents.npz"))["junk"]
        label = whole.numbers("rlnClassNumber")
        for k in (1, 2):
            part = ParticleTable(folder / name / "states" / ("class_%03d.star" % k))
            images = whole.text("rlnImageName")
            expected = [images[i] for i in np.flatnonzero((label == k) & ~junk)]
            assert part.text("rlnImageName") == expected
            assert (part.numbers("rlnVoltage") == 300).all()


def test_volumes_carry_the_images_pixel_size_and_box(project):
    folder, rows = project
    with mrcfile.open(str(folder / "cs" / "volumes" / "class_001.mrc"), header_only=True) as mrc:
        assert mrc.header.nx == mrc.header.ny == mrc.header.nz == rows["blob/shape"][0, 0]
        assert float(mrc.voxel_size.x) == pytest.approx(rows["blob/psize_A"][0])


def test_classes_of_an_earlier_run_do_not_stay(project, tmp_path):
    folder, _ = project
    out = run(folder / "J42", tmp_path / "out", "--method", "simple", "--classes", "3")
    assert len(list((out / "cryosparc").glob("class_*.csg"))) == 3
    run(folder / "J1" / "particles.star", out, "--method", "simple")
    assert not list((out / "cryosparc").iterdir())
    assert len(list((out / "states").iterdir())) == 2


def test_groups_of_others_are_not_replaced(project, tmp_path):
    folder, rows = project
    save(tmp_path / "cryosparc" / "class_001.cs", rows)
    with pytest.raises(InputError, match="which pcainit has not made"):
        ResultFolder(tmp_path).refuse_overwriting(str(folder / "J42"))
    own = folder / "cs" / "cryosparc" / "class_001.cs"
    with pytest.raises(InputError, match="which the results would"):
        ResultFolder(folder / "cs").refuse_overwriting(str(own))


def test_what_is_given_back_of_an_export_still_finds_its_images(project, tmp_path):
    folder, rows = project
    place = folder / "exports"
    rows = rows.copy()
    rows["blob/path"] = b">particles.mrcs"
    save(place / "particles.cs", rows)
    (place / "particles.mrcs").write_bytes((folder / "J1" / "particles.mrcs").read_bytes())
    out = run(place / "particles.cs", folder / "of_export", "--method", "simple")
    paths = set(np.load(str(out / "cryosparc" / "class_001.cs"))["blob/path"].tolist())
    assert paths == {b">../../exports/particles.mrcs"}
    assert (out / "cryosparc" / paths.pop()[1:].decode()).exists()
    assert_same_volumes(out, run(folder / "J1" / "particles.star", tmp_path, "--method", "simple"))


@pytest.mark.parametrize("note, files", [("short", 2), ("\n;of two\nlines\n;\n", 0)])
def test_rows_of_several_lines_make_no_files_of_states(tmp_path, note, files):
    rows = "".join("%06d@a.mrcs %s\n" % (k + 1, note) for k in range(4))
    text = "data_particles\n\nloop_\n_rlnImageName\n_rlnNote\n" + rows + "\n"
    (tmp_path / "given.star").write_text(text)
    table = ParticleTable(tmp_path / "given.star")
    none = np.zeros(4, bool)
    found = ParticleClasses(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], np.array([0, 1, 0, 1]), none)
    final = VolumesResult(np.zeros((2, 1)), np.full(2, 0.5), np.zeros((2, 2)), particles=found)
    write_particles(ResultFolder(tmp_path), table, final)
    assert len(ParticleTable(tmp_path / "particles.star")) == 4
    assert len(list(tmp_path.glob("states/*"))) == files
