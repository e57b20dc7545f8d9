"""A new form while another run is selected: nothing that the user did not choose counts."""

# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from pcainit.tests.scipion.display import WINDOW, on_a_display

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = [pytest.mark.scipion, pytest.mark.display]

LOOK = (
    WINDOW
    + """
from pyworkflow.protocol import params

def held(protocol, optional):
    return [name for name, param in protocol.getDefinition().iterParams()
            if type(param) is params.PointerParam and param.allowsNull.get() == optional
            and getattr(protocol, name).hasValue()]

def look():
    domain = pyworkflow.Config.getDomain()
    classes = [name for name in domain.getProtocols() if name.startswith("PcaInit")]
    print("CLASSES", len(classes))
    for run in sys.argv[2:]:
        selected = window.project.getProtocol(int(run))
        for name in classes:
            protocol = window.project.newProtocol(domain.findClass(name))
            protocol.expertLevel.set(1)
            form = open_form(protocol, selected)
            found = held(protocol, True)
            form._checkAllChanges(toggleWidgetVisibility=False)     # as Save and Execute do
            print("FORM", run, name, "optional", found, held(protocol, True),
                  "needed", held(protocol, False))
            form.close()

look_and_leave(look)
"""
)


@pytest.fixture
def selected(scipion):
    """A finished run of ours with a mask, and one of RELION's with its volumes."""
    from pwem.objects import VolumeMask
    from relion.protocols import ProtRelionClassify3D

    ours = scipion.run(scipion.new_volumes())
    sampling = ours.outputVolumes.getSamplingRate()
    mask = VolumeMask(location=ours.outputVolumes.getFirstItem().getFileName())
    mask.setSamplingRate(sampling)
    ours._defineOutputs(extraMask=mask)
    theirs = scipion.project.newProtocol(ProtRelionClassify3D)
    scipion.project.saveProtocol(theirs)
    theirs.makePathsAndClean()
    volumes = theirs._createSetOfVolumes()
    volumes.setSamplingRate(sampling)
    for volume in ours.outputVolumes.iterItems():
        volumes.append(volume.clone())
    theirs._defineOutputs(outputVolumes=volumes)
    theirs.setFinished()
    scipion.project.mapper.store(theirs)
    scipion.project.mapper.commit()
    return [ours.getObjId(), theirs.getObjId(), scipion.imported.getObjId()]


def test_optional_pointers_stay_empty(scipion, selected, tmp_path):
    out = on_a_display(LOOK, tmp_path, *map(str, selected))
    assert "CLASSES 6" in out, out
    lines = [line for line in out.splitlines() if line.startswith("FORM")]
    assert len(lines) == 18, out
    ours, theirs, imported = (str(number) for number in selected)
    for line in lines:
        run = line.split()[1]
        # Only the particles that were chosen are taken from an import that is selected.
        if run != imported or "ChosenVolume" not in line:
            assert "optional [] []" in line, line
    # Scipion does fill what it finds fit: what is needed is filled from the selected import.
    assert any("Volumes" in line and "['inputParticles']" in line for line in lines), out


def test_a_script_that_forgets_the_question_is_told(scipion):
    """A pointer without its question's yes is refused, with the name of what to set."""
    from pwem.objects import SetOfVolumes, Volume

    from pcainit.protocols import PcaInitProtCompare

    protocol = scipion.new_volumes(method=0)
    protocol.givenComponents.set(SetOfVolumes(filename=":memory:"))
    protocol.givenMean.set(Volume(location="mean.mrc"))
    said = "\n".join(protocol._validate())
    assert "'Use given components?' is no: set useGivenComponents to True" in said
    assert "'Are they whole maps?' is no: set useGivenMean to True" in said
    compare = scipion.project.newProtocol(PcaInitProtCompare)
    volumes = SetOfVolumes(filename=":memory:")
    compare.inputSets.append(volumes)
    compare.truth.set(volumes)
    assert "set useTruth to True" in compare._validate()[0]
    compare.truth.set(None)
    compare.useTruth.set(True)
    assert "True volumes is empty: choose them" in compare._validate()[0]
