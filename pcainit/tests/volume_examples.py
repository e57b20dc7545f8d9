"""Sets of volumes of known states, sampled analytically on any grid."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import functools

import numpy as np

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.simulation.simulate import Simulation, make_states
from pcainit.io.maps import write_map

BOX, SAMPLING = 48, 5.0
# Blobs wide enough to be sampled without aliasing on every grid.
STATES = [
    dataclasses.replace(state, width=9.0)
    for state in make_states(Simulation(box_px=BOX, sampling=SAMPLING, populations=(1, 1, 1)))
]


@functools.lru_cache(maxsize=None)
def state_volumes(box=BOX, sampling=SAMPLING):
    """Volumes of the three states, (3, box, box, box)."""
    return np.stack([state.volume(box, sampling) for state in STATES])


def smooth_states(resolution=20.0):
    """The same without what is finer than the resolution."""
    grid = Grid(BOX, SAMPLING, resolution)
    return np.stack([grid.to_particle_box(grid.from_particle_box(v)) for v in state_volumes()])


def mixed(shares, box=BOX, sampling=SAMPLING):
    """A volume that is a weighted sum of the states."""
    return np.tensordot(np.asarray(shares, float), state_volumes(box, sampling), 1)


def write_set(folder, shares, *, noise=0.0, seed=0, boxes=((BOX, SAMPLING),), scales=None):
    """Write one map for each row of shares; returns the folder.

    Parameters
    ----------
    shares : (n, 3)
    noise : float
        Standard deviation of white noise in units of the state's own.
    boxes : sequence of (box, sampling)
        Taken in turn.
    scales : (n, 2), optional
        Factor and offset of each map's density.
    """
    rng = np.random.default_rng(seed)
    for k, share in enumerate(shares):
        box, sampling = boxes[k % len(boxes)]
        volume = mixed(share, box, sampling)
        volume = volume + rng.normal(0, noise * volume.std(), volume.shape)
        if scales is not None:
            volume = volume * scales[k][0] + scales[k][1]
        write_map(folder / ("volume_%04d.mrc" % k), volume, sampling)
    return folder
