"""Blocks that sums over many particles are parted in: as many on any number of threads."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import IntArray

SCRATCH_BYTES = 256 * 2**20
ITEMS_PER_GRID = 2500  # a grid of its own must be worth filling with zeros


def block_count(grid_bytes: int, items: int) -> int:
    """Number of private grids a sum runs over: a power of two, whatever the threads."""
    most = min(SCRATCH_BYTES // max(1, grid_bytes), items // ITEMS_PER_GRID)
    out: int = 2 ** int(np.log2(np.clip(most, 2, 16)))
    return out


def block_starts(count: int, blocks: int) -> IntArray:
    """(blocks + 1,) int64, bounds of near-equal runs of `count` items."""
    return np.linspace(0, count, blocks + 1).astype(np.int64)
