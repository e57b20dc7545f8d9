"""Given components in the form: pointers, what they become, Continue, and what is refused."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os

import mrcfile
import numpy as np
import pytest

from pcainit.io.maps import write_map
from pcainit.settings import Settings
from pcainit.tests.conftest import SAMPLING

pytestmark = pytest.mark.scipion

GIVEN_STAGES = ["components", "cluster", "class-volumes"]


@pytest.fixture
def given(scipion, simulated_set, tmp_path):
    """Two true differences as an imported set, without sampling rates in their headers."""
    from pwem.protocols import ProtImportVolumes

    states = [mrcfile.read(simulated_set / "truth" / ("class%02d.mrc" % k)) for k in range(3)]
    mean = np.average(states, axis=0, weights=(0.5, 0.3, 0.2))
    for k in (1, 2):
        write_map(tmp_path / ("change%d.mrc" % k), states[k] - states[0], 0)
    write_map(tmp_path / "whole" / "mean.mrc", mean, 0)
    return [
        scipion.run(
            scipion.project.newProtocol(
                ProtImportVolumes,
                filesPath=str(folder),
                filesPattern="*.mrc",
                samplingRate=SAMPLING,
            )
        )
        for folder in (tmp_path, tmp_path / "whole")
    ]


def _protocol(scipion, given, **values):
    values = dict(dict(method=0, noLocalSearch=True, resolution=24.0, givenUse=1), **values)
    protocol = scipion.new_volumes(**values)
    protocol.autoClasses.set(True)
    protocol.useGivenComponents.set(True)
    protocol.givenComponents.set(given[0])
    protocol.givenComponents.setExtended("outputVolumes")
    return protocol


def test_fixed_components_and_continue(scipion, given):
    protocol = _protocol(scipion, given)
    assert protocol.validate() == []
    scipion.stages.clear()
    scipion.run(protocol)
    assert protocol.outputComponents.getSize() == 2
    assert "taken at their word" in " ".join(protocol.summary())
    assert "were given" in " ".join(protocol._methods())
    assert "half-set cosine" not in protocol.outputComponents.getFirstItem().getObjComment()
    scipion.stages.clear()
    scipion.run(protocol)
    assert scipion.stages == []
    # Another file under the same name counts from the components on; so does the use.
    path = protocol._givenRows("given_components")[0][0]
    before = os.stat(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    scipion.run(protocol)
    assert scipion.stages == GIVEN_STAGES
    scipion.stages.clear()
    protocol.givenUse.set(0)
    scipion.run(protocol)
    assert scipion.stages == GIVEN_STAGES
    assert "started from the given components" in " ".join(protocol.summary())
    scipion.stages.clear()
    protocol.useGivenComponents.set(False)  # alone makes the pointer count
    assert "set useGivenComponents to True, or leave it empty" in protocol._validate()[0]
    protocol.givenComponents.set(None)
    assert protocol._validate() == []
    scipion.run(protocol)
    assert scipion.stages == GIVEN_STAGES and "given" not in " ".join(protocol.summary())


def test_one_volume_and_its_mean(scipion, given, capsys):
    protocol = _protocol(scipion, given)
    protocol.givenComponents.set(given[1].outputVolume)
    protocol.givenComponents.setExtended("")
    protocol.useGivenMean.set(True)
    assert "Mean of the given components is empty: choose it" in protocol._validate()[0]
    protocol.givenMean.set(given[1].outputVolume)
    assert protocol.validate() == []
    from pcainit.protocols import form

    settings = form.settings(protocol)
    assert settings.given_mean.endswith("given_mean.txt") and len(settings.given_components) == 1
    scipion.run(protocol, check=False)  # the mean less itself is nothing
    assert "constant inside the mask once given_mean is subtracted" in capsys.readouterr().err
    # Of a method that has no use for them, the form hides them and nothing is said of them.
    protocol.method.set(1)
    protocol.autoClasses.set(False)
    assert form.settings(protocol).given_components == ()
    assert protocol.validate() == []


def test_what_does_not_fit_is_refused(scipion, given, tmp_path):
    from pwem.objects import SetOfVolumes, Volume

    protocol = _protocol(scipion, given)
    protocol.givenComponents.setExtended("")
    protocol.givenComponents.set(scipion.imported.outputParticles)
    label = Settings.fields()["given_components"]["label"]
    assert protocol._validate() == ["%s: this is a SetOfParticles, give a SetOfVolumes." % label]
    write_map(tmp_path / "long.mrc", np.zeros((4, 4, 6)), SAMPLING)
    for name, said in (("long.mrc", "no cubes (6 x 4 x 4)"), ("none.mrc", "is missing")):
        volume = Volume(location=str(tmp_path / name))
        volume.setSamplingRate(SAMPLING)
        protocol.givenComponents.set(volume)
        errors = protocol._validate()
        assert len(errors) == 1 and said in errors[0], errors
    protocol.givenComponents.set(SetOfVolumes(filename=":memory:"))
    assert "the set is empty" in " ".join(protocol._validate())
