"""The maps of a result folder, in the particles' box."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Callable, Dict

import numpy as np

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.resample import to_grid
from pcainit.io.maps import write_blocks

Arrays = Dict[str, np.ndarray]
_BYTES = 2**29  # that all writers may need


def maps_at_once(grid: Grid, threads: int) -> int:
    """How many maps to write side by side, so that memory stays bounded."""
    return max(1, min(threads, _BYTES // (12 * grid.box_px * grid.box**2)))


def map_writers(
    folder: Path, stages: dict[str, Arrays], grid: Grid, resolution: float
) -> list[Callable[[], None]]:
    """What writes each of the maps.

    Parameters
    ----------
    folder : Path
    stages : dict
    grid : Grid
        Of all volumes in `stages`.
    resolution : float
        Of the class volumes that are handed over, Angstrom; where the grid is finer, its volumes
        are written too, beside them.
    """
    handed_over = dataclasses.replace(grid, resolution=resolution)
    found, before = stages["components"], stages["reconstruct"]
    volumes = {"components/mean.mrc": before["mean"], "components/variance.mrc": _variance(stages)}
    for pattern, those in (
        ("volumes/class_%03d.mrc", stages.get("volumes", {}).get("volumes", ())),
        ("components/component_%03d.mrc", found.get("components", ())),
    ):
        volumes.update((pattern % (k + 1), volume) for k, volume in enumerate(those))
    fine: dict[str, np.ndarray] = {}
    if resolution != grid.resolution:
        fine = {name: v for name, v in volumes.items() if name.startswith("volumes/")}
        volumes.update(("fine_" + name, volume) for name, volume in fine.items())
    masks = {"components/mask.mrc": before["mask"]}
    if found.get("place_mask", np.zeros(1)).any():
        masks["components/changing_places.mrc"] = found["place_mask"]

    def write(name: str, volume: np.ndarray, mask: bool) -> None:
        own = grid
        if name in fine:
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


def _variance(stages: dict[str, Arrays]) -> np.ndarray:
    found = stages["components"]
    if "variance" in found:
        return found["variance"]
    if "components" in found:
        return np.einsum("c,czyx->zyx", found["eigenvalues"], found["components"] ** 2)
    return stages["volumes"]["volumes"].var(axis=0)
