"""One more volume of chosen particles: against truth, by command, and in Scipion."""

# SPDX-License-Identifier: GPL-3.0-or-later
import csv

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.tests.conftest import PARTICLES, SAMPLING

STATE = 2  # of the simulated set: 20 % of the particles


@pytest.fixture(scope="module")
def states(simulated_set):
    """True state of each particle."""
    with open(simulated_set / "truth" / "truth.csv", newline="") as file:
        return np.array([int(row["class"]) for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def work(simulated_set, tmp_path_factory):
    """Work folder with the first two stages of the default method."""
    folder = tmp_path_factory.mktemp("chosen") / "work"
    for words in (["prepare", str(simulated_set / "particles.star")], ["reconstruct"]):
        assert main([*words, "--work", str(folder), "--resolution", "24"]) == 0
    return folder


def _difference(simulated_set, k):
    """True difference of a state from the mean of all."""
    maps = [mrcfile.read(simulated_set / "truth" / ("class%02d.mrc" % n)) for n in range(3)]
    return maps[k] - np.average(maps, axis=0, weights=(0.5, 0.3, 0.2))


def test_volume_shows_the_state_of_its_particles(simulated_set, states, work, tmp_path, capsys):
    rows = tmp_path / "rows.txt"
    rows.write_text(
        "# row image\n"
        + "".join("%d anything\n" % (row + 1) for row in np.flatnonzero(states == STATE))
    )
    out = tmp_path / "new" / "chosen.mrc"
    assert main(["select", "--work", str(work), "--rows", str(rows), "-o", str(out)]) == 0
    assert "chosen.mrc  %d particles" % (states == STATE).sum() in capsys.readouterr().out
    with mrcfile.open(out) as mrc:
        volume = mrc.data.copy()
        assert float(mrc.voxel_size.x) == pytest.approx(SAMPLING)
    with np.load(work / "reconstruct.npz") as stage:
        mean, mask = stage["consensus.mean"], stage["mask"]
    found = volume - mean if mean.shape == volume.shape else volume - _padded(mean, len(volume))
    for k in range(3):
        match = np.corrcoef(found.ravel(), _difference(simulated_set, k).ravel())[0, 1]
        assert (match > 0.5) if k == STATE else (match < 0.2)
    assert mask.max() <= 1


def _padded(volume, box):
    from pcainit.engine.geometry.grid import Grid

    return Grid(box, SAMPLING, 24.0).to_particle_box(volume)


@pytest.mark.parametrize(
    "text, said",
    [
        ("1\ntwo\n", "cannot be read"),
        ("", "Only 0 usable particles"),
        ("".join("%d\n" % n for n in range(1, 9)), "Only 8 usable particles"),
        ("0\n5\n", "numbered from 0"),
        ("%d\n" % (PARTICLES + 1), "the run has %d" % PARTICLES),
        ("99999999999999999999999\n", "cannot be read"),
    ],
)
def test_bad_rows(work, tmp_path, capsys, text, said):
    rows = tmp_path / "rows.txt"
    rows.write_text(text)
    assert (
        main(["select", "--work", str(work), "--rows", str(rows), "-o", str(tmp_path / "v.mrc")])
        == 2
    )
    assert said in capsys.readouterr().err and not (tmp_path / "v.mrc").exists()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"--work": "nowhere"}, "does not exist"),
        ({"-o": "volume.txt"}, "ends in .mrc"),
        ({"--rows": "nothing.txt"}, "cannot be read"),
        ({"--symmetry": "x9"}, "symmetry"),
        ({"--threads": "0"}, "threads is 0"),
    ],
)
def test_bad_options(work, tmp_path, capsys, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.txt").write_text("".join("%d\n" % n for n in range(1, 101)))
    words = dict({"--work": str(work), "--rows": "rows.txt", "-o": "v.mrc"}, **change)
    assert main(["select", *(word for pair in words.items() for word in pair)]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "v.mrc").exists()


# ------------------------------- In Scipion ---------------------------------


@pytest.fixture(scope="module")
def finished(scipion_session):
    """A finished run of the default method, without the search of regions."""
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    import os

    os.chdir(scipion_session.path)
    return scipion_session.run(
        scipion_session.new_volumes(
            method=0, autoClasses=False, numberOfClasses=3, noLocalSearch=True, resolution=24.0
        )
    )


def _run_of(scipion, finished, **values):
    from pcainit.protocols import PcaInitProtChosenVolume

    protocol = scipion.project.newProtocol(PcaInitProtChosenVolume, **values)
    protocol.inputRun.set(finished)
    return protocol


@pytest.mark.scipion
def test_a_subset_becomes_one_more_volume(scipion, finished):
    """As a user does: a class of the run, taken as particles."""
    from pcainit.viewers.subset import subset_protocol

    # The first two are about as large and may change places; the last one stands apart.
    wanted = [sorted(item.getIdSet()) for item in finished.outputClasses][-1]
    subset = scipion.run(subset_protocol(scipion.project, finished, np.array(wanted), "class 3"))
    ((name, chosen),) = subset.iterOutputAttributes()
    assert chosen.getSize() == len(wanted)
    protocol = _run_of(scipion, finished)
    protocol.inputParticles.set(subset)
    protocol.inputParticles.setExtended(name)
    assert protocol.validate() == []
    scipion.run(protocol)
    names = [volume.getFileName() for volume in protocol.outputVolumes]
    assert names[:3] == [volume.getFileName() for volume in finished.outputVolumes]
    assert names[3] == protocol.outputVolume.getFileName() and len(names) == len(set(names)) == 4
    assert protocol.outputVolumes.getSamplingRate() == SAMPLING
    new, old = mrcfile.read(names[3]), [mrcfile.read(name) for name in names[:3]]
    sizes = {item.getObjId(): item.getSize() for item in finished.outputClasses}
    mean = np.average(old, axis=0, weights=[sizes.get(k + 1, 0) for k in range(3)])
    match = [np.corrcoef((new - mean).ravel(), (volume - mean).ravel())[0, 1] for volume in old]
    assert int(np.argmax(match)) == 2 and match[2] > 0.85
    assert "%d chosen particles" % len(wanted) in "\n".join(protocol.summary())


@pytest.mark.scipion
def test_ids_from_the_viewer(scipion, finished):
    from pcainit.viewers.subset import volume_protocol

    ids = np.load(finished._inputIds())[10:200]
    protocol = volume_protocol(scipion.project, finished, ids, "some")
    assert protocol.getObjLabel() == "some" and protocol.validate() == []
    scipion.run(protocol)
    assert "190 chosen particles" in protocol.outputVolume.getObjComment()
    relations = scipion.project.mapper.getRelationsByCreator(protocol)
    assert len(relations) == 2


@pytest.mark.scipion
@pytest.mark.parametrize(
    "text, said",
    [
        ("", "No particles are chosen"),
        ("1 2 x", "cannot be read"),
        ("1 2 987654", "1 of the 3 chosen particles are not in the run"),
    ],
)
def test_bad_choices_are_refused(scipion, finished, tmp_path, text, said):
    (tmp_path / "ids.txt").write_text(text)
    protocol = _run_of(scipion, finished, idsFile=str(tmp_path / "ids.txt"))
    assert said in " ".join(protocol._validate())


@pytest.mark.scipion
def test_runs_that_cannot_serve_are_refused(scipion, finished, tmp_path):
    (tmp_path / "ids.txt").write_text("1 2 3")
    unfinished = scipion.new_volumes()
    scipion.project.saveProtocol(unfinished)
    protocol = _run_of(scipion, unfinished, idsFile=str(tmp_path / "ids.txt"))
    assert "is not finished" in " ".join(protocol._validate())
    protocol.inputRun.set(None)
    assert "choose a finished run" in " ".join(protocol._validate())
