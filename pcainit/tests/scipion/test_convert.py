"""Scipion's particles to STAR: fast and public reading agree, poses and CTFs are RELION's."""

# SPDX-License-Identifier: GPL-3.0-or-later
import sqlite3
import time

import gemmi
import numpy as np
import pytest

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion

from pcainit.errors import InputError  # noqa: E402
from pcainit.io.particle_table import ParticleTable  # noqa: E402
from pcainit.protocols import convert, read_set  # noqa: E402


def _make_set(
    path,
    count=40,
    *,
    ctf=True,
    alignment=True,
    acquisition=True,
    phase_shift=False,
    subset=True,
    stacks=("a.mrcs", "b.mrcs"),
):
    """A SetOfParticles with random poses and CTFs, made without any image file."""
    from pwem.objects import Acquisition, CTFModel, Integer, Particle, SetOfParticles, Transform

    particles = SetOfParticles(filename=str(path))
    particles.setSamplingRate(2.5)
    particles._firstDim.set((48, 48, 1))
    optics = Acquisition(
        voltage=300, sphericalAberration=2.7, amplitudeContrast=0.1, magnification=50000
    )
    particles.setAcquisition(optics)
    particles.setAlignmentProj()
    particles.setHasCTF(ctf)
    rng = np.random.default_rng(count)
    for number in range(count):
        item = Particle()
        item.setLocation(number // len(stacks) + 1, stacks[number % len(stacks)])
        if ctf:
            model = CTFModel()
            model.setStandardDefocus(*rng.uniform(5000, 30000, 2), rng.uniform(0, 180))
            if phase_shift:
                model.setPhaseShift(rng.uniform(0, 120))
            item.setCTF(model)
        if alignment:
            matrix = np.eye(4)
            matrix[:3, :3] = _random_rotation(rng)
            matrix[:3, 3] = rng.normal(0, 3, 3)
            item.setTransform(Transform(matrix))
        if acquisition:
            optics.setVoltage(300 if number % 2 else 200)
            item.setAcquisition(optics)
        if subset:
            item._rlnRandomSubset = Integer(number % 2 + 1)
        particles.append(item)
    particles.write()
    return particles


def _random_rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def _assert_same(one, other):
    assert np.array_equal(one.ids, other.ids) and one.filename == other.filename
    assert np.array_equal(one.matrices, other.matrices, equal_nan=True)
    assert one.values.keys() == other.values.keys()
    for name, values in one.values.items():
        assert np.array_equal(values, other.values[name], equal_nan=True), name


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(ctf=False),
        dict(alignment=False),
        dict(acquisition=False),
        dict(phase_shift=True),
        dict(subset=False),
        dict(stacks=("only one.mrc",)),
        dict(count=1),
    ],
)
def test_fast_reading_agrees_with_the_public_iterator(tmp_path, options):
    particles = _make_set(tmp_path / "set.sqlite", **options)
    _assert_same(
        read_set.read_particles_fast(particles), read_set.read_particles_by_item(particles)
    )


def test_imported_set_reads_the_same(scipion):
    from pwem.objects import SetOfParticles

    # From its file: other tests give the items of the set in memory columns of their own.
    particles = SetOfParticles(filename=scipion.imported.outputParticles.getFileName())
    particles.loadAllProperties()
    fast = read_set.read_particles_fast(particles)
    _assert_same(fast, read_set.read_particles_by_item(particles))
    assert len(fast.ids) == particles.getSize()


def test_holes_and_disabled_items(tmp_path):
    particles = _make_set(tmp_path / "set.sqlite")
    item = particles[7].clone()
    item.setEnabled(False)
    particles.update(item)
    particles.write()
    with sqlite3.connect(str(tmp_path / "set.sqlite")) as database:
        database.execute("DELETE FROM Objects WHERE id IN (3, 4, 30)")
    particles.load()
    fast = read_set.read_particles_fast(particles)
    _assert_same(fast, read_set.read_particles_by_item(particles))
    assert sorted(set(range(1, 41)) - set(fast.ids.tolist())) == [3, 4, 7, 30]


def test_one_class_as_input(tmp_path):
    """A class of a set of classes has its particles in tables of its own in the same file."""
    from pwem.objects import SetOfClasses3D

    particles = _make_set(tmp_path / "set.sqlite")
    classes = SetOfClasses3D(filename=str(tmp_path / "classes.sqlite"))
    classes.setImages(particles)
    classes.classifyItems(
        updateItemCallback=lambda item, _: item.setClassId(item.getObjId() % 3 + 1)
    )
    classes.write()
    one = classes[2]
    fast = read_set.read_particles_fast(one)
    assert fast.ids.tolist() == [number for number in range(1, 41) if number % 3 + 1 == 2]
    _assert_same(fast, read_set.read_particles_by_item(one))
    assert convert.identity(one) != convert.identity(classes[1])


def test_unexpected_layout_is_read_item_by_item(tmp_path, monkeypatch):
    particles = _make_set(tmp_path / "set.sqlite")
    expected = read_set.read_particles_fast(particles)

    def fail(*_):
        raise sqlite3.OperationalError("no such table")

    monkeypatch.setattr(read_set, "_connect", fail)
    _assert_same(read_set.read_particles(particles), expected)


def test_reading_is_fast(tmp_path):
    """Against Scipion's own iterator, whatever else the machine does meanwhile."""

    def rate(read):
        start = time.process_time()
        return len(read(particles).ids) / (time.process_time() - start)

    path = tmp_path / "set.sqlite"
    particles = _make_set(path, count=50)
    slow = max(rate(read_set.read_particles_by_item) for _ in range(3))
    with sqlite3.connect(str(path)) as database:
        names = ", ".join(
            row[1] for row in database.execute("PRAGMA table_info(Objects)") if row[1] != "id"
        )
        database.execute(
            "INSERT INTO Objects (%s) WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL "
            "SELECT k + 1 FROM n WHERE k < 399) SELECT %s FROM Objects, n" % (names, names)
        )
    particles.load()
    assert particles.getSize() == 20000
    assert max(rate(read_set.read_particles_fast) for _ in range(3)) > 3 * slow


# ------------------------------- STAR ---------------------------------------


def test_star_agrees_with_the_relion_plugin(tmp_path):
    """Angles, origins and defoci are those that scipion-em-relion writes."""
    relion = pytest.importorskip("relion.convert", reason="scipion-em-relion is not installed")
    particles = _make_set(tmp_path / "set.sqlite", phase_shift=True)
    theirs, ours = str(tmp_path / "theirs.star"), str(tmp_path / "ours.star")
    relion.writeSetOfParticles(particles, theirs, outputDir=str(tmp_path))
    convert.write_star(particles, ours)
    theirs, ours = ParticleTable(theirs), ParticleTable(ours)
    from pcainit.engine.geometry.poses import rotation_from_euler

    angles = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    assert np.allclose(
        rotation_from_euler(*map(ours.numbers, angles)),
        rotation_from_euler(*map(theirs.numbers, angles)),
        atol=1e-6,
    )
    for label in (
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnPhaseShift",
        "rlnRandomSubset",
        "rlnImageId",
    ):
        assert np.allclose(ours.numbers(label), theirs.numbers(label), atol=2e-5), label


def test_star_repeats_the_imported_one(scipion, simulated_set, tmp_path):
    ours = str(tmp_path / "ours.star")
    ids = convert.write_star(scipion.imported.outputParticles, ours)
    ours, original = ParticleTable(ours), ParticleTable(simulated_set / "particles.star")
    assert ours.numbers("rlnImageId").astype(int).tolist() == ids.tolist()
    for label in (
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnVoltage",
        "rlnSphericalAberration",
        "rlnAmplitudeContrast",
        "rlnImagePixelSize",
        "rlnRandomSubset",
    ):
        assert np.allclose(ours.numbers(label), original.numbers(label), atol=1e-4), label


def test_optics_groups(tmp_path):
    particles = _make_set(tmp_path / "set.sqlite")
    convert.write_star(particles, str(tmp_path / "ours.star"))
    table = ParticleTable(tmp_path / "ours.star")
    assert sorted(set(table.text("rlnOpticsGroup"))) == ["1", "2"]
    assert table.numbers("rlnVoltage").tolist() == [200, 300] * 20


MAGNIFIED = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnMagMat00 #4
_rlnMagMat01 #5
_rlnMagMat10 #6
_rlnMagMat11 #7
_rlnBeamTiltX #8
_rlnOddZernike #9
_rlnCtfDataAreCtfPremultiplied #10
one 1 300.0 1.0 0.0 0.0 1.0 0.0 [0,0,0] 0
two 2 300.0 1.02 0.003 0.001 0.99 0.5 [0,0,1.5] 1
"""


def test_magnifications_of_relions_optics_groups(tmp_path):
    """Each particle gets those of its own group; groups of other numbers have none."""
    from pwem.objects import Integer

    particles = _make_set(tmp_path / "set.sqlite", acquisition=False)
    particles.getAcquisition().opticsGroupInfo.set(MAGNIFIED)
    numbered = _copy(
        particles, tmp_path, lambda k, item: setattr(item, "_rlnOpticsGroup", Integer(k % 3 + 1))
    )
    convert.write_star(numbered, str(tmp_path / "ours.star"))
    table, group = ParticleTable(tmp_path / "ours.star"), np.arange(40) % 3
    for label, values in dict(
        rlnMagMat00=(1, 1.02, 1),
        rlnMagMat01=(0, 0.003, 0),
        rlnMagMat10=(0, 0.001, 0),
        rlnMagMat11=(1, 0.99, 1),
        rlnBeamTiltX=(0, 0.5, 0),
        rlnCtfDataAreCtfPremultiplied=(0, 1, 0),
    ).items():
        assert np.allclose(table.numbers(label), np.array(values)[group]), label
    assert np.array(table.cells("rlnOddZernike"))[group == 1].tolist() == ["[0,0,1.5]"] * 13
    assert (table.numbers("rlnVoltage") == 300).all()


def test_columns_of_the_particles_come_along(tmp_path):
    """Matrix, B-factor and scale of each particle as RELION's plugin keeps them."""
    from pwem.objects import Float

    def label(k, item):
        item._rlnMagMat00, item._rlnMagMat11 = Float(1 + k / 1000), Float(1 - k / 1000)
        item._rlnCtfBfactor, item._rlnCtfScalefactor = Float(k), Float(1 + k / 100)

    particles = _copy(_make_set(tmp_path / "set.sqlite"), tmp_path, label)
    convert.write_star(particles, str(tmp_path / "ours.star"))
    table, k = ParticleTable(tmp_path / "ours.star"), np.arange(40)
    assert np.allclose(table.numbers("rlnMagMat00"), 1 + k / 1000)
    assert np.allclose(table.numbers("rlnMagMat11"), 1 - k / 1000)
    assert (table.numbers("rlnMagMat01") == 0).all() and (table.numbers("rlnMagMat10") == 0).all()
    assert not table.has("rlnBeamTiltX")
    assert np.allclose(table.numbers("rlnCtfBfactor"), k)
    assert np.allclose(table.numbers("rlnCtfScalefactor"), 1 + k / 100)


def test_few_particles_without_a_ctf_are_left_to_the_engine(tmp_path):
    """It sets them aside, counts and lists them; see io.setting_aside."""

    def forget(k, item):
        if k == 3:
            item.getCTF()._defocusU.set(None)

    particles = _copy(_make_set(tmp_path / "set.sqlite"), tmp_path, forget)
    convert.write_star(particles, str(tmp_path / "ours.star"))
    defocus = ParticleTable(tmp_path / "ours.star").numbers("rlnDefocusU", finite=False)
    assert np.flatnonzero(np.isnan(defocus)).tolist() == [3]


def _copy(particles, folder, change):
    """A copy of a set whose particles were changed: ``change(number, particle)``."""
    from pwem.objects import SetOfParticles

    copy = SetOfParticles(filename=str(folder / "copy.sqlite"))
    copy.copyInfo(particles)
    copy._firstDim.set((48, 48, 1))
    for k, item in enumerate(particles.iterItems()):
        change(k, item)
        copy.append(item)
    copy.write()
    return copy


def test_single_images_and_blanks_in_names(tmp_path):
    particles = _make_set(tmp_path / "set.sqlite", count=2, stacks=("my data/a.mrcs",))
    item = particles[1].clone()
    item.setLocation(0, "single.mrc")
    particles.update(item)
    particles.write()
    convert.write_star(particles, str(tmp_path / "ours.star"))
    table = gemmi.cif.read(str(tmp_path / "ours.star"))["particles"].find(["_rlnImageName"])
    assert [row.str(0) for row in table] == ["single.mrc", "000002@my data/a.mrcs"]


def test_without_ctf(tmp_path):
    particles = _make_set(tmp_path / "set.sqlite", ctf=False)
    convert.write_star(particles, str(tmp_path / "ours.star"), with_ctf=False)
    assert not ParticleTable(tmp_path / "ours.star").has("rlnDefocusU")


@pytest.mark.parametrize(
    "options, words", [(dict(ctf=False), "have no CTF"), (dict(alignment=False), "have no pose")]
)
def test_incomplete_particles_are_refused(tmp_path, options, words):
    particles = _make_set(tmp_path / "set.sqlite", **options)
    with pytest.raises(InputError, match=words):
        convert.write_star(particles, str(tmp_path / "ours.star"))
    assert not (tmp_path / "ours.star").exists()


def test_mirrored_poses_are_refused(tmp_path):
    from pwem.objects import Transform

    particles = _make_set(tmp_path / "set.sqlite")
    item = particles[5].clone()
    item.setTransform(Transform(np.diag([1.0, 1.0, -1.0, 1.0])))
    particles.update(item)
    particles.write()
    with pytest.raises(InputError, match="^1 of 40 particles have mirrored poses.* id 5"):
        convert.write_star(particles, str(tmp_path / "ours.star"))


# ------------------------------- Identity -----------------------------------


def test_identity_notices_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    particles = _make_set(tmp_path / "set.sqlite")
    (tmp_path / "a.mrcs").write_bytes(b"images")
    seen = [convert.identity(particles)]
    assert convert.identity(particles) == seen[0]
    (tmp_path / "a.mrcs").write_bytes(b"other images")
    seen.append(convert.identity(particles))
    (tmp_path / "b.mrcs").write_bytes(b"images")
    seen.append(convert.identity(particles))
    (tmp_path / "mask.mrc").write_bytes(b"mask")
    seen.append(convert.identity(particles, "mask.mrc"))
    item = particles[5].clone()
    item.setEnabled(False)
    particles.update(item)
    particles.write()
    seen.append(convert.identity(particles))
    assert len(set(seen)) == len(seen)
