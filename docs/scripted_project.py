"""A whole project without the graphical interface: import, initial volumes, what was found.

usage: scipion3 python docs/scripted_project.py PARTICLES.star [PROJECT]

PARTICLES.star is a RELION particle STAR file with poses and CTF.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import sys

import pyworkflow
from pyworkflow.project import Manager

from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import read_particles


def acquisition(star):
    """Fields of the import's form: it takes them from there, not from the STAR file."""
    particles = read_particles(ParticleTable(star))
    fields = dict(
        voltage=particles.ctf.voltage,
        amplitudeContrast=particles.ctf.amplitude_contrast,
        sphericalAberration=particles.ctf.spherical_aberration,
    )
    for name, column in fields.items():
        if len(set(column)) > 1:
            sys.exit("The particles differ in %s: import those of each value by themselves." % name)
    return dict(
        {name: float(column[0]) for name, column in fields.items()}, samplingRate=particles.sampling
    )


def main(star, name="initial_volumes", **values):
    """Make the project, run both protocols to their end, and return the second.

    Parameters
    ----------
    star : str
        Particles with poses and CTF.
    name : str
        Of the new project.
    **values
        Fields of the protocol's form, for instance ``resolution=15``.
    """
    star = os.path.abspath(star)
    pyworkflow.Config.setDomain("pwem")
    domain = pyworkflow.Config.getDomain()
    importing = domain.findClass("ProtImportParticles")
    volumes = domain.findClass("PcaInitProtInitialVolumes")

    project = Manager().createProject(name)
    project.load(chdir=True)  # paths in a project are relative to its folder
    first = project.newProtocol(
        importing,
        importFrom=importing.IMPORT_FROM_RELION,
        starFile=star,
        magnification=50000,
        haveDataBeenPhaseFlipped=False,
        **acquisition(star),
    )
    project.launchProtocol(first, wait=True)
    first = project.getProtocol(first.getObjId())  # as it is now, with its outputs

    second = project.newProtocol(volumes, **values)  # fields that are not given: the defaults
    second.inputParticles.set(first)
    second.inputParticles.setExtended("outputParticles")
    errors = second.validate()
    if errors:
        sys.exit("\n".join(errors))
    project.launchProtocol(second, wait=True)
    second = project.getProtocol(second.getObjId())
    if not second.isFinished():
        sys.exit("The run failed: %s" % second.getErrorMessage())
    return second


def report(protocol):
    """Print what was found and where it is."""
    print("\n".join(protocol.summary()))
    for volume in protocol.outputVolumes.iterItems():
        print(volume.getFileName(), volume.getObjComment())
    # All figures of the report, for programs:
    with open(protocol._getExtraPath("result", "summary.json"), encoding="utf-8") as file:
        found = json.load(file)
    print(
        "%d certified components, %d classes, contrast varies by %.0f %%"
        % (
            found["significant_components"],
            found["classes"],
            100 * found["nuisance"]["contrast_sd"],
        )
    )
    # Each particle's latent coordinates, as flexibility viewers read them:
    particle = protocol.outputParticles.getFirstItem()
    print("particle %d: %s" % (particle.getObjId(), particle.getZFlex()))


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    report(main(*sys.argv[1:]))
