"""What the protocol refuses, in one sentence, before anything runs; what it warns of."""
# SPDX-License-Identifier: GPL-3.0-or-later

import mrcfile
import numpy as np
import pytest

from pcainit.tests.conftest import PARTICLES, SAMPLING

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion


def _errors(scipion, particles=None, **values):
    """Validation errors of a run on some object as input, all of them plain sentences."""
    protocol = scipion.new_volumes(**values)
    if particles is not None:
        protocol.inputParticles.setExtended("")
        protocol.inputParticles.set(particles)
    errors = protocol.validate()
    for error in errors:
        assert "Traceback" not in error and error.endswith("."), error
    return errors


@pytest.fixture
def particles(scipion, tmp_path):
    """A copy of the imported set that a test may change."""
    from pwem.objects import SetOfParticles

    original = scipion.imported.outputParticles
    copy = SetOfParticles(filename=str(tmp_path / "particles.sqlite"))
    copy.copyInfo(original)
    for item in original.iterItems():
        copy.append(item)
    copy.write()
    yield copy
    copy.close()


def test_good_input_is_accepted(scipion, particles):
    assert _errors(scipion) == []
    assert _errors(scipion, particles) == []


def test_other_objects_from_a_script(scipion):
    from pwem.objects import SetOfVolumes, Volume

    assert _errors(scipion, Volume())[0] == "Input particles is a Volume: give a SetOfParticles."
    errors = _errors(scipion, SetOfVolumes(filename=":memory:"))
    assert errors[0] == "Input particles is a SetOfVolumes: give a SetOfParticles."


@pytest.mark.parametrize("alignment", ["setAlignment2D", "setAlignment3D", None])
def test_wrong_alignment(scipion, particles, alignment):
    if alignment:
        getattr(particles, alignment)()
    else:
        particles.setAlignment("None")
    assert "projection alignment" in _errors(scipion, particles)[0]


def test_no_ctf(scipion, particles, tmp_path):
    bare = type(particles)(filename=str(tmp_path / "bare.sqlite"))
    bare.copyInfo(particles)
    bare.setHasCTF(False)
    for item in particles.iterItems():
        item.setCTF(None)
        bare.append(item)
    bare.write()
    assert "no CTF" in _errors(scipion, bare)[0]
    assert _errors(scipion, bare, noCtf=True) == []
    bare.close()


def test_ctf_that_the_set_does_not_know_of(scipion, particles):
    particles.setHasCTF(False)
    assert _errors(scipion, particles) == []


@pytest.mark.parametrize(
    "flag, words",
    [("setIsPhaseFlipped", "phase flipped"), ("setIsAmplitudeCorrected", "amplitudes")],
)
def test_corrected_images(scipion, particles, flag, words):
    getattr(particles, flag)(True)
    assert words in _errors(scipion, particles)[0]
    assert _errors(scipion, particles, noCtf=True) == []


def test_odd_box(scipion, particles):
    particles._firstDim.set((33, 33, 1))
    assert "odd" in _errors(scipion, particles)[0]


def test_missing_stack(scipion, particles, tmp_path):
    item = particles.getFirstItem()
    item.setFileName("nowhere/lost.mrcs")
    particles.update(item)
    particles.write()
    errors = _errors(scipion, particles)
    assert "missing: nowhere/lost.mrcs" in errors[0]


def test_mask(scipion, tmp_path):
    from pwem.objects import Volume, VolumeMask

    path = str(tmp_path / "mask.mrc")
    mrcfile.write(str(path), np.ones((20, 20, 20), np.float32), voxel_size=SAMPLING)
    for mask, words in (
        (Volume(location=path), "is a Volume: give a VolumeMask"),
        (VolumeMask(location=str(tmp_path / "no.mrc")), "is missing"),
        (VolumeMask(location=path), None),
    ):
        mask.setSamplingRate(SAMPLING)
        protocol = scipion.new_volumes()
        protocol.inputMask.set(mask)
        errors = protocol.validate()
        assert (words in errors[0]) if words else errors == []


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(resolution=5), "finer than Nyquist"),
        (dict(resolution=400), "too coarse"),
        (dict(numberOfClasses=1), "classes is '1'"),
        (dict(numberOfClasses=60, reconstructions=50), "more than the 50 reconstructions"),
        (dict(components=25), "components is 25"),
        (dict(components=0), "components is 0"),
        (dict(method=2, numberOfClasses=500), "for only %d particles" % PARTICLES),
        (dict(method=2, particlesPerReconstruction=5000), "only %d particles" % PARTICLES),
        (dict(reconstructions=90000), "lower one of the two numbers"),
        (dict(maskNear=30), "less than mask_near"),
        (dict(seed=-1), "seed is -1"),
    ],
)
def test_numbers_out_of_range(scipion, values, words):
    assert words in _errors(scipion, **values)[0]


def test_hidden_parameters_do_not_matter(scipion):
    assert _errors(scipion, method=0, reconstructions=0, particlesPerReconstruction=-5) == []
    assert _errors(scipion, method=2, components=99, reconstructions=0) == []


def test_warnings(scipion):
    warnings = scipion.new_volumes(reconstructions=100, particlesPerReconstruction=100).warnings()
    assert any("reused in several batches" in text for text in warnings)
    assert any("particles per class are few" in text for text in warnings)
    assert scipion.new_volumes(method=0, autoClasses=True).warnings() == []
    assert scipion.new_volumes(components=0).warnings() == []  # an error, not a warning


def test_disabled_particles_are_left_out(scipion, particles):
    item = particles[17].clone()
    item.setEnabled(False)
    particles.update(item)
    particles.write()
    protocol = scipion.new_volumes(method=2, particlesPerReconstruction=100)
    protocol.inputParticles.setExtended("")
    protocol.inputParticles.set(particles)
    protocol._defineSourceRelation = lambda *_: None  # this set is in no project
    scipion.run(protocol)
    ids = [particle.getObjId() for item in protocol.outputClasses for particle in item]
    assert 17 not in ids and len(ids) == PARTICLES - 1


# --- what RELION's optics groups and columns say of a set ---------------------------------------

GROUPS = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnImagePixelSize #4
_rln%s #5
one 1 300.0 6.0 %s
two 2 300.0 6.0 %s
"""


@pytest.mark.parametrize(
    "column, words",
    [
        ("CtfDataArePhaseFlipped", "phase-flipped images"),
        ("ImageDimensionality", "subtomograms"),
        ("IsFlip", "mirrored images"),
    ],
)
def test_flags_of_the_optics_groups(scipion, particles, column, words):
    good, bad = ("2", "3") if column == "ImageDimensionality" else ("0", "1")
    acquisition = particles.getAcquisition()
    acquisition.opticsGroupInfo.set(GROUPS % (column, good, good))
    assert _errors(scipion, particles) == []
    acquisition.opticsGroupInfo.set(GROUPS % (column, good, bad))
    (error,) = _errors(scipion, particles)
    assert words in error and error.startswith("The set of particles holds")
    if "Ctf" in column:
        assert _errors(scipion, particles, noCtf=True) == []


def test_premultiplied_images_are_accepted(scipion, particles):
    groups = GROUPS % ("CtfDataAreCtfPremultiplied", "0", "1")
    particles.getAcquisition().opticsGroupInfo.set(groups)
    assert _errors(scipion, particles) == []


def test_flags_of_single_particles(scipion, tmp_path):
    from pwem.objects import Integer, SetOfParticles

    original = scipion.imported.outputParticles
    copy = SetOfParticles(filename=str(tmp_path / "flagged.sqlite"))
    copy.copyInfo(original)
    for k, item in enumerate(original.iterItems()):
        item._rlnCtfDataArePhaseFlipped = Integer(k == 7)
        copy.append(item)
    copy.write()
    (error,) = _errors(scipion, copy)
    copy.close()
    assert "phase-flipped images (rlnCtfDataArePhaseFlipped)" in error


def test_text_that_is_no_optics_table_is_no_harm(scipion, particles):
    particles.getAcquisition().opticsGroupInfo.set("anything { at all")
    assert _errors(scipion, particles) == []
