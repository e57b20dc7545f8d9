"""The maps of a result folder, in the particles' box."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import functools
from typing import Callable

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.resample import to_grid
from pcainit.io.maps import write_blocks
from pcainit.output.result_folder import (
    CLASS_MAP,
    COMPONENT_MAP,
    FINE_MAP,
    MASK_MAP,
    MEAN_MAP,
    PLACES_MAP,
    VARIANCE_MAP,
    ResultFolder,
)
from pcainit.pipeline.results import RunResults

_BYTES = 2**29  # that all writers may need


def maps_at_once(grid: Grid, threads: int) -> int:
    """How many maps to write side by side, so that memory stays bounded."""
    return max(1, min(threads, _BYTES // (12 * grid.box_px * grid.box**2)))


def map_writers(
    folder: ResultFolder, results: RunResults, resolution: float
) -> list[Callable[[], None]]:
    """What writes each of the maps.

    Parameters
    ----------
    folder : ResultFolder
    results : RunResults
    resolution : float
        Of the class volumes that are handed over, Angstrom; where that of the results is finer,
        their volumes are written too, beside them.
    """
    found, final, grid = results.components, results.volumes, results.grid
    volumes = {MEAN_MAP: results.mean, VARIANCE_MAP: _variance(results)}
    for pattern, those in (
        (CLASS_MAP, None if final is None else final.volumes),
        (COMPONENT_MAP, found.components),
    ):
        if those is not None:
            volumes.update((pattern % (k + 1), volume) for k, volume in enumerate(those))
    handed_over, classes = dataclasses.replace(grid, resolution=resolution), set()
    if final is not None and resolution != grid.resolution:
        classes = {CLASS_MAP % (k + 1) for k in range(len(final.volumes))}
        volumes.update((FINE_MAP % (k + 1), v) for k, v in enumerate(final.volumes))
    masks = {MASK_MAP: results.mask}
    search = None if found.particles is None else found.particles.search
    if search is not None and search.mask.any():
        masks[PLACES_MAP] = search.mask

    def write(name: str, volume: AnyArray, mask: bool) -> None:
        own = grid
        if name in classes:
            own, volume = handed_over, to_grid(volume[None], grid, handed_over)[0]
        blocks = own.particle_box_blocks(volume)
        if mask:  # the edge of a finer box rings
            blocks = (np.clip(block, 0, 1) for block in blocks)
        write_blocks(folder / name, blocks, (grid.box_px,) * 3, grid.sampling)

    return [
        functools.partial(write, name, volume, some is masks)
        for some in (volumes, masks)
        for name, volume in some.items()
    ]


def _variance(results: RunResults) -> AnyArray:
    """Of the density at each voxel: as measured, or of the components or the volumes."""
    found, final = results.components, results.volumes
    if found.variance is not None:
        return found.variance
    if found.components is not None and found.eigenvalues is not None:
        return np.asarray(np.einsum("c,czyx->zyx", found.eigenvalues, found.components**2))
    assert final is not None
    return np.asarray(final.volumes.var(axis=0))
