"""Scipion protocol: several sets of volumes side by side."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os

from pwem.protocols import ProtAnalysis3D
from pyworkflow.constants import BETA
from pyworkflow.protocol import params

from pcainit.errors import InputError
from pcainit.io.fingerprint import file_identity
from pcainit.output.words.verdict import listed_figures
from pcainit.protocols import form
from pcainit.protocols.base import PcaInitProtocol
from pcainit.protocols.volume_lists import SEED_SETS, volume_rows, write_list

_OWN = "pcainit - "  # how the default labels of our runs begin


class PcaInitProtCompare(PcaInitProtocol, ProtAnalysis3D):
    """Shows how different the volumes of several sets are, for instance initial volumes of several
    methods: how much the volumes of each set differ from each other, up to which resolution they
    are the same, how well the sets' difference maps match one to one, and, where the true volumes
    are known, how well each set agrees with them.

    All volumes are brought to one box, sampling rate, resolution and greyscale first; nothing is
    aligned in space. The run's summary has the main figures; _Analyze results_ shows them as table
    and pictures, and _extra/comparison/comparison.json_ has all numbers.
    """

    _label = "compare sets of volumes"
    _devStatus = BETA
    SETTINGS = ("resolution",)
    REFERENCES = ("delaRosaTrevin2016",)

    def _defineParams(self, definition):
        definition.addSection(label="Input")
        definition.addParam(
            "inputSets",
            params.MultiPointerParam,
            important=True,
            pointerClass="SetOfVolumes, SetOfVolumesFlex, SetOfClasses3D",
            label="Sets of volumes",
            help="Each is one row of the table.",
        )
        definition.addParam(
            "useTruth",
            params.BooleanParam,
            default=False,
            label="Are the true volumes known?",
            help="Say yes where they are, for instance of simulated particles: the agreement of "
            "each set with them is given too.",
        )
        definition.addParam(
            "truth",
            params.PointerParam,
            allowsNull=True,
            condition="useTruth",
            pointerClass=form.UNFILLED + "SetOfVolumes, SetOfVolumesFlex",
            label="True volumes",
            help="The set of true volumes, one for each state, in the orientation of the others.",
        )
        self._addMask(
            definition,
            "Where the volumes are compared. Without one, a soft mask is made from their mean.",
        )
        form.add_volumes_resolution(definition)
        definition.addParallelSection(threads=2, mpi=0)

    def _insertAllSteps(self):
        rows = [self._rows(one) for one in self._sets()]
        digest = self._digest(
            rows,
            file_identity([path for one in rows for path, _ in one]),
            file_identity(self._maskFiles()) if self._maskFiles() else "",
        )
        self._insert(self.compareStep, digest)

    def compareStep(self, digest):
        """Compare, and keep the table."""
        words = []
        for number, one in enumerate(self._sets()):
            true = number == len(self.inputSets)
            path = self._getExtraPath("truth.txt" if true else "set_%03d.txt" % (number + 1))
            write_list(path, self._rows(one))
            words += ["--truth", path] if true else ["%s=%s" % (self._name(number), path)]
        files = [
            os.path.join(self._resultFolder(), name)
            for name in ("comparison.txt", "comparison.html", "comparison.json")
        ]
        self._runCommand(files, "compare", *words, "-o", self._resultFolder(), *self._options())
        return files

    def _validate(self):
        if not len(self.inputSets) or not all(isinstance(one, SEED_SETS) for one in self._sets()):
            return ["Sets of volumes must be sets of volumes: give at least one SetOfVolumes."]
        if self.useTruth.get() != (self.truth.get() is not None):
            return [
                "True volumes is empty: choose them, or answer 'Are the true volumes known?' "
                "with no."
                if self.useTruth.get()
                else "True volumes: truth is set, but 'Are the true volumes known?' is no: set "
                "useTruth to True, or leave it empty."
            ]
        errors = self._validateMask() + self._validateSettings()
        try:
            count = sum(len(self._rows(one)) for one in self._sets())
        except InputError as error:
            return errors + [str(error)]
        return errors + (
            ["There is only %d volume: give at least 2 to compare." % count] if count < 2 else []
        )

    def _summary(self):
        found = self._found()
        if not found:
            return ["The comparison is not ready yet."]
        lines = [
            "At %g A; differences in percent of the density's own spread inside the mask:"
            % found["resolution"]
        ]
        lines += [_set_in_words(row) for row in found["sets"]]
        several = {row["name"] for row in found["sets"] if len(row["files"]) > 1}
        pairs = [pair for pair in found["between"] if several.issuperset(pair["sets"])]
        if pairs:
            lines += ["", "Difference maps of two sets, best one-to-one match (1: the same):"]
            lines += [
                "*%s* and *%s*: %s" % (*pair["sets"], listed_figures(pair["correlations"]))
                for pair in pairs
            ]
        return lines

    def _found(self):
        """What the engine has found; empty when there is nothing yet."""
        try:
            with open(
                os.path.join(self._resultFolder(), "comparison.json"), encoding="utf-8"
            ) as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def _sets(self):
        """All sets, the true volumes last."""
        truth = self.truth.get() if self.useTruth.get() else None
        return [pointer.get() for pointer in self.inputSets] + (
            [truth] if truth is not None else []
        )

    def _name(self, number):
        """Name of a set: its run's, without the signs that mean something else."""
        parent = self.inputSets[number].getObjValue()
        words = parent.getRunName() if hasattr(parent, "getRunName") else "set"
        words = words[len(_OWN) :] if words.startswith(_OWN) else words
        return "%d %s" % (number + 1, words.replace("=", " "))

    def _rows(self, volumes):
        return volume_rows([volumes])

    def _resultFolder(self):
        return self._getExtraPath("comparison")


def _set_in_words(row):
    """The figures of one set; the window's letters differ in width, so no table."""
    count = len(row["files"])
    if count < 2:
        return "*%s*: 1 volume, so no differences." % row["name"]
    words = "*%s*: %d volumes, which differ by %.1f %% on average and %.1f %% at least" % (
        row["name"],
        count,
        100 * row["diversity"],
        100 * row["least_difference"],
    )
    if row["over_noise"]:
        ratios = [value for k, values in enumerate(row["over_noise"]) for value in values[:k]]
        words += ", %.1f to %.1f times their noise (1: noise alone)" % (min(ratios), max(ratios))
    if "truth_correlations" in row:
        words += "; agreement with the truth %s" % listed_figures(row["truth_correlations"])
    return words + "."
