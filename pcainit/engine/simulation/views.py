"""Directions that simulated particles are seen from."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from pcainit.engine.arrays import FloatArray, IntArray

CONE = 30.0  # degrees about the axis that a state prefers


def draw_views(count: int, preferred: float, rng: np.random.Generator) -> FloatArray:
    """Poses drawn uniformly, or about two directions common to all states.

    Parameters
    ----------
    count : int
    preferred : float
        Probability that a particle is seen from one of the two directions.
    rng : numpy Generator

    Returns
    -------
    (count, 3, 3) float64
        Specimen to image.
    """
    views = Rotation.random(count, random_state=int(rng.integers(2**31)))
    biased = rng.uniform(size=count) < preferred
    rot = rng.uniform(-180, 180, count)
    tilt = np.where(
        rng.uniform(size=count) < 0.7, rng.normal(90, 12, count), rng.normal(15, 10, count)
    )
    rot = np.where(tilt > 50, 40 + 0.15 * rot, rot)
    about = Rotation.from_euler(
        "ZYZ", np.stack([rot, tilt, rng.uniform(-180, 180, count)], 1), degrees=True
    )
    matrices = np.where(biased[:, None, None], about.as_matrix(), views.as_matrix())
    return matrices.transpose(0, 2, 1)


def prefer_by_state(
    rotations: FloatArray, state: IntArray, shares: Sequence[float], seed: int
) -> FloatArray:
    """Turn a share of the particles of each state towards one axis, the same for all states.

    Directions are uniform in a cone of 30 degrees about the axis.

    Parameters
    ----------
    rotations : (n, 3, 3)
        Specimen to image.
    state : (n,) int
    shares : sequence of float
        One for each state, exact but for rounding.
    seed : int

    Returns
    -------
    (n, 3, 3) float64
    """
    rng, out = np.random.default_rng([seed, 6]), np.array(rotations, np.float64)
    towards = Rotation.random(1, random_state=int(rng.integers(2**31))).as_matrix()[0]
    for number, share in enumerate(shares):
        members = rng.permutation(np.flatnonzero(state == number))
        chosen = members[: int(round(share * len(members)))]
        n = len(chosen)
        if not n:  # older SciPy makes no rotations of nothing
            continue
        turn, roll = rng.uniform(-180, 180, (2, n))
        tilt = np.degrees(np.arccos(rng.uniform(np.cos(np.radians(CONE)), 1, n)))
        # The axis goes to z first; then as RELION's angles, from the specimen's frame.
        about = Rotation.from_euler("ZYZ", np.stack([turn, tilt, roll], 1), degrees=True)
        out[chosen] = about.as_matrix().transpose(0, 2, 1) @ towards
    return out
