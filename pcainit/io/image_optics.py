"""Pixel sizes, boxes and magnifications of particle images, and what their headers say."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.images.kinds import ImageKinds
from pcainit.errors import InputError
from pcainit.io import columns, plausible
from pcainit.io.mrc_layout import MrcLayout

if TYPE_CHECKING:
    from pcainit.io.particle_table import ParticleTable

SAME = 1e-3  # of a pixel size
NEGLIGIBLE = 1e-4  # of a magnification: less than half a pixel in ten thousand
_MAGNIFIES = (0.5, 2.0)  # singular values of a magnification
NARROW = 0.7  # of the usual width of images
HEADER = 0.05  # of a pixel size, by which headers may differ unsaid
_UNSET = (0.0, 1.0)  # what headers hold where nobody cared


def pixel_sizes(table: ParticleTable) -> AnyArray:
    """Pixel size of each particle's image, (n,) float64 Angstrom; equal ones exactly so.

    Raises
    ------
    InputError
        The file gives none, or one that cannot be.
    """
    if table.has("rlnImagePixelSize"):
        values = table.numbers("rlnImagePixelSize")
    elif table.has("rlnDetectorPixelSize") and table.has("rlnMagnification"):
        values = 1e4 * table.numbers("rlnDetectorPixelSize") / table.numbers("rlnMagnification")
    elif table.has("rlnPixelSize"):
        values = table.numbers("rlnPixelSize")
    else:
        raise InputError("%s gives no pixel size (rlnImagePixelSize)." % table.path)
    plausible.check_pixel_size(values, table.path)
    low = values.min()
    return np.where(values - low <= SAME * low, low, values)


def magnifications(table: ParticleTable) -> AnyArray:
    """Magnification of each particle's image, (n, 2, 2) float64.

    Raises
    ------
    InputError
        The matrix is no magnification.
    """
    named = [label for label in columns.MATRIX if table.has(label)]
    matrix = np.tile(np.eye(2), (len(table), 1, 1))
    if not named:
        return matrix
    if len(named) < len(columns.MATRIX):
        raise InputError(
            "%s has %s, but not all of %s: give all four, or none."
            % (table.path, ", ".join(named), ", ".join(columns.MATRIX))
        )
    matrix = np.stack([table.numbers(label) for label in columns.MATRIX], axis=1)
    matrix = matrix.reshape(-1, 2, 2)
    values = np.linalg.svd(matrix, compute_uv=False)
    bad = (values[:, 0] > _MAGNIFIES[1]) | (values[:, 1] < _MAGNIFIES[0])
    bad |= np.linalg.det(matrix) <= 0
    if bad.any():
        k = int(np.argmax(bad))
        raise InputError(
            "%s: the magnification matrix (rlnMagMat00 to rlnMagMat11) of %s is no magnification, "
            "the first is %g %g %g %g: values near 1 0 0 1 are usual."
            % (table.path, columns.rows(bad), *matrix[k].ravel())
        )
    matrix[np.abs(matrix - np.eye(2)).max(axis=(1, 2)) <= NEGLIGIBLE] = np.eye(2)
    return matrix


def image_kinds(box: AnyArray, sampling: AnyArray, matrix: AnyArray) -> ImageKinds | None:
    """The kinds of images there are; None where all are of one kind without magnification.

    Parameters
    ----------
    box : (n,) int
    sampling : (n,) float64
    matrix : (n, 2, 2) float64
    """
    if (box == box[0]).all() and (sampling == sampling[0]).all() and (matrix == np.eye(2)).all():
        return None
    rows = np.column_stack([box, sampling, matrix.reshape(-1, 4)])
    kinds, of = np.unique(rows, axis=0, return_inverse=True)
    return ImageKinds(
        kinds[:, 0].astype(np.int64),
        kinds[:, 1],
        kinds[:, 2:].reshape(-1, 2, 2),
        of.ravel().astype(np.int32),
    )


def check_widths(kinds: ImageKinds, path: object) -> None:
    """Refuse images that are far narrower than most: the grid would have to be as narrow.

    Raises
    ------
    InputError
    """
    width = kinds.box_px * kinds.sampling
    usual = float(np.median(width[kinds.of]))
    bad = width[kinds.of] < NARROW * usual
    if bad.any():
        raise InputError(
            "%s mixes images of %g A (%s) with others of %g A: extract them in a box of about the "
            "same width, or leave them out."
            % (path, width[kinds.of][bad].min(), columns.rows(bad), usual)
        )


def header_notes(headers: list[MrcLayout], stack: AnyArray, sampling: AnyArray) -> list[str]:
    """What the headers of the stacks say against the pixel size of the STAR file."""
    said = np.array([header.voxel[0] for header in headers])
    own = np.zeros(len(headers))
    own[stack] = sampling
    ratio = said / np.where(own > 0, own, 1)
    bad = ~np.isin(said, _UNSET) & (own > 0) & (np.abs(np.log(np.maximum(ratio, 1e-9))) > HEADER)
    if not bad.any():
        return []
    k = int(np.argmax(bad))
    return [
        "The pixel size of the images is %.4g A by the STAR file, but %.4g A by the header of %s: "
        "if the header is right, the CTF was taken at the wrong frequencies and all sizes are "
        "wrong; correct rlnImagePixelSize."
        % (
            own[k],
            said[k],
            headers[k].path
            if bad.sum() == 1
            else "%d stacks, the first is %s" % (bad.sum(), headers[k].path),
        )
    ]


def aberration_notes(table: ParticleTable, resolution: float) -> list[str]:
    """What beam tilt and aberrations do to the images at a resolution, where it is not small.

    Raises
    ------
    InputError
        They turn phases by more than can be left out.
    """
    reached: dict[str, AnyArray] = {}
    tilts = [
        table.numbers(label, 0.0) if table.has(label) else np.zeros(len(table))
        for label in columns.TILT
    ]
    if np.any(tilts):
        reached["beam tilt (rlnBeamTiltX, rlnBeamTiltY)"] = columns.tilt_phase(
            np.stack(tilts, axis=1),
            table.numbers("rlnVoltage", 300.0),
            table.numbers("rlnSphericalAberration", 2.7),
            resolution,
        )
    for label in columns.ZERNIKE:
        if table.has(label):
            cells = table.cells(label)
            phase = {
                cell: columns.zernike_phase(
                    columns.numbers_of(cell, table.path, label), "Odd" in label, resolution
                )
                for cell in set(cells)
            }
            reached["aberrations (%s)" % label] = np.array([phase[cell] for cell in cells])
    notes = []
    for what, phases in reached.items():
        largest = float(phases.max())
        bad = ~(phases <= columns.MOST_PHASE)
        if bad.any():
            raise InputError(
                "%s: %s turns phases by up to %.2g radians at %g A in %s, which is not corrected: "
                "choose a coarser resolution, or leave these particles out."
                % (table.path, what, largest, resolution, columns.rows(bad))
            )
        if largest > columns.NAMED_PHASE:
            notes.append(
                "%s turns phases by up to %.2g radians at %g A, which is not corrected: the finest "
                "details are weakened." % (what[0].upper() + what[1:], largest, resolution)
            )
    return notes
