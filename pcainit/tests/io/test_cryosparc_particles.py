"""cryoSPARC's particles: the same as the RELION set that they are a twin of."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import os
import pickle

import mrcfile
import numpy as np
import pytest
from numpy.lib import recfunctions

from pcainit.engine.geometry.poses import rotation_from_euler
from pcainit.engine.images.particles import fair_halves, joint_groups
from pcainit.errors import InputError
from pcainit.io.cryosparc_particles import open_particles
from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import read_particles
from pcainit.tests.cryosparc_examples import keep, rodrigues, rows_of, save, write_job
from pcainit.tests.io.test_star import BOX, N, loop, particle_columns

OPTICS = dict(
    rlnOpticsGroup=[1],
    rlnVoltage=[300.0],
    rlnSphericalAberration=[2.7],
    rlnAmplitudeContrast=[0.1],
    rlnImagePixelSize=[4.0],
    rlnImageSize=[BOX],
)


@pytest.fixture
def star(tmp_path):
    """A project with a stack and the RELION file of its particles."""
    (tmp_path / "J1").mkdir()
    images = np.random.default_rng(1).normal(size=(N, BOX, BOX)).astype(np.float32)
    mrcfile.write(str(tmp_path / "J1" / "stack.mrc"), images)
    columns = particle_columns(
        rlnImageName=["%06d@stack.mrc" % (k + 1) for k in range(N)],
        rlnRandomSubset=[1, 2, 2, 1, 2, 1],
        rlnPhaseShift=np.arange(N) * 15.0,
    )
    path = tmp_path / "J1" / "particles.star"
    path.write_text("data_optics\n" + loop(OPTICS) + "\ndata_particles\n" + loop(columns))
    return path


def load(path, **options):
    return read_particles(open_particles(path), **options)


def with_field(rows, name, values, kind="<f4"):
    return recfunctions.append_fields(
        rows, name, np.asarray(values, kind), usemask=False, asrecarray=False
    )


def assert_twin(ours, theirs):
    assert ours.stacks == theirs.stacks and np.array_equal(ours.row, theirs.row)
    assert np.array_equal(ours.half, theirs.half)
    assert (ours.box_px, ours.sampling) == (theirs.box_px, theirs.sampling)
    np.testing.assert_allclose(ours.rotations, theirs.rotations, atol=2e-6)
    np.testing.assert_allclose(ours.shifts_px, theirs.shifts_px, atol=1e-5)
    for name in ("defocus_u", "defocus_v", "defocus_angle", "phase_shift", "voltage"):
        np.testing.assert_allclose(
            getattr(ours.ctf, name), getattr(theirs.ctf, name), rtol=1e-6, atol=1e-4
        )
    np.testing.assert_allclose(
        ours.ctf.amplitude_contrast, theirs.ctf.amplitude_contrast, rtol=1e-6
    )


def test_rotation_vectors_are_relions_matrix_transposed():
    angles = np.random.default_rng(3).uniform(-180, 180, (50, 3))
    vector = rodrigues(angles)
    matrix = np.empty((50, 3, 3))
    for k, v in enumerate(vector):  # Rodrigues' formula
        angle = np.linalg.norm(v)
        x, y, z = v / angle
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        matrix[k] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    np.testing.assert_allclose(matrix.transpose(0, 2, 1), rotation_from_euler(*angles.T), atol=1e-6)


@pytest.mark.parametrize("pixel", [None, 7.3])
def test_a_job_is_the_star_files_twin(star, tmp_path, pixel):
    job, _ = write_job(star, tmp_path, alignment_pixel=pixel)
    theirs = load(star)
    for path in (job, job / "J42_005_particles.cs"):
        assert_twin(load(path), theirs)


def test_a_group_is_read_by_its_index_wherever_it_lies(star, tmp_path):
    job, rows = write_job(star, tmp_path)
    place = tmp_path / "exports" / "elsewhere"
    place.mkdir(parents=True)
    save(place / "one.cs", keep(rows, "alignments3D"))
    save(place / "two.cs", keep(rows, "blob", "ctf")[::-1])
    (place / "group.csg").write_text(
        "group: {name: particles, type: particle}\nresults:\n"
        "  alignments3D: {metafile: '>one.cs', num_items: 6, type: particle.alignments3D}\n"
        "  blob:\n    metafile: '>two.cs'\n    num_items: 6\n    type: particle.blob\n"
    )
    assert_twin(load(place / "group.csg"), load(star))
    assert_twin(load(place / "group.csg", data_dir=str(tmp_path)), load(star))


def test_images_are_found_in_the_parent_job(star, tmp_path):
    job, rows = write_job(star, tmp_path)
    (job / "J42_passthrough_particles.cs").unlink()
    save(tmp_path / "J7" / "J7_passthrough_particles.cs", keep(rows, "ctf")[::-1])
    save(tmp_path / "J7" / "J7_002_particles.cs", keep(rows, "blob")[::-1])
    (job / "job.json").write_text('{"parents": ["J7", "../..", "J8"]}')
    assert_twin(load(job), load(star))


def test_copies_and_extracted_files_carry_a_number_before_their_name(star, tmp_path):
    job, _ = write_job(
        star,
        tmp_path,
        change=lambda rows: set_field(rows, "blob/path", b"J1/000123456789012345678_stack.mrc"),
    )
    assert load(job).stacks == (str(tmp_path / "J1" / "stack.mrc"),)


def set_field(rows, name, value):
    rows = rows.copy()
    rows[name] = value
    return rows


def test_a_sign_of_minus_one_turns_the_image(star, tmp_path):
    sign = np.array([1, -1, 1, 1, -1, 1], "f4")
    job, _ = write_job(star, tmp_path, change=lambda rows: set_field(rows, "blob/sign", sign))
    assert np.array_equal(load(job).dark, sign < 0)
    assert np.array_equal(load(job).take(slice(1, 3)).dark, [True, False])
    job, _ = write_job(star, tmp_path)
    assert load(job).dark is None


def test_tilt_and_anisotropic_magnification_become_relions(star, tmp_path):
    tilt_mrad = np.array([0.4, -1.2])

    def change(rows):
        rows = set_field(rows, "ctf/tilt_A", 2.7e7 * np.sin(tilt_mrad * 1e-3))
        return set_field(rows, "ctf/anisomag", [0.01, 0.002, -0.003, -0.02])

    table = open_particles(write_job(star, tmp_path, change=change)[0])
    for axis, tilt in zip("XY", tilt_mrad):
        np.testing.assert_allclose(table.numbers("rlnBeamTilt" + axis), tilt, rtol=1e-5)
    for place, value in {"00": 1.01, "01": 0.002, "10": -0.003, "11": 0.98}.items():
        np.testing.assert_allclose(table.numbers("rlnMagMat" + place), value, atol=1e-7)
    plain = open_particles(write_job(star, tmp_path)[0])
    assert not plain.has("rlnMagMat00") and not plain.has("rlnBeamTiltX")


def test_trefoil_is_named_where_it_is_not_small(star, tmp_path):
    """By 2 pi times the coefficient times wavelength^2 over resolution^3."""

    def change(rows):
        rows = set_field(rows, "ctf/trefoil_A", [0, 0])
        rows["ctf/trefoil_A"][[1, 4], 0] = 2e5
        return rows

    job, _ = write_job(star, tmp_path, change=change)
    table = open_particles(job)
    (note,) = table.notes(10.0)
    phase = 2 * np.pi * 2e5 * 0.0196875**2 / 10.0**3
    assert "ctf/trefoil_A" in note and "2 rows (2, 5)" in note and "%.2g radians" % phase in note
    assert note in read_particles(table, resolution=10.0).notes
    assert table.notes(20.0) == []


def test_a_moved_exposure_group_is_refused(star, tmp_path):
    job, _ = write_job(star, tmp_path, change=lambda rows: set_field(rows, "ctf/shift_A", 2.0))
    with pytest.raises(InputError, match="ctf/shift_A is up to 2"):
        open_particles(job)


def test_classes_of_several_alignments_give_the_best_ones_pose(star, tmp_path):
    best = np.array([0, 2, 1, 1, 0, 2])
    rows = rows_of(star, tmp_path, alignment_pixel=5.0)
    rng, pick = np.random.default_rng(8), (np.arange(N), best)
    pose, shift = rng.normal(size=(N, 3, 3)), rng.normal(size=(N, 3, 2))
    posterior = rng.uniform(0, 0.3, (N, 3))
    pose[pick], shift[pick] = rows["alignments3D/pose"], rows["alignments3D/shift"]
    posterior[pick] = 0.9
    base = with_field(
        keep(rows, "blob", "ctf"), "alignments3D/split", rows["alignments3D/split"], "u4"
    )
    multi = np.zeros(
        N,
        [
            *base.dtype.descr,
            ("alignments3D_multi/pose", "<f4", (3, 3)),
            ("alignments3D_multi/shift", "<f4", (3, 2)),
            ("alignments3D_multi/class_posterior", "<f4", (3,)),
            ("alignments3D_multi/psize_A", "<f4"),
        ],
    )
    single = base
    for name in base.dtype.names:
        multi[name] = base[name]
    multi["alignments3D_multi/pose"], multi["alignments3D_multi/shift"] = pose, shift
    multi["alignments3D_multi/class_posterior"] = posterior
    multi["alignments3D_multi/psize_A"] = 5.0
    assert_twin(load(save(tmp_path / "J5" / "J5_particles.cs", multi)), load(star))
    fields = [
        (name % k, kind, shape)
        for k in range(3)
        for name, kind, shape in (
            ("alignments_class_%d/pose", "<f4", (3,)),
            ("alignments_class_%d/shift", "<f4", (2,)),
            ("alignments_class_%d/class_posterior", "<f4", ()),
            ("alignments_class_%d/psize_A", "<f4", ()),
        )
    ]
    old = np.zeros(N, [*single.dtype.descr, *fields])
    for name in single.dtype.names:
        old[name] = single[name]
    for k in range(3):
        prefix = "alignments_class_%d/" % k
        old[prefix + "pose"], old[prefix + "shift"] = pose[:, k], shift[:, k]
        old[prefix + "class_posterior"], old[prefix + "psize_A"] = posterior[:, k], 5.0
    assert_twin(load(save(tmp_path / "J6" / "J6_particles.cs", old)), load(star))


def test_expanded_copies_stay_in_one_half_set(star, tmp_path):
    """Even where each copy has an image of its own, as after subtraction or extraction."""
    source = 10**18 + np.array([0, 0, 0, 1, 1, 2], "u8")
    job, _ = write_job(
        star, tmp_path, change=lambda rows: with_field(rows, "sym_expand/src_uid", source, "<u8")
    )
    half = load(job).half
    assert len(set(half[:3])) == len(set(half[3:5])) == 1
    assert set(half) == {1, 2}


def test_the_star_file_that_is_written_is_the_same_set(star, tmp_path):
    job, rows = write_job(star, tmp_path, alignment_pixel=7.3)
    label = np.array([3, 1, 2, 2, 1, 3])
    open_particles(job).write_with(tmp_path / "out.star", {"rlnClassNumber": label})
    table = ParticleTable(tmp_path / "out.star")
    assert table.numbers("rlnClassNumber").tolist() == label.tolist()
    assert [int(uid) for uid in table.text("ucsfUid")] == rows["uid"].tolist()
    back, ours = read_particles(table), load(job)
    assert_twin(back, ours)
    assert np.array_equal(back.rotations, ours.rotations)
    assert np.array_equal(back.ctf.defocus_angle, ours.ctf.defocus_angle)


@pytest.mark.parametrize("name", ["two words.mrc", "it's # one.mrc", "\u00e4\u03b1.mrc"])
def test_names_of_all_kinds_come_back(star, tmp_path, name):
    (tmp_path / "J1" / "stack.mrc").rename(tmp_path / "J1" / name)
    job, _ = write_job(
        star, tmp_path, change=lambda rows: set_field(rows, "blob/path", ("J1/" + name).encode())
    )
    open_particles(job).write_with(tmp_path / "out.star", {})
    assert_twin(read_particles(ParticleTable(tmp_path / "out.star")), load(job))


def test_half_sets_drawn_anew_keep_copies_together(star, tmp_path):
    source = 10**18 + np.array([0, 0, 1, 1, 2, 2], "u8")
    job, _ = write_job(
        star, tmp_path, change=lambda rows: with_field(rows, "sym_expand/src_uid", source, "<u8")
    )
    particles = load(job)
    lopsided = dataclasses.replace(particles, half=np.ones(N, np.int8))
    half = fair_halves(lopsided, np.ones(N, bool))
    assert (half[::2] == half[1::2]).all() and set(half) == {1, 2}


def test_particles_that_share_an_image_or_a_source_are_one_group():
    group = joint_groups(np.array([0, 1, 1, 2, 3, 4]), np.array([5, 5, 6, 7, 8, 8]))
    assert group[0] == group[1] == group[2] and group[4] == group[5]
    assert sorted(set(group.tolist())) == [0, 1, 2] and group[3] not in (group[0], group[4])


@pytest.mark.parametrize(
    "missing, words",
    [
        ("blob", "has no blob/idx: its images are named in the passthrough file"),
        ("alignments3D", "has no alignments3D/pose: its poses are in the passthrough file"),
    ],
)
def test_what_is_missing_is_named_with_the_file_that_has_it(star, tmp_path, missing, words):
    rows = rows_of(star, tmp_path)
    kept = [name for name in ("blob", "ctf", "alignments3D") if name != missing]
    with pytest.raises(InputError, match=words):
        open_particles(save(tmp_path / "J3" / "J3_particles.cs", keep(rows, *kept)))


def test_particles_without_a_ctf_can_be_used_as_they_are(star, tmp_path):
    rows = keep(rows_of(star, tmp_path), "blob", "alignments3D")
    path = save(tmp_path / "J3" / "J3_particles.cs", rows)
    assert load(path, use_ctf=False).ctf is None
    with pytest.raises(InputError, match="no CTF"):
        load(path)


def test_a_passthrough_of_other_particles_is_no_help(star, tmp_path):
    job, rows = write_job(star, tmp_path)
    save(job / "J42_passthrough_particles.cs", keep(rows, "blob", "ctf")[:-1])
    with pytest.raises(InputError, match="passthrough"):
        open_particles(job)


@pytest.mark.parametrize(
    "path", [b"/etc/passwd", b"../../secret.mrc", b">../x.mrc", b"J1/../../x.mrc", b"", b"a\nb.mrc"]
)
def test_no_path_leaves_the_project(star, tmp_path, path):
    job, _ = write_job(star, tmp_path, change=lambda rows: set_field(rows, "blob/path", path))
    with pytest.raises(InputError, match="not a path inside the project"):
        open_particles(job)


def test_an_index_names_only_files_beside_it(star, tmp_path):
    job, _ = write_job(star, tmp_path)
    index = job / "group.csg"
    for name in ("../J42/J42_005_particles.cs", ">nothing.cs", "/etc/passwd"):
        index.write_text("results:\n  blob: {metafile: '%s', num_items: 6}\n" % name)
        with pytest.raises(InputError, match="not beside it"):
            open_particles(index)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-ran",)


def test_hostile_and_damaged_files_end_in_one_sentence(star, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = rows_of(star, tmp_path)
    good = save(tmp_path / "good.cs", rows).read_bytes()
    objects = np.empty(2, object)
    objects[:] = [Evil(), Evil()]
    with open("objects.npy", "wb") as file:
        np.save(file, objects, allow_pickle=True)
    deep = b"\x93NUMPY\x01\x00" + (4000).to_bytes(2, "little") + b"[" * 4000
    huge = good.replace(b"'shape': (6,)", b"'shape': (9,)")
    for name, content in {
        "pickle": pickle.dumps(Evil()),
        "objects": (tmp_path / "objects.npy").read_bytes(),
        "deep": deep,
        "cut": good[:-5],
        "huge": huge,
        "empty": b"",
        "text": b"data_particles\n",
        "compressed": b"\x95CSDAT\xff\xff\xff\xff",
        "plain": good[:6] + b"\x09" + good[7:],
    }.items():
        path = tmp_path / (name + ".cs")
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            open_particles(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert not (tmp_path / "evil-ran").exists()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(good)
        for place in rng.integers(0, len(good) // 2, 4):
            damaged[place] = rng.integers(256)
        (tmp_path / "fuzz.cs").write_bytes(bytes(damaged))
        try:
            load(tmp_path / "fuzz.cs")
        except InputError:
            continue


def test_cryodrgns_pickles_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "poses.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="is a Python pickle.*cryodrgn write_star"):
        open_particles(tmp_path / "poses.pkl")
    assert not (tmp_path / "evil-ran").exists()


def test_a_header_beyond_numpys_limit_is_read(star, tmp_path):
    rows = rows_of(star, tmp_path)
    wide = np.zeros(
        N, [*rows.dtype.descr, *(("components_mode_%03d/value" % k, "<f4") for k in range(400))]
    )
    for name in rows.dtype.names:
        wide[name] = rows[name]
    assert_twin(load(save(tmp_path / "J9" / "J9_particles.cs", wide)), load(star))


@pytest.mark.parametrize("field", ["ctf/df1_A", "alignments3D/pose", "alignments3D/shift"])
def test_particles_without_a_number_are_set_aside(star, tmp_path, field):
    """As those of a STAR file are, and the others are read."""

    def change(rows):
        rows = rows.copy()
        rows[field][[2, 4]] = np.nan
        return rows

    job, _ = write_job(star, tmp_path, change=change)
    particles = load(job)
    assert np.flatnonzero(particles.aside).tolist() == [2, 4]
    assert np.isfinite(particles.rotations[particles.fit()]).all()


def test_values_that_are_no_numbers_are_named(star, tmp_path):
    def change(rows):
        rows = rows.copy()
        rows["ctf/cs_mm"][[2, 4]] = np.nan
        return rows

    job, _ = write_job(star, tmp_path, change=change)
    with pytest.raises(InputError, match="ctf/cs_mm is not a finite number in 2 rows .3, 5."):
        open_particles(job)
