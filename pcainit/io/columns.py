"""What is done with each column of RELION's particle files (3.0 to 5): the one table of it.

Both ways in go by it: the command line reads the columns from a STAR file, and Scipion's sets are
written as one with all of their columns that are not ignored.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten

USED, REFUSED, IGNORED = "used", "refused", "ignored"


@dataclass(frozen=True)
class Decision:
    """What is done with some columns, and why that is right.

    Parameters
    ----------
    what : str
        ``used``: it changes what is computed. ``refused``: particles with it are no input.
        ``ignored``: it says nothing about the images that could change a result.
    why : str
    labels : tuple of str
    """

    what: str
    why: str
    labels: tuple[str, ...]


MATRIX = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
ZERNIKE = ("rlnOddZernike", "rlnEvenZernike")
TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
PREMULTIPLIED = ("rlnCtfDataAreCtfPremultiplied", "rlnCtfPremultiplied")
FLIPPED = ("rlnCtfDataArePhaseFlipped",)

DECISIONS = (
    Decision(USED, "which image it is, and which optics group", ("rlnImageName", "rlnOpticsGroup")),
    Decision(
        USED, "the pose: specimen to image, degrees", ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
    ),
    Decision(USED, "the origin, Angstrom (3.1 and later)", ("rlnOriginXAngst", "rlnOriginYAngst")),
    Decision(
        USED,
        "the origin, pixels (3.0), where there is none in Angstrom",
        ("rlnOriginX", "rlnOriginY"),
    ),
    Decision(
        USED,
        "the pixel size: the first of these three that is there",
        ("rlnImagePixelSize", "rlnDetectorPixelSize", "rlnMagnification", "rlnPixelSize"),
    ),
    Decision(USED, "has to be the box of the stack", ("rlnImageSize",)),
    Decision(
        USED,
        "the CTF; particles whose defocus is none are set aside",
        (
            "rlnDefocusU",
            "rlnDefocusV",
            "rlnDefocusAngle",
            "rlnPhaseShift",
            "rlnVoltage",
            "rlnSphericalAberration",
            "rlnAmplitudeContrast",
            "rlnCtfBfactor",
            "rlnCtfScalefactor",
        ),
    ),
    Decision(
        USED,
        "the magnification, of an optics group or of a row: where slices lie, and at which "
        "frequencies the CTF is taken",
        MATRIX,
    ),
    Decision(USED, "the half-sets, where there are two of about one size", ("rlnRandomSubset",)),
    Decision(
        USED,
        "beam tilt turns phases with the third power of the frequency (by 0.008 radians for each "
        "mrad at 300 kV, 2.7 mm and 20 A, by 0.07 at 10 A): they are turned back",
        TILT,
    ),
    Decision(USED, "higher aberrations: phases of the images (odd) and of the CTF (even)", ZERNIKE),
    Decision(
        USED,
        "the images were multiplied by their CTF, where not 0: they are taken as that of images "
        "with white noise, whose power the CTF's zeros show",
        PREMULTIPLIED,
    ),
    Decision(REFUSED, "the phases of the images were flipped, where not 0", FLIPPED),
    Decision(REFUSED, "the images are mirrored, where not 0", ("rlnIsFlip",)),
    Decision(REFUSED, "volumes, where 3", ("rlnImageDimensionality",)),
    Decision(
        REFUSED,
        "subtomograms: volumes, or several tilts in one file",
        (
            "rlnTomoParticleName",
            "rlnTomoVisibleFrames",
            "rlnTomoSubtomogramRot",
            "rlnTomoSubtomogramTilt",
            "rlnTomoSubtomogramPsi",
            "rlnCtfImage",
        ),
    ),
    Decision(
        IGNORED,
        "a factor on all of the image: each particle's contrast is left open",
        ("rlnNormCorrection", "rlnGroupNumber", "rlnGroupName", "rlnGroupScaleCorrection"),
    ),
    Decision(
        IGNORED,
        "the detector's transfer damps signal and noise alike, and hardly at 10 A and more",
        ("rlnMtfFileName", "rlnMicrographOriginalPixelSize", "rlnMicrographPixelSize"),
    ),
    Decision(
        IGNORED,
        "names, and where the particle lay in its micrograph",
        (
            "rlnMicrographName",
            "rlnMicrographId",
            "rlnMicrographMovieName",
            "rlnImageId",
            "rlnImageOriginalName",
            "rlnReconstructImageName",
            "rlnParticleName",
            "rlnParticleId",
            "rlnOriginalParticleName",
            "rlnOpticsGroupName",
            "rlnCoordinateX",
            "rlnCoordinateY",
            "rlnCoordinateZ",
            "rlnMicrographBinning",
            "rlnTomoName",
            "rlnTomoParticleId",
            "rlnTiltSeriesName",
            "rlnBeamTiltClass",
            "rlnBeamTiltGroupName",
        ),
    ),
    Decision(
        IGNORED,
        "what another program thought of the particle",
        (
            "rlnClassNumber",
            "rlnLogLikeliContribution",
            "rlnMaxValueProbDistribution",
            "rlnNrOfSignificantSamples",
            "rlnAutopickFigureOfMerit",
            "rlnParticleFigureOfMerit",
            "rlnParticleSelectZScore",
            "rlnParticleSelectionType",
            "rlnClassPriorProbability",
            "rlnClassScore",
            "rlnPredictedClassScore",
            "rlnCtfMaxResolution",
            "rlnCtfFigureOfMerit",
            "rlnCtfAstigmatism",
            "rlnCtfValidationScore",
            "rlnCtfIceRingDensity",
            "rlnFinalResolution",
            "rlnAccumMotionTotal",
            "rlnAccumMotionEarly",
            "rlnAccumMotionLate",
            "rlnAverageNrOfFrames",
            "rlnMovieFramesRunningAverage",
            "rlnMovieFrameNumber",
            "rlnPerFrameCumulativeWeight",
            "rlnPerFrameRelativeWeight",
            "rlnEstimatedResolution",
        ),
    ),
    Decision(
        IGNORED,
        "priors of a search for poses, which are taken as they are",
        (
            "rlnAngleRotPrior",
            "rlnAngleTiltPrior",
            "rlnAnglePsiPrior",
            "rlnAnglePsiFlip",
            "rlnAnglePsiFlipRatio",
            "rlnAnglePsiProbability",
            "rlnAngleTiltFlip",
            "rlnAngleRotFlipRatio",
            "rlnOriginXPrior",
            "rlnOriginYPrior",
            "rlnOriginXPriorAngst",
            "rlnOriginYPriorAngst",
            "rlnOriginZ",
            "rlnOriginZAngst",
            "rlnHelicalTubeID",
            "rlnHelicalTrackLength",
            "rlnHelicalTrackLengthAngst",
            "rlnHelicalTubePitch",
            "rlnBodyOriginX",
            "rlnBodyOriginY",
        ),
    ),
)

# Attributes of Scipion's sets and particles, what is done with them, and why.
SCIPION = (
    ("_transform", "used", "the pose and the origin; its inverse is RELION's"),
    ("_ctfModel", "used", "the defocus, its azimuth, and the phase shift"),
    ("_acquisition", "used", "of the particle, or else of the set"),
    (
        "_acquisition.opticsGroupInfo",
        "used",
        "magnifications, beam tilt, aberrations and flags of RELION's optics groups, as the table "
        "above says; pixel size and box are those of the set",
    ),
    ("_rln... of the particles", "used", "as the table above says, and the optics group"),
    ("_samplingRate", "used", "of the set, and of masks and volumes: it rules over headers"),
    ("_isPhaseFlipped", "refused", "unless no CTF correction is asked for"),
    ("_isAmplitudeCorrected", "refused", "unless no CTF correction is asked for"),
    ("_hasCtf", "refused", "where false, unless no CTF correction is asked for"),
    ("_alignment", "refused", "unless it is a projection alignment"),
    ("_enabled", "used", "particles that are not enabled are left out"),
    ("_coordinate, _micId, _classId, _scores", "not looked at", "nothing of the image"),
)

BY_LABEL = {label: decision for decision in DECISIONS for label in decision.labels}
# Columns that have to come along when a set is written anew, beside those of its own objects.
CARRIED = (*MATRIX, *TILT, *ZERNIKE, *PREMULTIPLIED, *FLIPPED, "rlnIsFlip")
MOST_PHASE = 20.0  # radians at the resolution: no microscope was used that is so far off
TOMOGRAPHY = ("rlnTomoParticleName", "rlnTomoVisibleFrames")
_SHOWN = 3  # of offenders


def problems(flags: dict[str, Any], use_ctf: bool = True) -> list[str]:
    """Why particles with these flags cannot be used: ends of sentences that begin with their name.

    Parameters
    ----------
    flags : dict
        Label -> values, numbers or words, of any length.
    use_ctf : bool
        Without it, what the CTF has done to the images is the user's to judge.
    """
    found = []
    tomo = [label for label in flags if BY_LABEL[label].labels[0] == "rlnTomoParticleName"]
    if tomo or any(value == 3 for value in _numbers(flags, "rlnImageDimensionality")):
        found.append(
            "holds subtomograms (%s): volumes or series of tilts, not projections. Give particles "
            "extracted from micrographs." % (", ".join(tomo) or "rlnImageDimensionality is 3")
        )
    if found:
        return found
    if use_ctf and _set(flags, FLIPPED):
        found.append(
            "holds phase-flipped images (%s): extract the particles without phase flipping."
            % _set(flags, FLIPPED)
        )
    if _set(flags, ("rlnIsFlip",)):
        found.append(
            "holds mirrored images (rlnIsFlip is not 0): take the particles of a refinement that "
            "mirrors none."
        )
    return found


def _numbers(flags: dict[str, Any], label: str) -> list[float]:
    values = []
    for value in np.ravel(flags.get(label, ())).tolist():
        try:
            values.append(float(value))
        except ValueError:
            values.append(1.0 if str(value).lower() in ("true", "yes") else 0.0)
    return values


def is_set(cells: list[str]) -> AnyArray:
    """Which of some flags, numbers or words, are set, (n,) bool."""
    seen = {cell: any(_numbers({"": [cell]}, "")) for cell in set(cells)}
    return np.array([seen[cell] for cell in cells], bool)


def _set(flags: dict[str, Any], labels: tuple[str, ...]) -> str:
    """The first of some labels that is set for any particle; empty if none is."""
    return next((label for label in labels if any(_numbers(flags, label))), "")


def numbers_of(cell: str, where: object, label: str) -> list[float]:
    """The numbers of a list such as ``[0.1,0.2]``.

    Raises
    ------
    InputError
        It is none.
    """
    try:
        return [float(word) for word in cell.strip("[]() ").split(",") if word.strip()]
    except ValueError:
        raise InputError(
            "%s: %s is %s, which is no list of numbers." % (where, label, shorten(repr(cell)))
        ) from None


def rows(bad: AnyArray) -> str:
    """How many rows are bad, and the first few: ``3 rows (4, 8, 11)``."""
    index = (np.flatnonzero(bad) + 1).tolist()
    if len(index) == 1:
        return "row %d" % index[0]
    more = ", ..." if len(index) > _SHOWN else ""
    return "%d rows (%s%s)" % (len(index), ", ".join(map(str, index[:_SHOWN])), more)
