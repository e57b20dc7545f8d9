"""Scipion protocol: one more initial volume, of particles chosen in a run's latent space."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os

import numpy as np
from pwem.objects import SetOfVolumes, Volume
from pwem.protocols import ProtInitialVolume
from pyworkflow.constants import BETA
from pyworkflow.protocol import params

from pcainit.errors import shorten
from pcainit.io.atomic import write_text
from pcainit.protocols import results
from pcainit.protocols.engine_job import runEngine
from pcainit.protocols.protocol_initial_volumes import PcaInitProtInitialVolumes
from pcainit.protocols.scheduled import FailsWhenRefused


class PcaInitProtChosenVolume(FailsWhenRefused, ProtInitialVolume):
    """Makes one more volume from particles that you chose, beside the volumes of a run of _pca
    initial volumes_: of a cloud in its scatter, of a range of a component, or of any other subset
    of its particles.

    The volume has the resolution and the greyscale of the run's volumes and carries the consensus
    outside its mask. _outputVolumes_ has the run's volumes and the new one, ready to be the
    references of a 3D classification; _outputVolume_ is the new one alone.
    """

    _label = "volume of chosen particles"
    _devStatus = BETA
    _possibleOutputs = {"outputVolumes": SetOfVolumes, "outputVolume": Volume}

    # -------------------------- Form -----------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Input")
        form.addParam(
            "inputRun",
            params.PointerParam,
            pointerClass="PcaInitProtInitialVolumes",
            important=True,
            label="Run of pca initial volumes",
            help="A finished run that kept its cropped images, which it does unless "
            "told otherwise.",
        )
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            allowsNull=True,
            label="Chosen particles",
            help="A subset of the run's input particles. They are recognised by their "
            "ids, which Scipion's subsets keep.",
        )
        form.addParam(
            "idsFile",
            params.FileParam,
            allowsNull=True,
            default="",
            expertLevel=params.LEVEL_ADVANCED,
            condition="inputParticles is None",
            label="Or a file of ids",
            help='A text file with the ids of the chosen particles. "Analyze results" '
            "fills this in when you draw around particles.",
        )
        form.addParam(
            "symmetry",
            params.StringParam,
            default="c1",
            expertLevel=params.LEVEL_ADVANCED,
            label="Symmetry",
            help="Point group in RELION's notation, applied to the volume. Keep c1 "
            "unless all of your volumes are symmetric.",
        )
        form.addParallelSection(threads=2, mpi=0)

    # -------------------------- Steps ----------------------------------------
    def _insertAllSteps(self):
        chosen = self._chosenIds()
        self._insertFunctionStep(
            self.reconstructStep,
            len(chosen),
            int(chosen.sum()),
            self.symmetry.get(),
            needsGPU=False,
        )
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def reconstructStep(self, *digest):
        """Reconstruct the chosen particles from the run's cropped images."""
        rows = np.flatnonzero(np.isin(self._runIds(), self._chosenIds())) + 1
        write_text(self._rowsFile(), "".join("%d\n" % row for row in rows))
        runEngine(
            self,
            [self._volumeFile()],
            "select",
            "--work",
            self.inputRun.get()._workFolder(),
            "--rows",
            self._rowsFile(),
            "-o",
            self._volumeFile(),
            "--symmetry",
            self.symmetry.get(),
            "--threads",
            self.numberOfThreads.get(),
        )
        return [self._volumeFile()]

    def createOutputStep(self):
        """Register the new volume, alone and behind those of the run."""
        run = self.inputRun.get()
        sampling = run.outputVolumes.getSamplingRate()
        sources = [
            (item.getFileName(), item.getObjLabel(), item.getObjComment())
            for item in run.outputVolumes.iterItems()
        ]
        words = "%d chosen particles" % len(self._chosenIds())
        volumes = self._createSetOfVolumes()
        volumes.setSamplingRate(sampling)
        for number, (path, label, comment) in enumerate(
            [*sources, (self._volumeFile(), "chosen", words)], 1
        ):
            volume = results.make_volume(path, sampling)
            volume.setObjId(number)
            volume.setClassId(number)
            volume.setObjLabel(label)
            volume.setObjComment(comment)
            volumes.append(volume)
        volume = results.make_volume(self._volumeFile(), sampling)
        volume.setObjComment(words)
        results.register(
            self,
            [run.inputParticles, self.inputParticles],
            outputVolumes=volumes,
            outputVolume=volume,
        )

    # -------------------------- Information ----------------------------------
    def _validate(self):
        run = self.inputRun.get()
        if not isinstance(run, PcaInitProtInitialVolumes):
            return ["Run of pca initial volumes is empty: choose a finished run."]
        if not hasattr(run, "outputVolumes"):
            return ["The run '%s' is not finished: wait for it, or repair it." % run.getRunName()]
        if not os.path.exists(os.path.join(run._workFolder(), "reconstruct.npz")):
            return [
                "The run '%s' has not kept its cropped images: say yes to 'Keep the cropped "
                "images?' there and press Continue." % run.getRunName()
            ]
        try:
            chosen = self._chosenIds()
        except (OSError, ValueError, OverflowError) as error:
            return [
                "The file of ids %s cannot be read (%s): give a text file of whole numbers."
                % (shorten(self.idsFile.get()), shorten(str(error)))
            ]
        if not len(chosen):
            return ["No particles are chosen: give a subset of the run's particles."]
        found = np.isin(chosen, self._runIds())
        if not found.all():
            return [
                "%d of the %d chosen particles are not in the run '%s': take a subset of its "
                "own input particles." % (np.count_nonzero(~found), len(found), run.getRunName())
            ]
        return []

    def _summary(self):
        if not hasattr(self, "outputVolume"):
            return ["The volume is not ready yet."]
        return [
            "%s; %d volumes with those of the run '%s'."
            % (
                self.outputVolume.getObjComment(),
                self.outputVolumes.getSize(),
                self.inputRun.get().getRunName(),
            )
        ]

    # -------------------------- Files and ids --------------------------------
    def _chosenIds(self):
        """Scipion's ids of the chosen particles, (m,) int64."""
        particles = self.inputParticles.get()
        if particles is not None:
            return np.array(sorted(particles.getIdSet()), dtype=np.int64)
        path = self.idsFile.get()
        if not path:
            return np.zeros(0, np.int64)
        with open(path, encoding="utf-8") as file:
            return np.array([int(word) for word in file.read().split()], dtype=np.int64)

    def _runIds(self):
        return np.load(self.inputRun.get()._inputIds())

    def _rowsFile(self):
        return self._getExtraPath("rows.txt")

    def _volumeFile(self):
        return self._getExtraPath("chosen_%06d.mrc" % self.getObjId())
