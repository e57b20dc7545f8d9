"""The protocols for other programs' volumes and coordinates, inside a Scipion project."""
# SPDX-License-Identifier: GPL-3.0-or-later
import csv
import importlib

import numpy as np
import pytest

from pcainit.tests.conftest import SAMPLING
from pcainit.tests.volume_examples import write_set

pytestmark = pytest.mark.scipion


@pytest.fixture(scope="module")
def states(simulated_set):
    """True state of each particle."""
    with open(simulated_set / "truth" / "truth.csv", newline="") as file:
        return np.array([int(row["class"]) for row in csv.DictReader(file)])


def _volumes(scipion, folder, sampling=5.0):
    """Import maps as a user does."""
    from pwem.protocols import ProtImportVolumes
    return scipion.run(scipion.project.newProtocol(
        ProtImportVolumes, filesPath=str(folder), filesPattern="*.mrc", samplingRate=sampling))


def _point(pointer, protocol, name):
    pointer.set(protocol)
    pointer.setExtended(name)


def _add(multi, protocol, name="outputVolumes"):
    from pyworkflow.object import Pointer
    multi.append(Pointer(protocol, extended=name))


@pytest.fixture(scope="module")
def imported(scipion_session, tmp_path_factory):
    """Two sets of volumes of three states, on different grids and greyscales."""
    import os
    os.chdir(scipion_session.path)
    folder, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    shares = np.eye(3)[np.arange(15) % 3] + rng.normal(0, 0.02, (15, 3))
    write_set(folder / "one", shares, noise=0.3)
    write_set(folder / "two", shares, noise=0.3, seed=1, boxes=((60, 4.0),),
              scales=np.full((15, 2), (3, 0)))
    return [_volumes(scipion_session, folder / "one"),
            _volumes(scipion_session, folder / "two", 4.0)]


def test_pca_of_volumes(scipion, imported):
    from pwem.objects import SetOfVolumesFlex

    from pcainit.protocols import PcaInitProtVolumePca
    protocol = scipion.project.newProtocol(PcaInitProtVolumePca, alignGreyscale=True,
                                           autoClasses=False, numberOfClasses=3)
    assert "at least one SetOfVolumes" in " ".join(protocol._validate())
    for one in imported:
        _add(protocol.inputVolumes, one)
    assert protocol.validate() == []
    scipion.run(protocol)
    assert protocol.outputVolumes.getSize() == 3
    assert protocol.outputVolumes.getSamplingRate() == 5.0
    assert [v.getObjComment() for v in protocol.outputVolumes] == ["10 volumes (33.3 %)"] * 3
    assert protocol.outputComponents.getSize() == 4
    found = protocol.outputCoordinates
    assert isinstance(found, SetOfVolumesFlex) and found.getSize() == 30
    classes, points = zip(*[(item.getClassId(), item.getZFlex()) for item in found.iterItems()])
    assert np.shape(points) == (30, 4)
    same = np.array(classes).reshape(10, 3)         # the states take turns
    assert (same == same[0]).all() and len(set(same[0])) == 3
    assert "3 classes" in " ".join(protocol.summary()) and protocol._methods()
    # Volumes with coordinates are volumes too.
    again = scipion.project.newProtocol(PcaInitProtVolumePca, numberOfClasses=3)
    _add(again.inputVolumes, protocol, "outputCoordinates")
    assert again.validate() == [] and len(again._rows()) == 30
    # Continue does nothing unless something has changed.
    scipion.stages.clear()
    scipion.run(protocol)
    assert scipion.stages == []
    protocol.numberOfClasses.set(2)
    scipion.run(protocol)
    assert scipion.stages == ["volumes"] and protocol.outputVolumes.getSize() == 2


def test_bad_volumes_are_refused(scipion, imported, tmp_path):
    from pcainit.protocols import PcaInitProtVolumePca
    (tmp_path / "weights.txt").write_text("1 2 3")
    protocol = scipion.project.newProtocol(PcaInitProtVolumePca,
                                           weightsFile=str(tmp_path / "weights.txt"))
    _add(protocol.inputVolumes, imported[0])
    assert "3 numbers for 15 volumes" in " ".join(protocol._validate())
    (tmp_path / "weights.txt").write_text("1 -2")
    assert "not positive" in " ".join(protocol._validate())
    protocol.weightsFile.set("")
    protocol.resolution.set(-1)
    assert "resolution is -1" in " ".join(protocol._validate())


def test_viewer_shows_the_same_figures(scipion, imported):
    from pcainit.protocols import PcaInitProtVolumePca
    from pcainit.viewers import PcaInitViewerInitialVolumes
    assert PcaInitProtVolumePca in PcaInitViewerInitialVolumes._targets


def test_comparison(scipion, imported):
    from pcainit.protocols import PcaInitProtCompare
    protocol = scipion.project.newProtocol(PcaInitProtCompare)
    for one in imported:
        _add(protocol.inputSets, one)
    _point(protocol.truth, imported[0], "outputVolumes")
    assert protocol.validate() == []
    scipion.run(protocol)
    text = "\n".join(protocol.summary())
    assert "agreement with truth" in text and "1 " in text and "2 " in text
    empty = scipion.project.newProtocol(PcaInitProtCompare)
    assert "at least one" in " ".join(empty._validate())


# ------------------------------- Coordinates --------------------------------

# Package, its constant, and the name under which its protocols write sets; see their sources.
PLUGINS = [("pwem", None), ("cryodrgn", "cryodrgn.constants.CRYODRGN"),
           ("flexutils", "flexutils.constants.HETSIREN"),
           ("cryosparc2", "cryosparc2.constants.CRYOSPARCFLEX"), ("xmipp3", None)]


def _program(package, constant):
    pytest.importorskip(package, reason="scipion-em-%s is not installed" % package)
    if constant is None:
        return package
    module, _, name = constant.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _flexible_set(scipion, path, program, states, seed=0):
    """The imported particles with coordinates, made as the plugin's own protocols make them."""
    from pwem.objects import ParticleFlex, SetOfParticlesFlex
    rng = np.random.default_rng(seed)
    z = np.array([[0, 0, 0], [4, 0, 0], [0, 5.0, 1]])[states] + rng.normal(0, 0.6, (len(states), 3))
    source = scipion.imported.outputParticles
    out = SetOfParticlesFlex(filename=str(path), progName=program)
    out.copyInfo(source)
    out.setHasCTF(source.hasCTF())
    out.getFlexInfo().setProgName(program)
    for particle, row in zip(source, z):
        item = ParticleFlex(progName=program)
        item.copyInfo(particle)
        item.getFlexInfo().setProgName(program)
        item.setZFlex(list(row))
        out.append(item)
    out.write()
    return out, z


@pytest.mark.parametrize("package, constant", PLUGINS, ids=[name for name, _ in PLUGINS])
def test_sets_of_other_plugins_are_read(scipion, states, tmp_path, package, constant):
    from pwem.objects import SetOfParticlesFlex

    from pcainit.protocols.particle_input import read_coordinates
    program = _program(package, constant)
    _, z = _flexible_set(scipion, tmp_path / "flex.sqlite", program, states)
    again = SetOfParticlesFlex(filename=str(tmp_path / "flex.sqlite"))
    again.loadAllProperties()
    assert again.getFlexInfo().getProgName() == program
    ids = np.array(sorted(again.getIdSet()))
    np.testing.assert_allclose(read_coordinates(again, ids), z, rtol=1e-5)
    np.testing.assert_allclose(read_coordinates(again, ids[::-3]), z[::-3], rtol=1e-5)


def _registered(scipion, states):
    """A flexibility set as the output of a run."""
    from pwem.protocols import ProtUserSubSet
    run = scipion.project.newProtocol(ProtUserSubSet)
    scipion.project.saveProtocol(run)
    run.makePathsAndClean()
    particles, _ = _flexible_set(scipion, run._getPath("flex.sqlite"), "CryoDRGN", states)
    run._defineOutputs(outputParticles=particles)
    scipion.project.saveProtocol(run)
    return run


def test_volumes_from_latent_coordinates(scipion, states):
    from pcainit.protocols import PcaInitProtLatents
    protocol = scipion.project.newProtocol(PcaInitProtLatents, resolution=24.0)
    _point(protocol.inputParticles, _registered(scipion, states), "outputParticles")
    assert protocol.validate() == []
    scipion.run(protocol)
    sizes = [item.getSize() for item in protocol.outputClasses]
    assert len(sizes) == 3 and sum(sizes) == len(states)
    np.testing.assert_allclose(sizes, np.bincount(states), atol=0.01 * len(states))
    assert protocol.outputVolumes.getSamplingRate() == SAMPLING
    assert len({volume.getFileName() for volume in protocol.outputVolumes}) == 3
    for item, k in zip(protocol.outputClasses, range(3)):
        ids = np.array(sorted(item.getIdSet()))
        assert (states[ids - 1] == k).mean() > 0.98
    protocol.how.set(1)
    protocol.along.set(4)
    assert "Coordinate is 4, but the particles have 3" in " ".join(protocol._validate())
    protocol.along.set(2)
    protocol.numberOfClasses.set(2)
    assert protocol.validate() == []
    scipion.run(protocol)
    assert protocol.outputVolumes.getSize() == 2


def test_plain_particles_need_a_file(scipion, states, tmp_path):
    from pcainit.protocols import PcaInitProtLatents
    protocol = scipion.project.newProtocol(PcaInitProtLatents, resolution=24.0)
    _point(protocol.inputParticles, scipion.imported, "outputParticles")
    assert "carry no latent coordinates" in " ".join(protocol._validate())
    protocol.coordinatesFile.set(str(tmp_path / "J7_particles.cs"))
    assert "does not exist" in " ".join(protocol._validate())
    table = np.zeros(len(states), [("uid", "u8"), ("components_mode_0/value", "f4")])
    table["components_mode_0/value"] = np.random.default_rng(0).normal(4 * (states == 0), 0.5)
    with open(tmp_path / "J7_particles.cs", "wb") as file:
        np.save(file, table)
    assert protocol.validate() == []
    scipion.run(protocol)
    assert protocol.outputVolumes.getSize() == 2


def test_our_own_coordinates(scipion):
    """A run of pca initial volumes is a source like any other."""
    from pcainit.protocols import PcaInitProtLatents
    run = scipion.run(scipion.new_volumes(method=0, autoClasses=False, numberOfClasses=3,
                                          noLocalSearch=True, resolution=24.0))
    protocol = scipion.project.newProtocol(PcaInitProtLatents, resolution=24.0,
                                           autoClasses=False, numberOfClasses=2)
    _point(protocol.inputParticles, run, "outputParticles")
    assert protocol.validate() == []
    scipion.run(protocol)
    assert protocol.outputVolumes.getSize() == 2
