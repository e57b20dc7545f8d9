"""What the protocols that make volumes of other programs' results have in common."""

# SPDX-License-Identifier: GPL-3.0-or-later
import hashlib
import json
import os

from pwem.objects import SetOfClasses3D, SetOfVolumes, SetOfVolumesFlex, Volume, VolumeMask
from pyworkflow.protocol import params

from pcainit.errors import InputError
from pcainit.io.atomic import write_text
from pcainit.protocols import form, results
from pcainit.protocols.scheduled import FailsWhenRefused
from pcainit.settings import AUTO, Settings

VOLUME_SETS = (SetOfVolumes, SetOfVolumesFlex)  # neither is a kind of the other
SEED_SETS = (*VOLUME_SETS, SetOfClasses3D)


class SeedProtocol(FailsWhenRefused):
    """Mixed into a protocol: its settings, mask, digest, summary and result folder."""

    SETTINGS = ("resolution",)

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

    def _options(self):
        """Words of the engine's command line."""
        known = (
            *self.SETTINGS,
            "mask",
            "mask_sampling",
            *(("classes",) if hasattr(self, "numberOfClasses") else ()),
        )
        words, values = [], self._settings().as_dict()
        for name in known:
            value, option = values[name], "--" + name.replace("_", "-")
            if isinstance(value, bool):
                words += [option] if value else []
            elif value != "":
                words += [option, value]
        return words + ["--threads", self.numberOfThreads.get()]

    def _digest(self, *more):
        """Changes when the settings or what the result is made from do."""
        text = json.dumps([self._settings().as_dict(), *more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _validateMask(self):
        mask = self.inputMask.get()
        if mask is None:
            return []
        if not isinstance(mask, VolumeMask):
            return ["The mask is a %s: give a VolumeMask." % type(mask).__name__]
        if not os.path.exists(mask.getFileName() or ""):
            return ["The mask's file %s is missing." % mask.getFileName()]
        return []

    def _validateSettings(self):
        try:
            self._settings()
        except InputError as error:
            return [str(error)]
        return []

    def _summary(self):
        found = results.read_summary(self._resultFolder())
        if not found:
            return ["The volumes are not ready yet."]
        return ["*%s*" % found["verdict"]]

    def _resultFolder(self):
        return self._getExtraPath("result")


def map_file(volume):
    """Absolute path of a Scipion volume's file.

    Raises
    ------
    InputError
        It lies in a stack of volumes, or is missing.
    """
    index, path = volume.getLocation()
    path = path[:-4] if path.endswith(":mrc") else path
    if index > 1 or os.path.splitext(path)[1].lower() not in (".mrc", ".map"):
        raise InputError(
            "The volume %s is not an .mrc file of its own: export the set as one "
            ".mrc file per volume first." % path
        )
    if not os.path.exists(path):
        raise InputError("The volume's file %s is missing." % path)
    return os.path.abspath(path)


def volume_rows(sets):
    """(path, sampling) of each enabled volume of some sets or single volumes, in order.

    Of classes, their representatives.

    Raises
    ------
    InputError
        As `map_file`.
    """
    rows = []
    for volumes in sets:
        if isinstance(volumes, Volume):
            rows.append((map_file(volumes), volumes.getSamplingRate()))
            continue
        for item in _enabled(volumes):
            volume = item.getRepresentative() if isinstance(volumes, SetOfClasses3D) else item
            rows.append((map_file(volume), volume.getSamplingRate() or volumes.getSamplingRate()))
    return rows


def class_sizes(sets):
    """Number of particles behind each of `volume_rows`, where all sets are of classes; else none.

    Raises
    ------
    InputError
        Only some of the sets are of classes.
    """
    sets = list(sets)
    of_classes = [isinstance(one, SetOfClasses3D) for one in sets]
    if not any(of_classes):
        return []
    if not all(of_classes):
        raise InputError(
            "Classes, which count by their size, and plain volumes cannot be weighed "
            "together: give a file of weights, or sets of volumes only."
        )
    return [float(item.getSize()) for one in sets for item in _enabled(one)]


def _enabled(items):
    """Items that are enabled, of classes those that have particles."""
    for item in items.iterItems():
        if item.isEnabled() and not (isinstance(items, SetOfClasses3D) and not item.getSize()):
            yield item


def write_list(path, rows, weights=None):
    """List of maps for the engine: path, weight, sampling rate."""
    write_text(
        path,
        "".join(
            '"%s" %.9g %.9g\n' % (name, 1 if weights is None else weights[k], rate)
            for k, (name, rate) in enumerate(rows)
        ),
    )
