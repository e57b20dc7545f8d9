"""Where heterogeneity is sought: the user's mask, or an automatic one."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pcainit.engine.arrays import AnyArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import auto_mask, contradiction, fit_mask
from pcainit.io.maps import read_mask
from pcainit.settings import Settings


def mask_of(mean: AnyArray, grid: Grid, settings: Settings) -> AnyArray:
    """The mask that settings ask for.

    Parameters
    ----------
    mean : (box, box, box) float32
        What an automatic mask is made of.
    grid : Grid
    settings : Settings

    Returns
    -------
    (box, box, box) float32

    Raises
    ------
    InputError
        The user's mask cannot be read, or the mean is dark on bright.
    """
    return mask_and_note(mean, grid, settings)[0]


def mask_and_note(mean: AnyArray, grid: Grid, settings: Settings) -> tuple[AnyArray, str]:
    """The same, and a sentence where a mask's sampling rate contradicts the particles'."""
    if settings.mask:
        given, sampling = read_mask(settings.mask, settings.mask_sampling)
        return fit_mask(given, sampling, grid), contradiction(len(given), sampling, grid)
    mask = auto_mask(
        mean,
        grid,
        threshold=settings.mask_threshold,
        near=settings.mask_near,
        far=settings.mask_far,
    )
    return mask, ""
