"""Scipion protocol: particles with poses from a STAR file, which is all that it asks for."""

# SPDX-License-Identifier: GPL-3.0-or-later
import importlib.util
import os

import pyworkflow.utils as pwutils
from pwem import Domain
from pwem.objects import SetOfMicrographs, SetOfParticles
from pwem.protocols import EMProtocol
from pyworkflow.constants import BETA
from pyworkflow.protocol import params

from pcainit.errors import InputError
from pcainit.io.fingerprint import file_identity
from pcainit.io.image_optics import pixel_sizes
from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import read_particles
from pcainit.protocols.scheduled import FailsWhenRefused

# Scipion's importer asks for these; they stand in the file, and the form does not show them.
ACQUISITION = {
    "voltage": ("rlnVoltage", 300.0),
    "sphericalAberration": ("rlnSphericalAberration", 2.7),
    "amplitudeContrast": ("rlnAmplitudeContrast", 0.1),
}
MAGNIFICATION = 10000  # Scipion wants one; RELION's files have none, and nothing depends on it
NEEDS_RELION = "Scipion's plugin for RELION (scipion-em-relion) reads STAR files: install it."


class PcaInitProtImport(FailsWhenRefused, EMProtocol):
    """Imports the particles of a 3D refinement from RELION's STAR file. Sampling rate, voltage,
    spherical aberration and amplitude contrast are read from the file and need not be known.

    The file is checked as *pca initial volumes* will need it, before anything is imported: its
    poses, its CTFs, and that all image stacks are there. The images stay where they are.

    Scipion's own *import particles* takes more kinds of files, and asks for these values.
    """

    _label = "import posed particles"
    _devStatus = BETA
    _possibleOutputs = {"outputParticles": SetOfParticles, "outputMicrographs": SetOfMicrographs}

    # -------------------------- Form -----------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "starFile",
            params.FileParam,
            important=True,
            label="Particles (STAR file)",
            help="The particles of a 3D refinement, RELION 3.0 or newer: run_data.star, or part "
            "of it. Image names must be relative, as RELION writes them; they are looked for from "
            "the file's folder and the folders above it.",
        )
        form.addParam(
            "copyFiles",
            params.BooleanParam,
            default=False,
            expertLevel=params.LEVEL_ADVANCED,
            label="Copy the images?",
            help="Yes copies the stacks into the project. No links them, which takes no time "
            "and no disk.",
        )
        # What RELION's plugin asks of an import, and what the summary says of the file.
        form.addHidden("haveDataBeenPhaseFlipped", params.BooleanParam, default=False)
        form.addHidden("ignoreIdColumn", params.BooleanParam, default=False)
        form.addHidden("samplingRate", params.FloatParam, default=1.0)
        for name, (_, default) in ACQUISITION.items():
            form.addHidden(name, params.FloatParam, default=default)

    # -------------------------- Steps ----------------------------------------
    def _insertAllSteps(self):
        path = self._path()
        self._insertFunctionStep(
            self.importStep, path, file_identity([path]), self.copyFiles.get(), needsGPU=False
        )

    def importStep(self, path, identity, copied):
        """Read the acquisition, then let RELION's plugin import."""
        table = ParticleTable(path)
        self.samplingRate.set(float(pixel_sizes(table)[0]))
        for name, (label, default) in ACQUISITION.items():
            getattr(self, name).set(float(table.numbers(label, default)[0]))
        importer = Domain.importFromPlugin(
            "relion.convert", "RelionImport", errorMsg=NEEDS_RELION, doRaise=True
        )
        importer(self, path).importParticles()
        self._store()

    def getCopyOrLink(self):
        """How RELION's plugin brings a file into the project."""
        return pwutils.copyFile if self.copyFiles else pwutils.createAbsLink

    def setSamplingRate(self, images):
        """Give a set the file's sampling rate."""
        images.setSamplingRate(self.samplingRate.get())

    def fillAcquisition(self, acquisition):
        """Give a set the file's acquisition; rows of other optics groups have their own."""
        acquisition.setVoltage(self.voltage.get())
        acquisition.setSphericalAberration(self.sphericalAberration.get())
        acquisition.setAmplitudeContrast(self.amplitudeContrast.get())
        acquisition.setMagnification(MAGNIFICATION)

    # -------------------------- Information ----------------------------------
    def _path(self):
        return os.path.abspath((self.starFile.get() or "").strip())

    def _validate(self):
        if not (self.starFile.get() or "").strip():
            return ["Particles (STAR file) is empty: choose the particles of a 3D refinement."]
        try:
            table = ParticleTable(self._path())
            read_particles(table)
        except InputError as error:
            return [str(error)]
        if importlib.util.find_spec("relion") is None:
            return [NEEDS_RELION]
        names = table.text("rlnImageName")
        absolute = next((name for name in names if name.split("@")[-1].startswith("/")), None)
        if absolute is not None:
            return [
                "%s names images by their whole path (%s), which Scipion's import does not take: "
                "make the names relative to a folder at or above the file's."
                % (self._path(), absolute)
            ]
        return []

    def _summary(self):
        if not hasattr(self, "outputParticles"):
            return ["The particles are not imported yet."]
        return [
            "%d particles from %s" % (self.outputParticles.getSize(), self.starFile.get()),
            "From the file: %g Å per pixel, %g kV, spherical aberration %g mm, amplitude "
            "contrast %g"
            % (
                self.samplingRate.get(),
                self.voltage.get(),
                self.sphericalAberration.get(),
                self.amplitudeContrast.get(),
            ),
        ]

    def _methods(self):
        return []
