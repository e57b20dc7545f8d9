"""The protocol in a scripted Scipion project: outputs, Continue, failures, what others accept."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
import time

import mrcfile
import numpy as np
import pytest

from pcainit.tests.conftest import PARTICLES, SAMPLING

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion

STAGES = ["prepare", "reconstruct", "components", "cluster", "class-volumes"]


@pytest.fixture(scope="module")
def finished(scipion_session):
    """A finished run of the batch method, each stage a process of its own."""
    os.chdir(scipion_session.path)
    return scipion_session.run(scipion_session.new_volumes(), processes=True)


@pytest.fixture
def stages(scipion):
    """Names of the stages that are run from now on."""
    scipion.stages.clear()
    return scipion.stages


def test_volumes(scipion, finished):
    volumes = finished.outputVolumes
    assert volumes.getSize() == 3
    assert volumes.getSamplingRate() == SAMPLING
    assert volumes.getDim() == (32, 32, 32)
    items = [volume.clone() for volume in volumes]
    assert [volume.getObjId() for volume in items] == [1, 2, 3]
    assert [volume.getClassId() for volume in items] == [1, 2, 3]
    names = {os.path.basename(volume.getFileName()) for volume in items}
    assert len(names) == 3 and all(name.endswith(".mrc") for name in names)
    for volume in items:
        assert volume.getSamplingRate() == SAMPLING and "particles" in volume.getObjComment()
        with mrcfile.open(volume.getFileName()) as mrc:
            assert mrc.data.shape == (32, 32, 32) and mrc.data.dtype == np.float32
            assert mrc.is_volume() and np.isfinite(mrc.data).all() and mrc.data.std() > 0
            assert float(mrc.voxel_size.x) == pytest.approx(SAMPLING)
        assert mrcfile.validate(volume.getFileName())


def test_classes_hold_each_particle_once(scipion, finished):
    summary = _summary(finished)
    ids = []
    for item in finished.outputClasses:
        assert item.getRepresentative().getFileName().endswith("class_%03d.mrc" % item.getObjId())
        assert item.getRepresentative().getSamplingRate() == SAMPLING
        assert item.hasAlignmentProj() and item.getSamplingRate() == SAMPLING
        assert item.getSize() == summary["class_sizes"][item.getObjId() - 1]
        ids += [particle.getObjId() for particle in item]
    assert sorted(ids) == sorted(scipion.imported.outputParticles.getIdSet())


def test_classes_are_matched_by_id(scipion, finished):
    """The class of each particle is that of the row of the engine's STAR file with its id."""
    from pcainit.io.particle_table import ParticleTable

    table = ParticleTable(finished._getExtraPath("result", "particles.star"))
    expected = dict(zip(table.text("rlnImageId"), table.text("rlnClassNumber")))
    found = {
        str(particle.getObjId()): str(item.getObjId())
        for item in finished.outputClasses
        for particle in item
    }
    assert found == expected and len(found) == PARTICLES


def test_components_and_variance(scipion, finished):
    assert finished.outputComponents.getSize() == 4
    assert finished.outputComponents.getSamplingRate() == SAMPLING
    assert finished.outputVarianceMap.getSamplingRate() == SAMPLING
    assert finished.outputVarianceMap.getDim() == (32, 32, 32)
    assert finished.outputComponents.getFileName() != finished.outputVolumes.getFileName()
    for name, kind in (("outputConsensus", "Volume"), ("outputMask", "VolumeMask")):
        output = getattr(finished, name)
        assert output.getClassName() == kind and output.getDim() == (32, 32, 32)
        assert output.getSamplingRate() == SAMPLING
    mask = mrcfile.read(finished.outputMask.getFileName())
    assert mask.min() >= 0 and mask.max() <= 1 and 0 < mask.mean() < 0.5


def test_every_output_was_announced(scipion, finished):
    announced = finished._possibleOutputs
    outputs = dict(finished.iterOutputAttributes())
    assert {"outputVolumes", "outputClasses", "outputComponents"} <= set(outputs)
    for name, output in outputs.items():
        assert type(output) is announced[name]


def test_source_relations(scipion, finished):
    relations = scipion.project.mapper.getRelationsByCreator(finished)
    parents = {relation["object_parent_id"] for relation in relations}
    children = {relation["object_child_id"] for relation in relations}
    assert parents == {scipion.imported.getObjId()}  # by pointer, not by object
    assert {relation["object_parent_extended"] for relation in relations} == {"outputParticles"}
    assert children == {output.getObjId() for _, output in finished.iterOutputAttributes()}


def test_information(scipion, finished):
    summary = "\n".join(finished.summary())
    assert _summary(finished)["verdict"] in summary and "%d particles" % PARTICLES in summary
    methods = " ".join(finished.getParsedMethods())
    assert "25 reconstructions of 40 random particles" in methods and "20 A" in methods
    assert len(finished.citations()) > 3


def test_relion_classification_accepts_the_volumes(scipion, finished):
    relion = pytest.importorskip("relion.protocols")
    for extended in ("outputVolumes", "outputVolumes.1"):
        protocol = scipion.project.newProtocol(
            relion.ProtRelionClassify3D, doGpu=False, numberOfClasses=3
        )
        _point(protocol.inputParticles, scipion.imported, "outputParticles")
        _point(protocol.referenceVolume, finished, extended)
        installation = protocol.validateInstallation()
        assert [error for error in protocol.validate() if error not in installation] == []
        assert protocol.referenceVolume.get() is not None


def test_cryosparc_classification_accepts_the_volumes(scipion, finished, monkeypatch):
    pytest.importorskip("cryosparc2.protocols", reason="scipion-em-cryosparc2 is not installed")
    from cryosparc2.protocols import protocol_cryosparc_new_3D_classification as module
    from pyworkflow.object import Pointer
    from pyworkflow.project import Manager

    monkeypatch.setattr(module, "cryosparcValidate", list)  # asks for a running server
    protocol = scipion.project.newProtocol(
        module.ProtCryoSparcNew3DClassification, class3D_N_K=3, class3D_init_mode=2
    )
    _point(protocol.inputParticles, scipion.imported, "outputParticles")
    for number in (1, 2, 3):
        protocol.refVolumes.append(Pointer(finished, extended="outputVolumes.%d" % number))
    scipion.project.saveProtocol(protocol)
    # As when it is executed: read from the project by a fresh process.
    protocol = Manager().loadProject("pcainit_tests").getProtocol(protocol.getObjId())
    installation = protocol.validateInstallation()
    assert [error for error in protocol.validate() if error not in installation] == []
    files = [volume.getFileName() for volume in protocol._getInputVolume()]
    assert files == [volume.getFileName() for volume in finished.outputVolumes]


def test_command_line_gives_the_same_volumes(scipion, simulated_set, tmp_path):
    """Poses, CTF and half-sets survive the way through Scipion."""
    from pcainit.cli.main import main

    protocol = scipion.run(scipion.new_volumes(method=2, particlesPerReconstruction=400))
    assert (
        main(
            [
                "run",
                str(simulated_set / "particles.star"),
                "-o",
                str(tmp_path / "out"),
                "--method",
                "simple",
                "--classes",
                "3",
                "--particles-per-reconstruction",
                "400",
            ]
        )
        == 0
    )
    for number, volume in enumerate(protocol.outputVolumes, 1):
        ours = mrcfile.read(volume.getFileName())
        theirs = mrcfile.read(tmp_path / "out" / "volumes" / ("class_%03d.mrc" % number))
        assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max()


def test_simple_method_has_no_components(scipion):
    protocol = scipion.run(
        scipion.new_volumes(method=2, numberOfClasses=2, particlesPerReconstruction=200)
    )
    assert protocol.outputVolumes.getSize() == 2
    assert not hasattr(protocol, "outputComponents")


# ------------------------------- Continue -----------------------------------


def test_continue_redoes_what_depends_on_a_changed_parameter(scipion, stages):
    protocol = scipion.run(scipion.new_volumes())
    assert stages == STAGES
    crops = os.stat(protocol._getExtraPath("work", "values.npy")).st_mtime_ns

    stages.clear()
    scipion.run(protocol)
    assert stages == []

    protocol.numberOfClasses.set(2)
    scipion.run(protocol)
    assert stages == ["cluster", "class-volumes"]
    assert protocol.outputVolumes.getSize() == 2
    assert protocol.outputClasses.getSize() == 2
    assert sorted(os.listdir(protocol._getExtraPath("result", "volumes"))) == [
        "class_001.mrc",
        "class_002.mrc",
    ]

    stages.clear()
    protocol.components.set(3)
    scipion.run(protocol)
    assert stages == ["components", "cluster", "class-volumes"]
    assert protocol.outputComponents.getSize() == 3

    stages.clear()
    protocol.seed.set(7)
    scipion.run(protocol)
    assert stages == STAGES[1:]
    assert os.stat(protocol._getExtraPath("work", "values.npy")).st_mtime_ns == crops

    stages.clear()
    protocol.resolution.set(25)
    scipion.run(protocol)
    assert stages == STAGES


def test_variance_map_alone_then_the_volumes(scipion, stages):
    """The quick look registers the map alone; continued, nothing before it is done again."""
    protocol = scipion.new_volumes(method=0, onlyVariance=True, noLocalSearch=True)
    scipion.run(protocol)
    assert [name for name, _ in protocol.iterOutputAttributes()] == ["outputVarianceMap"]
    assert os.path.exists(protocol.outputVarianceMap.getFileName())
    assert any("half-sets" in line for line in protocol._summary())
    assert stages == ["prepare", "reconstruct", "components", "variance"]
    from pcainit.viewers import PcaInitViewerInitialVolumes

    viewer = PcaInitViewerInitialVolumes(project=scipion.project, protocol=protocol)
    viewer.setProtocol(protocol)
    assert viewer._names[viewer.figure.get()] == "variance" and viewer.getParam("report") is None
    stages.clear()
    protocol.onlyVariance.set(False)
    scipion.run(protocol)
    assert stages == ["cluster", "class-volumes"]
    assert protocol.outputVolumes.getSize() >= 1 and protocol.outputVarianceMap is not None


def test_continue_drops_outputs_of_the_other_method(scipion):
    protocol = scipion.run(scipion.new_volumes())
    assert protocol.outputComponents.getSize() == 4
    protocol.method.set(2)
    scipion.run(protocol)
    assert not hasattr(protocol, "outputComponents")
    assert "outputComponents" not in dict(protocol.iterOutputAttributes())


def test_continue_notices_changed_images(scipion, stages):
    protocol = scipion.run(scipion.new_volumes())
    stack = scipion.imported.outputParticles.getFirstItem().getFileName()
    before = os.stat(stack)
    stages.clear()
    try:
        os.utime(stack, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        scipion.run(protocol)
        assert stages == STAGES
    finally:
        os.utime(stack, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "lost, redone",
    [
        ("work/cluster.npz", ["cluster", "class-volumes"]),
        ("work/values.npy", STAGES),
        ("input_particles.star", STAGES),
        ("result/volumes/class_002.mrc", ["class-volumes"]),
    ],
)
def test_continue_redoes_what_lost_files_lead_to(scipion, stages, lost, redone):
    protocol = scipion.run(scipion.new_volumes())
    os.remove(protocol._getExtraPath(*lost.split("/")))
    stages.clear()
    scipion.run(protocol)
    assert stages == redone


def test_intermediate_data_can_be_dropped(scipion):
    protocol = scipion.run(scipion.new_volumes(keepIntermediate=False))
    assert not os.path.exists(protocol._getExtraPath("work"))
    assert os.path.exists(protocol.outputVolumes.getFirstItem().getFileName())


# ------------------------------- Failures -----------------------------------


def test_vanished_job_is_noticed(scipion, monkeypatch):
    """Scipion does not look at the exit status of cluster jobs; old results must not pass."""
    protocol = scipion.run(scipion.new_volumes())
    protocol.numberOfClasses.set(4)
    monkeypatch.setattr(scipion, "run_engine", lambda *args, **options: None)
    scipion.run(protocol, check=False)
    assert protocol.isFailed()
    assert "step 'cluster' ended without a result" in protocol.getErrorMessage()
    monkeypatch.undo()
    os.chdir(scipion.path)
    scipion.run(protocol)
    assert protocol.outputVolumes.getSize() == 4


@pytest.mark.parametrize("late", [0, -300, 300])
def test_failed_cluster_job_is_quoted(scipion, monkeypatch, late):
    """The error is the last line the job itself wrote, not its progress; its clock may be wrong."""
    protocol = scipion.new_volumes()

    def job(*args, **options):
        with open(protocol._getLogsPath("12-2-1.err"), "w") as file:
            file.write(
                "prepare: 40 %\nslurmstepd: error: Detected 1 oom_kill event\n\nprepare: 50 %\n"
            )
        os.utime(file.name, (time.time() + late,) * 2)

    monkeypatch.setattr(scipion, "run_engine", job)
    scipion.run(protocol, check=False)
    assert protocol.isFailed()
    assert protocol.getErrorMessage().endswith(": slurmstepd: error: Detected 1 oom_kill event")
    monkeypatch.setattr(scipion, "run_engine", lambda *args, **options: None)
    scipion.run(protocol, check=False)  # what an earlier job wrote is not said again
    assert "ended without a result" in protocol.getErrorMessage()


@pytest.mark.slow
def test_engine_error_reaches_the_user(scipion, simulated_set, tmp_path):
    """As Scipion runs it, in processes of its own: a truncated stack gives one plain sentence."""
    for name in ("particles.star", "particles.mrcs"):
        (tmp_path / name).write_bytes((simulated_set / name).read_bytes())
    with open(tmp_path / "particles.mrcs", "r+b") as file:
        file.truncate(500000)
    protocol = scipion.new_volumes()
    _point(
        protocol.inputParticles,
        scipion.import_particles(tmp_path / "particles.star"),
        "outputParticles",
    )
    scipion.project.launchProtocol(protocol, wait=True)
    assert protocol.isFailed()
    message = protocol.getErrorMessage()
    assert "particles.mrcs" in message and "Traceback" not in message
    assert len(message.splitlines()) == 1 and "non-zero exit" not in message


# ------------------------------- Helpers ------------------------------------


def _summary(protocol):
    from pcainit.protocols.results import read_summary

    return read_summary(protocol._getExtraPath("result"))


def _point(pointer, protocol, extended):
    pointer.set(protocol)
    pointer.setExtended(extended)
