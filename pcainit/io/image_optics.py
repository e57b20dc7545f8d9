"""Pixel sizes, boxes and magnifications of particle images, and what their headers say."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.images.aberrations import Aberrations, with_tilt
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


def read_aberrations(table: ParticleTable, resolution: float | None) -> Aberrations | None:
    """Beam tilt and Zernike polynomials of each particle; None where there are none.

    Parameters
    ----------
    table : ParticleTable
    resolution : float or None
        Finest one that the images are used at, Angstrom: how large phases are is judged there.

    Raises
    ------
    InputError
        They turn phases by more than any microscope does.
    """
    count = len(table)
    odd, even = (_coefficients(table, label) for label in columns.ZERNIKE)
    tilt = np.zeros((count, 2))
    for axis, label in enumerate(columns.TILT):
        if table.has(label):
            tilt[:, axis] = table.numbers(label)
    if not (odd.any() or even.any() or tilt.any()):
        return None
    if tilt.any():
        odd = np.pad(odd, [(0, 0), (0, max(0, 5 - odd.shape[1]))])
        odd = with_tilt(
            odd,
            tilt,
            table.numbers("rlnVoltage", 300.0),
            table.numbers("rlnSphericalAberration", 2.7),
        )
    groups, of = np.unique(np.hstack([odd, even]), axis=0, return_inverse=True)
    found = Aberrations(
        groups[:, : odd.shape[1]], groups[:, odd.shape[1] :], of.ravel().astype(np.int32)
    )
    if resolution is not None:
        largest = found.largest(resolution)
        bad = ~(largest <= columns.MOST_PHASE)
        if bad.any():
            raise InputError(
                "%s: beam tilt and aberrations (%s) turn phases by up to %.3g radians at %g A in "
                "%s, as no microscope does: correct the columns, or leave these particles out."
                % (
                    table.path,
                    ", ".join(x for x in (*columns.TILT, *columns.ZERNIKE) if table.has(x)),
                    largest.max(),
                    resolution,
                    columns.rows(bad),
                )
            )
    return found


def _coefficients(table: ParticleTable, label: str) -> AnyArray:
    """One list of numbers per particle as (n, c) float64, the shorter ones filled with 0."""
    if not table.has(label):
        return np.zeros((len(table), 0))
    cells = table.cells(label)
    lists = {cell: columns.numbers_of(cell, table.path, label) for cell in set(cells)}
    width = max(len(values) for values in lists.values())
    out = np.zeros((len(table), width))
    for row, cell in enumerate(cells):
        out[row, : len(lists[cell])] = lists[cell]
    if not np.isfinite(out).all():
        raise InputError(
            "%s: %s of %s holds what is not a finite number."
            % (table.path, label, columns.rows(~np.isfinite(out).all(axis=1)))
        )
    return out
