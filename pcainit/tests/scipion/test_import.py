"""Particles with poses from a STAR file alone, and scheduled runs that cannot start."""

# SPDX-License-Identifier: GPL-3.0-or-later
import re
import shutil
import time

import numpy as np
import pytest

from pcainit.tests.conftest import PARTICLES, SAMPLING

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion


@pytest.fixture
def new_import(scipion):
    """From a file to a protocol that imports it."""
    from pcainit.protocols import PcaInitProtImport

    return lambda path, **values: scipion.project.newProtocol(
        PcaInitProtImport, starFile=str(path), **values
    )


@pytest.fixture
def other_acquisition(simulated_set, tmp_path):
    """The simulated set with values of its own in its optics table."""
    text = (simulated_set / "particles.star").read_text()
    optics, particles = text.split("data_particles", 1)
    for label, value in (
        ("rlnVoltage", "200"),
        ("rlnSphericalAberration", "1.4"),
        ("rlnAmplitudeContrast", "0.07"),
    ):
        number = int(re.search(r"_%s #(\d+)" % label, optics).group(1))
        rows = optics.rstrip().splitlines()
        cells = rows[-1].split()
        cells[number - 1] = value
        optics = "\n".join([*rows[:-1], " ".join(cells)]) + "\n\n"
    (tmp_path / "particles.star").write_text(optics + "data_particles" + particles)
    shutil.copy(str(simulated_set / "particles.mrcs"), str(tmp_path / "particles.mrcs"))
    return tmp_path / "particles.star"


def test_acquisition_comes_from_the_file(scipion, new_import, other_acquisition):
    run = scipion.run(new_import(other_acquisition))
    particles = run.outputParticles
    acquisition = particles.getAcquisition()
    assert particles.getSize() == PARTICLES and particles.getSamplingRate() == SAMPLING
    assert particles.hasAlignmentProj() and particles.hasCTF() and not particles.isPhaseFlipped()
    assert acquisition.getVoltage() == 200
    assert acquisition.getSphericalAberration() == 1.4
    assert acquisition.getAmplitudeContrast() == 0.07
    assert "6 Å per pixel, 200 kV" in " ".join(run.summary())


def test_same_as_scipions_own_import(scipion, new_import, simulated_set):
    ours = scipion.run(new_import(simulated_set / "particles.star")).outputParticles
    for one, other in zip(ours, scipion.imported.outputParticles):
        assert np.array_equal(one.getTransform().getMatrix(), other.getTransform().getMatrix())
        assert one.getCTF().getDefocusU() == other.getCTF().getDefocusU()
        assert one.getIndex() == other.getIndex()


def test_files_that_will_not_do_are_refused_in_one_sentence(new_import, simulated_set, tmp_path):
    text = (simulated_set / "particles.star").read_text()
    without = tmp_path / "no_poses.star"
    without.write_text(text.replace("_rlnAngleRot", "_rlnSomethingElse"))
    shutil.copy(str(simulated_set / "particles.mrcs"), str(tmp_path / "particles.mrcs"))
    whole = tmp_path / "whole_paths.star"
    whole.write_text(re.sub(r"@(\S+)", "@%s/particles.mrcs" % tmp_path, text))
    for path, words in (
        ("", "is empty"),
        (tmp_path / "none.star", "does not exist"),
        (without, "no poses"),
        (whole, "relative"),
    ):
        (error,) = new_import(path).validate()
        assert words in error and error.endswith("."), error


@pytest.mark.slow
@pytest.mark.parametrize("good", [True, False])
def test_scheduled_run_starts_or_fails_with_its_reason(scipion, good):
    """Started by Scipion's own scheduler, as a template does it."""
    run = scipion.new_volumes(resolution=24.0 if good else 5.0)
    assert bool(run.validate()) != good
    scipion.project.scheduleProtocol(run)
    last = time.time() + 120
    while not (run.isFailed() or run.isFinished()) and time.time() < last:
        time.sleep(1)
        scipion.project._updateProtocol(run)
        if good and run.isRunning():
            break
    if good:
        assert run.isRunning() or run.isFinished(), run.getStatus()
        scipion.project.stopProtocol(run)
        return
    assert run.isFailed(), run.getStatus()
    assert "finer than Nyquist" in run.getErrorMessage()


def test_scheduled_run_waits_for_its_input(scipion):
    run = scipion.new_volumes(resolution=5.0)
    run.setStatus("scheduled")
    assert run.validate() == []  # it has its input: it may start, and be refused
    empty = scipion.project.newProtocol(type(scipion.imported), objLabel="not run yet")
    scipion.project.saveProtocol(empty)
    run.inputParticles.set(empty)
    run.inputParticles.setExtended("outputParticles")
    assert any("EMPTY" in error for error in run.validate())
