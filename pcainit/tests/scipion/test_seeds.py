"""The protocols for other programs' volumes and coordinates, inside a Scipion project."""

# SPDX-License-Identifier: GPL-3.0-or-later
import csv
import os

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

    return scipion.run(
        scipion.project.newProtocol(
            ProtImportVolumes, filesPath=str(folder), filesPattern="*.mrc", samplingRate=sampling
        )
    )


def _point(pointer, protocol, name):
    pointer.set(protocol)
    pointer.setExtended(name)


def _add(multi, protocol, name="outputVolumes"):
    from pyworkflow.object import Pointer

    multi.append(Pointer(protocol, extended=name))


@pytest.fixture(scope="module")
def imported(scipion_session, tmp_path_factory):
    """Two sets of volumes of three states, on different grids and greyscales."""
    os.chdir(scipion_session.path)
    folder, rng = tmp_path_factory.mktemp("volumes"), np.random.default_rng(0)
    shares = np.eye(3)[np.arange(15) % 3] + rng.normal(0, 0.02, (15, 3))
    write_set(folder / "one", shares, noise=0.3)
    write_set(
        folder / "two",
        shares,
        noise=0.3,
        seed=1,
        boxes=((60, 4.0),),
        scales=np.full((15, 2), (3, 0)),
    )
    return [
        _volumes(scipion_session, folder / "one"),
        _volumes(scipion_session, folder / "two", 4.0),
    ]


def test_pca_of_volumes(scipion, imported):
    from pwem.objects import SetOfVolumesFlex

    from pcainit.protocols import PcaInitProtVolumePca
    from pcainit.viewers import PcaInitViewerInitialVolumes

    assert PcaInitProtVolumePca in PcaInitViewerInitialVolumes._targets
    protocol = scipion.project.newProtocol(
        PcaInitProtVolumePca, alignGreyscale=True, autoClasses=False, numberOfClasses=3
    )
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
    same = np.array(classes).reshape(10, 3)  # the states take turns
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


def test_classes_count_by_their_size(scipion, imported, states):
    """The classes of several runs; with plain volumes beside them, weights must be given."""
    from pcainit.protocols import PcaInitProtLatents, PcaInitProtVolumePca, results

    made = _pwem(scipion, _coordinates(states))
    run = scipion.project.newProtocol(
        PcaInitProtLatents, resolution=24.0, autoClasses=False, numberOfClasses=3
    )
    _point(
        run.inputParticles, scipion.project.getProtocol(made.getObjParentId()), "outputParticles"
    )
    scipion.run(run)
    protocol = scipion.project.newProtocol(
        PcaInitProtVolumePca, resolution=24.0, autoClasses=False, numberOfClasses=3
    )
    _add(protocol.inputVolumes, run, "outputClasses")
    assert protocol.validate() == []
    scipion.run(protocol)
    weights = results.read_summary(protocol._resultFolder())["weights"]
    assert weights == [item.getSize() for item in run.outputClasses]
    assert len(set(weights)) == 3 and protocol.outputVolumes.getSize() == 3
    _add(protocol.inputVolumes, imported[0])
    assert "cannot be weighed together" in " ".join(protocol._validate())


def test_bad_volumes_are_refused(scipion, imported, tmp_path):
    from pcainit.protocols import PcaInitProtVolumePca

    (tmp_path / "weights.txt").write_text("1 2 3")
    protocol = scipion.project.newProtocol(
        PcaInitProtVolumePca, weightsFile=str(tmp_path / "weights.txt")
    )
    _add(protocol.inputVolumes, imported[0])
    assert "3 numbers for 15 volumes" in " ".join(protocol._validate())
    (tmp_path / "weights.txt").write_text("1 -2")
    assert "not positive" in " ".join(protocol._validate())
    protocol.weightsFile.set("")
    protocol.resolution.set(-1)
    assert "resolution is -1" in " ".join(protocol._validate())


def test_comparison(scipion, imported):
    from pcainit.protocols import PcaInitProtCompare

    protocol = scipion.project.newProtocol(PcaInitProtCompare)
    for one in imported:
        _add(protocol.inputSets, one)
    protocol.useTruth.set(True)
    _point(protocol.truth, imported[0], "outputVolumes")
    assert protocol.validate() == []
    scipion.run(protocol)
    text = "\n".join(protocol.summary())
    assert text.count("agreement with the truth") == 3 and "15 volumes" in text
    assert "times their noise" not in text  # which imported volumes do not tell
    assert "*1 pwem - import volumes* and *2 pwem - import volumes*: 0.97 to 0.99 (15)" in text
    import pyworkflow

    from pcainit.viewers import PcaInitViewerCompare

    assert (
        pyworkflow.Config.getDomain().findViewers(protocol, "tkinter")[0].__name__
        == "PcaInitViewerCompare"
    )
    viewer = PcaInitViewerCompare(project=scipion.project, protocol=protocol)
    viewer.setProtocol(protocol)
    assert len(viewer._names) == 4
    for number in range(4):
        viewer.figure.set(number)
        (view,) = viewer._getVisualizeDict()["figure"]("figure")
        assert view.figure.axes
    (view,) = viewer._getVisualizeDict()["page"]("page")
    assert view.uri.endswith("comparison.html")
    empty = scipion.project.newProtocol(PcaInitProtCompare)
    scipion.project.saveProtocol(empty)
    viewer = PcaInitViewerCompare(project=scipion.project, protocol=empty)
    viewer.setProtocol(empty)
    assert "no results" in viewer.getParam("nothing").label.get()
    assert "at least one" in " ".join(empty._validate())


# ------------------------------- Coordinates --------------------------------


def _coordinates(states, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([[0, 0, 0], [4, 0, 0], [0, 5.0, 1]])[states] + rng.normal(
        0, 0.6, (len(states), 3)
    )


def _saved(scipion, protocol):
    scipion.project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    return protocol


def _with_particles(scipion, protocol):
    _point(protocol.inputParticles, scipion.imported, "outputParticles")
    return _saved(scipion, protocol)


def _pwem(scipion, z, program="CryoDRGN"):
    """A set made of Scipion's own classes, which the plugins' protocols use."""
    from pwem.objects import ParticleFlex, SetOfParticlesFlex
    from pwem.protocols import ProtUserSubSet

    run = _saved(scipion, scipion.project.newProtocol(ProtUserSubSet))
    source = scipion.imported.outputParticles
    out = SetOfParticlesFlex(filename=str(run._getPath("flex.sqlite")), progName=program)
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
    run._defineOutputs(outputParticles=out)
    scipion.project.saveProtocol(run)
    return out


def _cryodrgn(scipion, z):
    """The output step of its protocol, on a z.pkl as the program leaves it."""
    import pickle

    protocols = pytest.importorskip("cryodrgn.protocols", reason="scipion-em-cryodrgn is missing")
    run = _with_particles(scipion, scipion.project.newProtocol(protocols.CryoDrgnProtTrain))
    run._createFilenameTemplates()
    path = run._getFileName("z_final")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        pickle.dump(z, file)
    run.createOutputStep()
    return run.Particles


def _recovar(scipion, z):
    """Its reader of embeddings."""
    convert = pytest.importorskip("recovar.convert", reason="scipion-em-recovar is missing")
    from pwem.objects import SetOfParticlesFlex
    from pwem.protocols import ProtUserSubSet

    run = _saved(scipion, scipion.project.newProtocol(ProtUserSubSet))
    source = scipion.imported.outputParticles
    out = SetOfParticlesFlex.create(run._getPath(), suffix="z", progName="recovar")
    out.copyInfo(source)
    np.save(run._getExtraPath("z.npy"), z)
    convert.readEmbedding(out, source, run._getExtraPath("z.npy"))
    out.write()
    return out


def _flexutils(scipion, z):
    """Its protocol that gives coordinates to other particles."""
    module = pytest.importorskip(
        "flexutils.protocols.protocol_associate_flex_space_to_particles",
        reason="scipion-em-flexutils or scipion-em-xmipp is missing",
    )
    run = scipion.project.newProtocol(module.ProtFlexAssociateSpace)
    run.particlesFlex.set(_pwem(scipion, z, "HetSIREN"))
    _point(run.particles, scipion.imported, "outputParticles")
    _saved(scipion, run)._createOutputStep()
    return run.flexParticles


def _cryosparc2(scipion, z):
    """The output step of 3D Flex training, on the files of a job; no server is asked."""
    pytest.importorskip("cryosparc2", reason="scipion-em-cryosparc2 is missing")
    from cryosparc2.protocols.protocol_cryosparc_3D_flex_data_prepare import (
        ProtCryoSparc3DFlexDataPrepare,
    )
    from cryosparc2.protocols.protocol_cryosparc_3D_flex_training import ProtCryoSparc3DFlexTraining
    from pyworkflow.object import String

    before = _with_particles(scipion, scipion.project.newProtocol(ProtCryoSparc3DFlexDataPrepare))
    run = scipion.project.newProtocol(ProtCryoSparc3DFlexTraining)
    run.input3DFlexDataPrepareProt.set(before)
    _saved(scipion, run)
    folder = os.path.abspath(run._getTmpPath("J9"))
    os.makedirs(folder)
    table = np.zeros(
        len(z),
        [("uid", "u8")]
        + [
            field
            for k in range(z.shape[1])
            for field in (
                ("components_mode_%d/component" % k, "u4"),
                ("components_mode_%d/value" % k, "f4"),
            )
        ],
    )
    for k, column in enumerate(z.T):
        table["components_mode_%d/value" % k] = column
    for name in ("J9_latents_000.cs", "J9_train_checkpoint_0.cs", "J9_train_checkpoint_0.tar"):
        with open(os.path.join(folder, name), "wb") as file:
            np.save(file, table)
    run.projectDir, run.projectName = String(os.path.dirname(folder)), String("P1")
    run.workSpaceName, run.run3DFlexTrainJob = String("W1"), String("J9")
    run._initializeUtilsVariables = lambda: None
    run.createOutputStep()
    (output,) = [value for _, value in run.iterOutputAttributes()]
    return output


# Each by the plugin's own code.  Xmipp's plugin writes no such sets: HetSIREN's and Zernike3D's
# protocols are flexutils'.
PLUGINS = [_pwem, _cryodrgn, _recovar, _flexutils, _cryosparc2]


@pytest.mark.parametrize("make", PLUGINS, ids=[make.__name__[1:] for make in PLUGINS])
def test_sets_of_other_plugins_are_read(scipion, states, tmp_path, make):
    from pwem.objects import SetOfParticlesFlex

    from pcainit.protocols import PcaInitProtLatents, convert, particle_input

    z = _coordinates(states)
    made = make(scipion, z)
    path = made.getFileName()
    made.close()
    again = SetOfParticlesFlex(filename=path)
    again.loadAllProperties()
    ids = np.array(sorted(again.getIdSet()))
    np.testing.assert_allclose(particle_input.read_coordinates(again, ids), z, rtol=1e-5)
    np.testing.assert_allclose(
        particle_input.read_coordinates(again, ids[::-3]), z[::-3], rtol=1e-5
    )
    protocol = scipion.project.newProtocol(PcaInitProtLatents, resolution=24.0)
    protocol.inputParticles.set(again)
    assert protocol._validate() == []
    np.testing.assert_array_equal(
        convert.write_star(again, str(tmp_path / "p.star"), with_ctf=True), ids
    )


def test_volumes_from_latent_coordinates(scipion, states):
    from pcainit.protocols import PcaInitProtLatents

    protocol = scipion.project.newProtocol(PcaInitProtLatents, resolution=24.0)
    made = _pwem(scipion, _coordinates(states))
    _point(
        protocol.inputParticles,
        scipion.project.getProtocol(made.getObjParentId()),
        "outputParticles",
    )
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

    run = scipion.run(
        scipion.new_volumes(
            method=0, autoClasses=False, numberOfClasses=3, noLocalSearch=True, resolution=24.0
        )
    )
    protocol = scipion.project.newProtocol(
        PcaInitProtLatents, resolution=24.0, autoClasses=False, numberOfClasses=2
    )
    _point(protocol.inputParticles, run, "outputParticles")
    assert protocol.validate() == []
    scipion.run(protocol)
    assert protocol.outputVolumes.getSize() == 2
