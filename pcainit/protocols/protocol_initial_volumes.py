"""Scipion protocol: initial volumes for 3D classification, by principal component analysis."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os

import numpy as np
from pwem.objects import SetOfClasses3D, SetOfParticles, SetOfParticlesFlex, SetOfVolumes, Volume
from pwem.protocols import ProtInitialVolume
from pyworkflow.constants import BETA

from pcainit import checks
from pcainit.errors import InputError
from pcainit.io.atomic import write_text
from pcainit.io.fingerprint import file_identity
from pcainit.pipeline.stage_order import COMMANDS, STAGES, part_name, stage_digest
from pcainit.protocols import convert, describe, form, particle_input, results
from pcainit.protocols.base import PcaInitProtocol, class_name
from pcainit.protocols.volume_lists import VOLUME_SETS, volume_rows, write_list
from pcainit.settings import Settings

# Known before the run, so that other protocols can be wired to them.
OUTPUTS = {
    "outputVolumes": SetOfVolumes,
    "outputClasses": SetOfClasses3D,
    "outputComponents": SetOfVolumes,
    **{name: kind for name, kind, _ in results.MAPS},
    "outputParticles": SetOfParticlesFlex,
}


class PcaInitProtInitialVolumes(PcaInitProtocol, ProtInitialVolume):
    """Makes K different initial volumes for 3D classification from particles whose poses are
    known, for instance from a consensus refinement.

    *What it does*: every image is read once and cropped in Fourier space to the resolution of
    the initial volumes (20 Å by default), so that everything after that takes seconds to
    minutes. The principal components of the structure's variability are found on the individual
    particles, with contrast and pose errors accounted for. Components that two halves of the
    data do not agree on are recognised as noise. The particles are then clustered along the
    components, each with its own uncertainty, and each cluster becomes one volume.

    *What you get*: _outputVolumes_, the initial volumes, one file each, in the box and sampling
    rate of the particles and on their greyscale; _outputClasses_, the particles by class;
    _outputComponents_, the eigenvolumes; _outputVarianceMap_, which shows where the structure
    varies; _outputConsensus_, the mean of all; _outputMask_, the mask that was used;
    _outputChangingPlaces_, a mask of the small places that change, where there are any; and
    _outputParticles_, the particles with their latent coordinates. The summary says in words
    whether there is any heterogeneity beyond noise.

    *What to do next*: give _outputVolumes_ to a 3D classification as references, with as many
    classes as there are volumes, and _outputMask_ as its mask. In RELION answer _Consider previous
    alignment?_ with yes and _Perform image alignment?_ with no, lower the initial low-pass filter
    to the resolution used here (its default of 60 Å would wipe the differences out), limit the
    E-step to it too (small classes lose particles otherwise), and say that the references are on
    the absolute greyscale (unless the CTF was left uncorrected). In cryoSPARC choose the
    initialisation mode _input_ and add the volumes one by one.

    *Methods*:

    - _particles_ does all of the above.

    - _batches_ is what cryoSPARC calls PCA mode: PCA and a Gaussian mixture of reconstructions of
    random batches.

    - _simple_ reconstructs one random subset of the particles for each class.
    """

    _label = "pca initial volumes"
    _devStatus = BETA
    _possibleOutputs = OUTPUTS

    # -------------------------- Form -----------------------------------------
    def _defineParams(self, formDefinition):
        form.define(formDefinition)

    def _settings(self):
        """The engine's settings from the form; raises InputError."""
        return form.settings(self)

    # -------------------------- Steps ----------------------------------------
    def _insertAllSteps(self):
        # A step is redone by "Continue" only if its arguments change, so each gets a digest of
        # everything that its result depends on.
        settings, identity, digests = self._settings(), "", []
        for stage in STAGES:
            identity += self._filesOf(stage, settings)
            digests.append(stage_digest(settings, stage, identity))
        written = self._insert(self.writeInputStep, digests[0])
        self._insertReading(written, digests[0])
        self._insert(self.reconstructStep, digests[1])
        self._insert(self.componentsStep, digests[2])
        if form.only_variance(self):
            self._insert(self.varianceStep, digests[2])
            return
        self._insert(self.clusterStep, digests[3])
        self._insert(self.volumesStep, digests[4])
        self._insert(self.createOutputStep, digests[4])

    def _insertReading(self, written, digest):
        """The images are read in one go, or in parts that wait for nothing but their list."""
        jobs = self.readingJobs.get()
        if jobs == 1:
            self._insert(self.prepareStep, digest)
            return
        parts = [
            self._insert(self.readPartStep, digest, number, jobs, prerequisites=[written])
            for number in range(1, jobs + 1)
        ]
        self._insert(self.joinPartsStep, digest, jobs, prerequisites=parts)

    def setStepsExecutor(self, executor=None):
        """Let the queue have all reading jobs at once; Scipion would count them as threads."""
        super().setStepsExecutor(executor)
        if self.useQueueForSteps():
            self._stepsExecutor.numberOfProcs = max(1, self.readingJobs.get())

    def writeInputStep(self, digest):
        """Write the particles' poses and CTFs for the engine; images are read in place."""
        ids = convert.write_star(
            self.inputParticles.get(), self._inputStar(), with_ctf=not self.noCtf.get()
        )
        self._saveArray(self._inputIds(), ids)
        return self._inputFiles()

    def prepareStep(self, digest):
        """Read each image once and keep its Fourier crop."""
        return self._runStage("prepare", *self._images())

    def readPartStep(self, digest, number, parts):
        """Read one part of the images."""
        part = self._workFile(part_name(number, parts))
        mark = part + ".read"  # goes with the work folder, unlike the part which is joined
        if not (os.path.exists(part + ".npz") and _text(mark) == digest):
            write_text(mark, "")
            self._readPart(number, parts)
            write_text(mark, digest)
        return [*self._inputFiles(), mark]

    def joinPartsStep(self, digest, parts):
        """Join the parts; one that was lost since is read again."""
        for number in range(1, parts + 1):
            if not os.path.exists(self._workFile(part_name(number, parts) + ".npz")):
                self._readPart(number, parts)
        return self._runStage("prepare", *self._images(), "--join", parts)

    def reconstructStep(self, digest):
        """Consensus, noise, mask and batches."""
        return self._runStage("reconstruct")

    def componentsStep(self, digest):
        """Principal components."""
        return self._runStage("components")

    def varianceStep(self, digest):
        """The variance map alone, and its registration."""
        self._runOnWork(self._stageFiles("volumes"), "variance", "-o", self._resultFolder())
        results.forget(self)
        result = results.EngineResult(self._resultFolder())
        sampling = self.inputParticles.get().getSamplingRate()
        results.register(
            self, self._sources(), outputVarianceMap=results.make_volume(result.variance, sampling)
        )

    def clusterStep(self, digest):
        """Classes."""
        return self._runStage("cluster")

    def volumesStep(self, digest):
        """One volume for each class, and the report."""
        files = self._runStage("volumes", "-o", self._resultFolder())
        result = results.EngineResult(self._resultFolder(), np.load(self._inputIds()))
        return files + result.volumes

    def createOutputStep(self, digest):
        """Register the outputs."""
        results.forget(self)
        particles = self.inputParticles.get()
        sampling = particles.getSamplingRate()
        result = results.EngineResult(self._resultFolder(), np.load(self._inputIds()))

        outputs = {
            "outputVolumes": results.fill_volumes(self._createSetOfVolumes(), result, sampling)
        }
        outputs["outputClasses"] = results.fill_classes(
            self._createSetOfClasses3D(self.inputParticles), result, sampling
        )
        if result.components:
            outputs["outputComponents"] = results.fill_components(
                self._createSetOfVolumes("_components"), result, sampling
            )
        outputs.update(results.single_maps(result, sampling))
        if "coordinates" in result.arrays:
            latents = SetOfParticlesFlex.create(
                self._getPath(), suffix="latents", progName=results.PROGRAM
            )
            outputs["outputParticles"] = results.fill_latents(latents, particles, result)

        results.register(self, self._sources(), **outputs)

    def _cleanExtraFiles(self):
        if not self.keepIntermediate.get():
            import shutil

            shutil.rmtree(self._workFolder(), ignore_errors=True)

    # -------------------------- Running the engine ---------------------------
    def _runStage(self, stage, *arguments):
        """Run one stage of the engine; raise with its own last words if it left no result.

        Returns
        -------
        list of str
            The files it and the stages before it left: Scipion redoes the step if one of them
            disappears, so that whatever is made anew is also used anew.
        """
        self._runOnWork(self._stageFiles(stage), COMMANDS[stage], *arguments)
        done = STAGES[: STAGES.index(stage) + 1]
        return self._inputFiles() + [path for name in done for path in self._stageFiles(name)]

    def _readPart(self, number, parts):
        self._runOnWork(
            [],
            COMMANDS["prepare"],
            *self._images(),
            "--chunk",
            "%d/%d" % (number, parts),
            name="prepare, part %d of %d" % (number, parts),
        )

    def _runOnWork(self, files, command, *arguments, **words):
        """Run a command of the engine that shares the work folder with the others."""
        for name in form.POINTERS:
            if self._givenRows(name):
                write_list(form.map_list(self, name), self._givenRows(name))
        self._runCommand(
            files,
            command,
            *arguments,
            "--work",
            self._workFolder(),
            *form.options(self._settings()),
            **words,
        )

    def _images(self):
        return [self._inputStar(), "--data-dir", os.path.abspath(".")]

    def _stageFiles(self, stage):
        """Files that are there when a stage is done."""
        if stage == "volumes":
            return [self._summaryFile()]
        names = [stage + ".npz"] + (["values.npy"] if stage == "prepare" else [])
        return [self._workFile(name) for name in names]

    def _sources(self):
        given = [
            getattr(self, form.camel(name))
            for name in form.POINTERS
            if form.pointed(self, name) is not None
        ]
        return [self.inputParticles, self.inputMask, *given]

    def _givenRows(self, name):
        """Path and sampling rate of each map that one of `form.POINTERS` stands for."""
        used = getattr(self._settings(), name)
        return volume_rows([form.pointed(self, name)]) if used else []

    def _filesOf(self, stage, settings):
        """What changes with the files that a stage is the first to look at."""
        if stage == "prepare":
            return convert.identity(self.inputParticles.get())
        if stage == "reconstruct":
            return file_identity([settings.mask]) if settings.mask else ""
        return self._givenIdentity() if stage == "components" else ""

    def _givenIdentity(self):
        rows = [row for name in form.POINTERS for row in self._givenRows(name)]
        return file_identity([path for path, _ in rows]) + repr(rows) if rows else ""

    def _workFolder(self):
        return self._getExtraPath("work")

    def _workFile(self, name):
        return os.path.join(self._workFolder(), name)

    def _inputFiles(self):
        return [self._inputStar(), self._inputIds()]

    # -------------------------- Information ----------------------------------
    def _validate(self):
        particles = self.inputParticles.get()
        # The form offers only what fits; a script can hand in anything.
        if not isinstance(particles, SetOfParticles):
            return ["Input particles is a %s: give a SetOfParticles." % class_name(particles)]
        errors = particle_input.unfit(particles, not self.noCtf.get())
        errors += self._validateMask() + self._validateGiven()
        errors += form.unfit_jobs(self, particles.getSize())
        return errors + self._validateSettings(particles)

    def _validateGiven(self):
        """Why given components, or their mean, cannot be used."""
        wrong = form.unanswered(self)
        if wrong:
            return wrong
        for name, classes in (
            ("given_components", (*VOLUME_SETS, Volume)),
            ("given_mean", (Volume,)),
        ):
            given, label = form.pointed(self, name), Settings.fields()[name]["label"]
            if given is None:
                continue
            if not isinstance(given, classes):
                return [
                    "%s: this is a %s, give a %s." % (label, class_name(given), classes[0].__name__)
                ]
            try:
                if not volume_rows([given]):
                    return ["%s: the set is empty, give one with volumes." % label]
            except InputError as error:
                return [str(error)]
            size = tuple(given.getDim() or ())
            if len(set(size[:3])) != 1:
                return [
                    "%s: the volumes are no cubes (%s), give some with equal sides."
                    % (label, " x ".join(str(n) for n in size))
                ]
        return []

    def _warnings(self):
        try:
            settings = self._settings()
        except InputError:
            return []  # _validate says it
        return checks.cautions(settings, *particle_input.extent(self.inputParticles.get()))

    def _summary(self):
        return describe.summary(self._found())

    def _methods(self):
        return describe.methods(self._found())

    def _citations(self):
        return describe.citations(form.method(self))


def _text(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()
