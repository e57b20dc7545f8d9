"""What all protocols share: settings, mask, running the engine, what a run says of itself."""

# SPDX-License-Identifier: GPL-3.0-or-later
import hashlib
import json
import os

import numpy as np
from pwem.objects import VolumeMask
from pyworkflow.protocol import params

from pcainit import checks
from pcainit.errors import InputError
from pcainit.io.atomic import replacing
from pcainit.output.result_folder import SUMMARY
from pcainit.protocols import form, particle_input, results
from pcainit.protocols.engine_job import runEngine
from pcainit.protocols.scheduled import FailsWhenRefused
from pcainit.settings import AUTO, Settings


class PcaInitProtocol(FailsWhenRefused):
    """Mixed into each protocol.

    A protocol names its `SETTINGS` and `REFERENCES`, defines its form and steps, and says in
    `_paragraph` how it would be described in a paper.
    """

    SETTINGS = ()
    REFERENCES = ()

    # -------------------------- Form -----------------------------------------
    def _addMask(self, definition, text):
        definition.addParam(
            "inputMask",
            params.PointerParam,
            pointerClass=form.UNFILLED + "VolumeMask",
            allowsNull=True,
            label=Settings.fields()["mask"]["label"],
            help=text,
        )

    def _settings(self):
        """The engine's settings from the form; raises InputError."""
        values = {name: getattr(self, form.camel(name)).get() for name in self.SETTINGS}
        if hasattr(self, "numberOfClasses"):
            values["classes"] = AUTO if self._auto() else str(self.numberOfClasses.get())
        return Settings(mask=form.mask_file(self), mask_sampling=form.mask_sampling(self), **values)

    def _auto(self):
        return self.autoClasses.get()

    # -------------------------- Steps ----------------------------------------
    def _insert(self, step, *arguments, **words):
        return self._insertFunctionStep(step, *arguments, needsGPU=False, **words)

    def _digest(self, *more):
        """Changes when the settings or what the result is made from do."""
        text = json.dumps([self._settings().as_dict(), *more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _runCommand(self, files, command, *arguments, **words):
        """Run a command of the engine with this run's threads; see `runEngine`."""
        threads = ("--threads", self.numberOfThreads.get())
        runEngine(self, files, command, *arguments, *threads, **words)

    def _options(self):
        """Words of the engine's command line."""
        names = [*self.SETTINGS, "mask", "mask_sampling"]
        return form.options(
            self._settings(), names + ["classes"] * hasattr(self, "numberOfClasses")
        )

    # -------------------------- Information ----------------------------------
    def _validateMask(self):
        mask = self.inputMask.get()
        if mask is None:
            return []
        if not isinstance(mask, VolumeMask):
            return ["The mask is a %s: give a VolumeMask." % class_name(mask)]
        if not os.path.exists(mask.getFileName() or ""):
            return ["The mask's file %s is missing." % mask.getFileName()]
        return []

    def _validateSettings(self, particles=None):
        """Why the settings cannot be used, with these particles where there are any."""
        try:
            settings = self._settings()
        except InputError as error:
            return [str(error)]
        if particles is None:
            return []
        return checks.problems(settings, *particle_input.extent(particles))

    def _found(self):
        """The engine's summary; empty when there is none yet."""
        return results.read_summary(self._resultFolder())

    def _summary(self):
        found = self._found()
        return ["*%s*" % found["verdict"]] if found else ["The volumes are not ready yet."]

    def _methods(self):
        found = self._found()
        text = self._paragraph(found) if found else ""
        return [text] if text else []

    def _paragraph(self, found):
        """Sentences for a paper, with the figures that were found."""
        return ""

    def _citations(self):
        return list(self.REFERENCES)

    # -------------------------- Files ----------------------------------------
    def _maskFiles(self):
        mask = self.inputMask.get()
        return [mask.getFileName()] if mask is not None else []

    def _saveArray(self, path, values):
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, values)

    def _resultFolder(self):
        return self._getExtraPath("result")

    def _summaryFile(self):
        return os.path.join(self._resultFolder(), SUMMARY)

    def _inputStar(self):
        return self._getExtraPath("input_particles.star")

    def _inputIds(self):
        return self._getExtraPath("input_ids.npy")


def class_name(thing):
    """What a thing is called in a message to whoever chose it."""
    return type(thing).__name__ if thing is not None else "nothing"
