"""Scipion protocol: principal components and representatives of a set of volumes."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os

import numpy as np
from pwem.objects import SetOfVolumes, SetOfVolumesFlex, VolumeFlex
from pwem.protocols import ProtInitialVolume
from pyworkflow.constants import BETA
from pyworkflow.protocol import params

from pcainit.errors import InputError, shorten
from pcainit.io.fingerprint import file_identity
from pcainit.limits import MIN_VOLUMES
from pcainit.output.result_folder import ANALYSIS
from pcainit.protocols import form, results
from pcainit.protocols.base import PcaInitProtocol
from pcainit.protocols.volume_lists import SEED_SETS, class_sizes, volume_rows, write_list


class PcaInitProtVolumePca(PcaInitProtocol, ProtInitialVolume):
    """Makes K representative volumes of any set of volumes, as seeds of a 3D classification:
    volumes that cryoDRGN or RECOVAR sampled in their latent spaces, the frames of cryoSPARC's 3D
    Variability Display, or the classes of many runs.

    *What it does*: the volumes are brought to one box, sampling rate and resolution, and, if
    asked, to one greyscale; their principal components inside the mask are computed, clustered by
    a Gaussian mixture, and the volumes of each cluster are averaged. The volumes must show one
    particle in one orientation: nothing is aligned in space.

    *What you get*: _outputVolumes_, one per cluster, in the box of the first input volume;
    _outputComponents_; _outputVarianceMap_, _outputConsensus_ (their mean) and _outputMask_; and
    _outputCoordinates_, the input volumes with their coordinates. Whether the input volumes show
    states or noise cannot be told from them alone.
    """

    _label = "pca of volumes"
    _devStatus = BETA
    _possibleOutputs = {
        "outputVolumes": SetOfVolumes,
        "outputComponents": SetOfVolumes,
        **{name: kind for name, kind, _ in results.MAPS if name != "outputChangingPlaces"},
        "outputCoordinates": SetOfVolumesFlex,
    }
    SETTINGS = ("resolution", "components", "seed", "mask_threshold", "mask_near", "mask_far")
    REFERENCES = ("Penczek2011", "Pedregosa2011", "delaRosaTrevin2016")

    # -------------------------- Form -----------------------------------------
    def _defineParams(self, definition):
        definition.addSection(label="Input")
        definition.addParam(
            "inputVolumes",
            params.MultiPointerParam,
            important=True,
            pointerClass="SetOfVolumes, SetOfVolumesFlex, SetOfClasses3D",
            label="Input volumes",
            help="One or more sets of volumes of one particle in one orientation, "
            "together at least 3; boxes and sampling rates may differ. "
            "Classes count by their number of particles; together with "
            "plain sets they need a file of weights.",
        )
        form.add_volumes_resolution(definition)
        form.add_classes(definition)
        definition.addParam(
            "alignGreyscale",
            params.BooleanParam,
            default=False,
            label="Align the greyscale?",
            help="Bring all volumes to one density scale and background first: "
            "say yes for volumes of different programs or runs.",
        )
        definition.addParam(
            "weightsFile",
            params.FileParam,
            default="",
            allowsNull=True,
            expertLevel=params.LEVEL_ADVANCED,
            label="File of weights",
            help="A text file with one number for each volume, in order, in place "
            "of the sizes of classes.",
        )
        definition.addSection(label="Mask and components")
        self._addMask(
            definition,
            "Solvent or focus mask (values 0 to 1, any box and sampling "
            "rate). Without one, a soft mask is made from the mean.",
        )
        form.add_setting(
            definition,
            "components",
            help="Principal components that are kept. The "
            "clusters are made of those above the noise edge, so a few too many do no "
            "harm.",
        )
        form.add_setting(definition, "seed")
        for name in ("mask_threshold", "mask_near", "mask_far"):
            form.add_setting(definition, name, condition="inputMask is None")
        definition.addParallelSection(threads=2, mpi=0)

    # -------------------------- Steps ----------------------------------------
    def _insertAllSteps(self):
        rows = self._rows()
        digest = self._digest(
            rows,
            file_identity([path for path, _ in rows]),
            self._weights(),
            self.alignGreyscale.get(),
            file_identity(self._maskFiles()),
        )
        self._insert(self.analyseStep, digest)
        self._insert(self.createOutputStep, digest)

    def analyseStep(self, digest):
        """Components, clusters, averages and the report."""
        write_list(self._listFile(), self._rows(), self._weights() or None)
        words = ["--align-greyscale"] if self.alignGreyscale.get() else []
        self._runCommand(
            [self._summaryFile()],
            "volumes",
            self._listFile(),
            "-o",
            self._resultFolder(),
            *words,
            *self._options(),
        )
        return [self._summaryFile()]

    def createOutputStep(self, digest):
        """Register the outputs."""
        results.forget(self)
        result = results.EngineResult(self._resultFolder())
        sampling = result.summary["sampling"]
        outputs = dict(
            outputVolumes=results.fill_volumes(self._createSetOfVolumes(), result, sampling),
            outputComponents=results.fill_components(
                self._createSetOfVolumes("_components"), result, sampling
            ),
            **results.single_maps(result, sampling),
            outputCoordinates=self._coordinates(sampling),
        )
        results.register(self, self.inputVolumes, **outputs)

    def _coordinates(self, sampling):
        """The input volumes with their coordinates and classes."""
        with np.load(os.path.join(self._resultFolder(), ANALYSIS), allow_pickle=False) as arrays:
            points, label = arrays["batch_coordinates"], arrays["batch_cluster"]
        volumes = SetOfVolumesFlex.create(
            self._getPath(), suffix="coordinates", progName=results.PROGRAM
        )
        volumes.setSamplingRate(sampling)
        for number, (path, rate) in enumerate(self._rows(), 1):
            volume = VolumeFlex(progName=results.PROGRAM, location=os.path.relpath(path))
            volume.setSamplingRate(rate)
            volume.setObjId(number)
            volume.setClassId(int(label[number - 1]) + 1)
            volume.setZFlex(["%.6g" % value for value in points[number - 1]])
            volumes.append(volume)
        return volumes

    # -------------------------- Information ----------------------------------
    def _validate(self):
        sets = [pointer.get() for pointer in self.inputVolumes]
        if not sets or not all(isinstance(one, SEED_SETS) for one in sets):
            return ["Input volumes must be sets of volumes: give at least one SetOfVolumes."]
        errors = self._validateMask() + self._validateSettings()
        try:
            count = len(self._rows())
            weights = self._weights()
        except InputError as error:
            return errors + [str(error)]
        if count < MIN_VOLUMES:
            errors.append("There are only %d volumes: give at least %d." % (count, MIN_VOLUMES))
        elif not self.autoClasses.get() and self.numberOfClasses.get() > count:
            errors.append(
                "Number of classes is %d for %d volumes: ask for fewer."
                % (self.numberOfClasses.get(), count)
            )
        if weights and len(weights) != count:
            errors.append(
                "The file of weights has %d numbers for %d volumes: give one for each."
                % (len(weights), count)
            )
        return errors

    def _paragraph(self, found):
        return (
            "%d volumes at %g A were reduced to %d principal components inside a mask with "
            "pcainit %s and clustered with a Gaussian mixture [Pedregosa2011]; %d weighted "
            "averages are the representatives."
            % (
                found["input_volumes"],
                found["resolution"],
                len(found["eigenvalues"]),
                found["version"],
                found["classes"],
            )
        )

    # -------------------------- Files ----------------------------------------
    def _rows(self):
        return volume_rows(pointer.get() for pointer in self.inputVolumes)

    def _weights(self):
        """Weight of each volume; empty for none."""
        path = self.weightsFile.get()
        if not path:
            return class_sizes(pointer.get() for pointer in self.inputVolumes)
        try:
            with open(path, encoding="utf-8") as file:
                values = [float(word) for word in file.read().split()]
        except (OSError, ValueError) as error:
            raise InputError(
                "The file of weights %s cannot be read (%s): give one number for "
                "each volume." % (shorten(path), shorten(str(error)))
            ) from None
        if not all(0 < value < 1e30 for value in values):
            raise InputError(
                "The file of weights %s has a number that is not positive: leave "
                "such volumes out." % path
            )
        return values

    def _listFile(self):
        return self._getExtraPath("volumes.txt")
