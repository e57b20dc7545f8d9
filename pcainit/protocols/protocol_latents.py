"""Scipion protocol: initial volumes from latent coordinates of any program."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os

import numpy as np
from pwem.objects import SetOfClasses3D, SetOfParticles, SetOfVolumes
from pwem.protocols import ProtInitialVolume
from pyworkflow.constants import BETA
from pyworkflow.protocol import params

from pcainit.errors import InputError, shorten
from pcainit.io.fingerprint import file_identity
from pcainit.protocols import convert, form, particle_input, results
from pcainit.protocols.base import PcaInitProtocol, class_name

MIXTURE, STEPS = range(2)


class PcaInitProtLatents(PcaInitProtocol, ProtInitialVolume):
    """Makes K initial volumes from the latent coordinates that another program gave to the
    particles: cryoDRGN, RECOVAR, HetSIREN and the other programs of Flexutils, cryoSPARC's 3D
    Flex or 3D Variability, or _pca initial volumes_ itself.

    *What it does*: the coordinates are clustered by a Gaussian mixture, or cut in even steps
    along one of them, and the particles of each cluster are reconstructed, each with its share of
    the cluster as weight, at the resolution of initial volumes.

    *What you get*: _outputVolumes_, the initial volumes, in the particles' box and sampling rate
    and on their greyscale; _outputClasses_, the particles by class; _outputVarianceMap_,
    _outputConsensus_ and _outputMask_. The
    coordinates are taken as they are: this protocol does not test whether they show structure.
    Junk is not looked for, and contrast and poses are taken as they are recorded: clean the
    particles before, or use _pca initial volumes_, which accounts for all of these.
    """

    _label = "latent coordinates to volumes"
    _devStatus = BETA
    _possibleOutputs = {
        "outputVolumes": SetOfVolumes,
        "outputClasses": SetOfClasses3D,
        **{name: kind for name, kind, _ in results.MAPS if name != "outputChangingPlaces"},
    }
    SETTINGS = (
        "resolution",
        "no_ctf",
        "invert_contrast",
        "normalise",
        "symmetry",
        "seed",
        "mask_threshold",
        "mask_near",
        "mask_far",
    )
    REFERENCES = ("Pedregosa2011", "delaRosaTrevin2016")

    # -------------------------- Form -----------------------------------------
    def _defineParams(self, definition):
        definition.addSection(label="Input")
        definition.addParam(
            "inputParticles",
            params.PointerParam,
            important=True,
            pointerClass="SetOfParticlesFlex, SetOfParticles",
            pointerCondition="hasAlignmentProj",
            label="Particles with coordinates",
            help="Particles with poses and CTF that carry latent coordinates (a "
            "flexibility set). Plain particles need a file of coordinates.",
        )
        definition.addParam(
            "coordinatesFile",
            params.FileParam,
            default="",
            allowsNull=True,
            label="Or a file of coordinates",
            help="Used in place of the set's own coordinates: an .npy or .npz "
            "array or a text table, with one row for each particle in the "
            "set's order, or the particles' .cs file of cryoSPARC's 3D "
            "Variability job (the plugin does not keep its coordinates). The "
            "rows of a .cs file are matched by the images' names, else by "
            "the defocus; the summary says so where neither is possible and "
            "they are taken in order.",
        )
        definition.addParam(
            "how",
            params.EnumParam,
            default=MIXTURE,
            display=params.EnumParam.DISPLAY_HLIST,
            choices=["clusters", "steps along one coordinate"],
            label="Volumes of",
            help="clusters: a Gaussian mixture, for separate states. steps along "
            "one coordinate: for a continuous movement.",
        )
        definition.addParam(
            "along",
            params.IntParam,
            default=1,
            condition="how == %d" % STEPS,
            label="Coordinate",
            help="Which one, counted from 1.",
        )
        form.add_classes(definition, "how == %d" % MIXTURE)
        form.add_setting(definition, "seed")
        definition.addSection(label="Reconstruction")
        self._addMask(
            definition,
            "Solvent or focus mask (values 0 to 1, any box and sampling "
            "rate). Outside it every volume carries the consensus. Without "
            "one, a soft mask is made from the consensus.",
        )
        form.add_setting(definition, "resolution")
        for name in ("no_ctf", "invert_contrast", "normalise", "symmetry"):
            form.add_setting(definition, name)
        for name in ("mask_threshold", "mask_near", "mask_far"):
            form.add_setting(definition, name, condition="inputMask is None")
        definition.addParallelSection(threads=2, mpi=0)

    def _auto(self):
        return self.how.get() == MIXTURE and self.autoClasses.get()

    def _along(self):
        return self.along.get() if self.how.get() == STEPS else 0

    # -------------------------- Steps ----------------------------------------
    def _insertAllSteps(self):
        path = self.coordinatesFile.get()
        digest = self._digest(
            convert.identity(self.inputParticles.get(), *self._maskFiles()),
            self._along(),
            file_identity([path]) if path else "",
        )
        for step in (self.writeInputStep, self.reconstructStep, self.createOutputStep):
            self._insert(step, digest)

    def writeInputStep(self, digest):
        """Write poses, CTFs and coordinates for the engine; images are read in place."""
        particles = self.inputParticles.get()
        ids = convert.write_star(particles, self._inputStar(), with_ctf=not self.noCtf.get())
        files = [self._inputStar(), self._inputIds()]
        arrays = [(self._inputIds(), ids)]
        if not self.coordinatesFile.get():
            files.append(self._inputCoordinates())
            arrays.append(
                (self._inputCoordinates(), particle_input.read_coordinates(particles, ids))
            )
        for path, values in arrays:
            self._saveArray(path, values)
        return files

    def reconstructStep(self, digest):
        """Cluster the coordinates and reconstruct each cluster."""
        self._runCommand(
            [self._summaryFile()],
            "latents",
            self._inputStar(),
            self.coordinatesFile.get() or self._inputCoordinates(),
            "-o",
            self._resultFolder(),
            "--data-dir",
            os.path.abspath("."),
            "--along",
            self._along(),
            *self._options(),
        )
        return [self._summaryFile()]

    def createOutputStep(self, digest):
        """Register the outputs."""
        results.forget(self)
        result = results.EngineResult(self._resultFolder(), np.load(self._inputIds()))
        sampling = self.inputParticles.get().getSamplingRate()
        outputs = dict(
            outputVolumes=results.fill_volumes(self._createSetOfVolumes(), result, sampling),
            outputClasses=results.fill_classes(
                self._createSetOfClasses3D(self.inputParticles), result, sampling
            ),
            **results.single_maps(result, sampling),
        )
        results.register(self, [self.inputParticles], **outputs)

    # -------------------------- Information ----------------------------------
    def _validate(self):
        particles = self.inputParticles.get()
        if not isinstance(particles, SetOfParticles):
            return [
                "Particles with coordinates is a %s: give a SetOfParticlesFlex."
                % class_name(particles)
            ]
        errors = self._validateMask() + particle_input.unfit(particles, not self.noCtf.get())
        path = self.coordinatesFile.get()
        if path and not os.path.isfile(path):
            errors.append("The file of coordinates %s does not exist." % shorten(path))
        if not path:
            try:
                dimensions = particle_input.dimensions(particles)
            except InputError as error:
                return errors + [str(error)]
            if self._along() and not 1 <= self._along() <= dimensions:
                errors.append(
                    "Coordinate is %d, but the particles have %d: give a number from 1 "
                    "to %d." % (self._along(), dimensions, dimensions)
                )
        return errors + self._validateSettings(particles)

    def _paragraph(self, found):
        return (
            "%s particles were grouped by their latent coordinates and the particles of each "
            "of %d groups reconstructed at %g A with pcainit %s, weighted by their shares."
            % (found["particles"], found["classes"], found["resolution"], found["version"])
        )

    # -------------------------- Files ----------------------------------------
    def _inputCoordinates(self):
        return self._getExtraPath("input_coordinates.npy")
