"""Solvent and focus masks in the working box."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
from scipy import ndimage

from pcainit.engine.arrays import BoolArray, FloatArray
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.errors import InputError


def auto_mask(
    mean: FloatArray, grid: Grid, *, threshold: float = 0.2, near: float = 10.0, far: float = 20.0
) -> FloatArray:
    """Make a soft solvent mask from the consensus: threshold, dilate, soft edge, as cryoSPARC.

    Densities count from the level around the particle, which crowding and the normalisation of
    backgrounds make negative in real consensus maps.  Cavities that the mask encloses are part of
    it.

    Parameters
    ----------
    mean : (box, box, box) float32
        Consensus density.
    grid : Grid
        Working grid: its samples, shells and boxes.
    threshold : float
        Share of the largest density, above the level around, that counts as the particle.
    near, far : float
        The mask is 1 up to `near` from the particle and falls to 0 at `far`, Angstrom.

    Returns
    -------
    (box, box, box) float32, 0 to 1

    Raises
    ------
    InputError
        The consensus is dark on bright.

    Examples
    --------
    >>> import numpy as np
    >>> from pcainit.engine.geometry.grid import Grid, radial_distance
    >>> from pcainit.engine.geometry.masks import auto_mask
    >>> grid = Grid(box_px=64, sampling=5.0, resolution=20.0)
    >>> ball = (radial_distance(grid.box) < 6).astype(np.float32)
    >>> mask = auto_mask(ball, grid)
    >>> float(mask[ball > 0].min()), float(mask[0, 0, 0])
    (1.0, 0.0)
    """
    inside = radial_distance(grid.box) < grid.box / 2 - 1
    top = float(mean[inside].max())
    if not top > 0 or -float(mean[inside].min()) > 2 * top:  # a particle's own ratio: 0.1-0.25
        raise InputError(
            "The consensus is dark on bright: if the particles are, invert their "
            "contrast (--invert-contrast)."
        )
    level = solvent_level(mean, _dilated(_dense(mean, threshold * top, inside), grid, near, far))
    dense = _dense(mean, _above(level, threshold, top), inside)
    return _dilated(dense, grid, near, far) * inside


def particle_body(mean: FloatArray, mask: FloatArray, threshold: float = 0.2) -> BoolArray:
    """Find what is densely filled in the consensus, and the cavities inside.

    Parameters
    ----------
    mean, mask : (box, box, box) float32
        The mask round the particle.
    threshold : float
        As for `auto_mask`.

    Returns
    -------
    (box, box, box) bool
    """
    inside = radial_distance(len(mean)) < len(mean) / 2 - 1
    level = _above(solvent_level(mean, mask), threshold, float(mean[inside].max()))
    out: BoolArray = ndimage.binary_fill_holes(_dense(mean, level, inside))
    return out


def _above(level: float, threshold: float, top: float) -> float:
    """Density that counts as the particle: a share of the way from a negative level to the top."""
    low = min(level, 0.0)
    return low + threshold * (top - low)


def _dense(mean: FloatArray, least: float, inside: BoolArray) -> BoolArray:
    """Voxels of more than some density, without specks beside the particle."""
    dense = (mean > least) & inside
    label, count = ndimage.label(dense)
    if count > 1:  # keep what is not a speck beside the particle
        size = ndimage.sum_labels(dense, label, np.arange(1, count + 1))
        dense = np.isin(label, 1 + np.flatnonzero(size >= 0.05 * size.max()))
    return dense


def _dilated(dense: BoolArray, grid: Grid, near: float, far: float) -> FloatArray:
    """Soft mask round dense voxels, without holes."""
    distance = ndimage.distance_transform_edt(~dense) * grid.voxel
    whole = ndimage.binary_fill_holes(distance <= near)
    return np.maximum(soft_edge(distance, near, far), whole).astype(np.float32)


def solvent_level(volume: FloatArray, mask: FloatArray) -> float:
    """Mean of a working-box volume around the mask, inside the sphere that touches the box.

    The images hardly determine a volume's own mean: the CTF is weak there and backgrounds vary.
    That the solvent is zero does.

    Parameters
    ----------
    volume, mask : (box, box, box) float32
        Density, and where the particle is in it, 0 to 1.

    Returns
    -------
    float
        0 where the mask leaves nothing around it.
    """
    box = len(volume)
    around = np.where(radial_distance(box) < box / 2 - 1, 1 - mask, 0)
    total = float(around.sum(dtype=np.float64))
    return float((volume * around).sum(dtype=np.float64)) / total if total > 1 else 0.0


def check_room(mask: FloatArray, components: int) -> None:
    """Check that a mask has a voxel for each component.

    Raises
    ------
    InputError
        It has fewer voxels than that.
    """
    voxels = int((mask > 0).sum())
    if components > voxels:
        raise InputError(
            "components is %d, but the mask has only %d voxels at this resolution: "
            "ask for %d or fewer, or give a larger mask." % (components, voxels, voxels)
        )


def soft_edge(distance: FloatArray, near: float, far: float) -> FloatArray:
    """Raised cosine from 1 at `near` to 0 at `far`."""
    step = np.clip((distance - near) / max(far - near, 1e-6), 0, 1)
    out: FloatArray = 0.5 * (1 + np.cos(np.pi * step))
    return out


def contradiction(box: int, sampling: float, grid: Grid) -> str:
    """Describe how a mask's sampling rate contradicts the particles' in one box, or nothing.

    Parameters
    ----------
    box : int
        Of the mask, pixels.
    sampling : float
        Of the mask, Angstrom per pixel; 0 where it is not known.
    grid : Grid
        Working grid: its samples, shells and boxes.
    """
    if box != grid.box_px or not sampling or abs(sampling / grid.sampling - 1) <= 0.02:
        return ""
    return (
        "The mask has the particles' box (%d pixels), but %.4g A per pixel by its header, and the "
        "particles have %.4g: it was taken to be %.4g A wide. If it was made for these particles, "
        "run again with --mask-sampling %.4g."
        % (box, sampling, grid.sampling, box * sampling, grid.sampling)
    )


def fit_mask(volume: FloatArray, sampling: float, grid: Grid) -> FloatArray:
    """A user's mask resampled to the working box (same centre, any box and sampling).

    Parameters
    ----------
    volume : (m, m, m) float32
        The mask as the user gives it.
    sampling : float
        Of the mask, Angstrom per pixel; 0 means the particles'.
    grid : Grid
        Working grid: its samples, shells and boxes.

    Returns
    -------
    (box, box, box) float32, 0 to 1

    Raises
    ------
    InputError
        Empty, or values that are no mask's.
    """
    low, high = float(volume.min()), float(volume.max())
    if high <= 0 or float((volume > 0.5 * high).mean()) < 1e-6:
        raise InputError("The mask is empty: give one that is 1 on the particle and 0 around it.")
    if low < -0.1 or not 0.5 < high < 1.1:
        raise InputError(
            "The mask has values from %.3g to %.3g, so it is no mask: make one with "
            "values from 0 to 1." % (low, high)
        )
    if low > 0.99:
        raise InputError(
            "The mask is 1 everywhere: leave it out or give one that is 0 around the particle."
        )
    step = grid.voxel / (sampling or grid.sampling)  # mask voxels per working voxel
    smooth = ndimage.gaussian_filter(volume, 0.4 * step) if step > 1.2 else volume
    axis = (np.arange(grid.box) - grid.box // 2) * step + len(volume) // 2
    index = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    fitted = ndimage.map_coordinates(smooth, index, order=1, mode="constant", cval=0.0)
    fitted = np.clip(fitted, 0, 1).astype(np.float32)
    if fitted.max() < 0.5 or float(fitted.sum()) < 8:
        raise InputError(
            "The mask covers next to nothing of the particles' box: check its "
            "sampling rate and that it is centred."
        )
    out: FloatArray = fitted
    return out
