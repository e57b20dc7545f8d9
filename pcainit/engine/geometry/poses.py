"""Rotations: Euler angles, viewing directions, point groups."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import numpy as np
from scipy.spatial.transform import Rotation

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.errors import InputError

# Generators (order, axis) in RELION's orientation of each group.
_POLYHEDRAL: dict[str, list[tuple[int, tuple[float, float, float]]]] = {
    "t": [(3, (0, 0, 1)), (2, (0, 0.816496580927726, 0.577350269189626))],
    "o": [(3, (1, 1, 1)), (4, (0, 0, 1))],
    "i1": [
        (2, (1, 0, 0)),
        (5, (0.850650808352040, 0, -0.525731112119134)),
        (3, (0.934172358962716, 0.356822089773090, 0)),
    ],
    "i2": [
        (2, (0, 0, 1)),
        (5, (0.525731112119134, 0, 0.850650808352040)),
        (3, (0, 0.356822089773090, 0.934172358962716)),
    ],
    "i3": [
        (2, (-0.525731112119134, 0, 0.850650808352040)),
        (5, (0, 0, 1)),
        (3, (-0.491123473188423, 0.356822089773090, 0.794654472291766)),
    ],
    "i4": [
        (2, (0.525731112119134, 0, 0.850650808352040)),
        (5, (0, 0, -1)),
        (3, (0.491123473188423, 0.356822089773090, 0.794654472291766)),
    ],
}
_POLYHEDRAL["i"] = _POLYHEDRAL["i2"]
# Pairs of views used to test whether poses keep to one asymmetric unit, and the share of pairs that
# are then closest as they are written: 0.68 in apoferritin refined with O.
PAIRS, ONE_UNIT = 20000, 0.68


def rotation_from_euler(rot: FloatArray, tilt: FloatArray, psi: FloatArray) -> FloatArray:
    """RELION's matrix (specimen to image) from its Euler angles in degrees.

    Parameters
    ----------
    rot, tilt, psi : (n,) float
        RELION's Euler angles, degrees.

    Returns
    -------
    (n, 3, 3) float32

    Examples
    --------
    >>> from pcainit.engine.geometry.poses import rotation_from_euler
    >>> rotation_from_euler([90.0], [0.0], [0.0])[0].round().astype(int).tolist()
    [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    """
    a, b, c = (np.radians(np.asarray(angle, np.float64)) for angle in (rot, tilt, psi))
    ca, sa, cb, sb, cc, sc = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    matrix = np.empty((len(a), 3, 3))
    matrix[:, 0, 0] = cc * cb * ca - sc * sa
    matrix[:, 0, 1] = cc * cb * sa + sc * ca
    matrix[:, 0, 2] = -cc * sb
    matrix[:, 1, 0] = -sc * cb * ca - cc * sa
    matrix[:, 1, 1] = -sc * cb * sa + cc * ca
    matrix[:, 1, 2] = sc * sb
    matrix[:, 2, 0] = sb * ca
    matrix[:, 2, 1] = sb * sa
    matrix[:, 2, 2] = cb
    return matrix.astype(np.float32)


def euler_from_rotation(rotations: FloatArray) -> FloatArray:
    """RELION's angles (rot, tilt, psi) in degrees of matrices (n, 3, 3); inverse of the above."""
    m = np.asarray(rotations, np.float64)
    tilt = np.arctan2(np.hypot(m[:, 2, 0], m[:, 2, 1]), m[:, 2, 2])
    flat = np.sin(tilt) < 1e-6
    rot = np.where(flat, 0.0, np.arctan2(m[:, 2, 1], m[:, 2, 0]))
    psi = np.where(
        flat,
        np.arctan2(-m[:, 1, 0] * np.sign(m[:, 2, 2]), m[:, 1, 1]),
        np.arctan2(m[:, 1, 2], -m[:, 0, 2]),
    )
    out: FloatArray = np.degrees(np.stack([rot, tilt, psi], axis=1))
    return out


def view_directions(rotations: FloatArray) -> FloatArray:
    """Direction each particle is seen from, specimen frame, (n, 3)."""
    return rotations[:, 2, :]


def direction_order(directions: FloatArray, bands: int = 18) -> FloatArray:
    """A number that is close for close views: band of latitude, then longitude (snaking).

    Parameters
    ----------
    directions : (n, 3) float
        Unit vectors.
    bands : int
        Number of bands of latitude.

    Returns
    -------
    (n,) float64
        The same for a view and its mirror.
    """
    folded = directions * np.where(directions[:, 2:] < 0, -1, 1)  # mirrored views are one
    band = np.minimum((np.abs(folded[:, 2]) * bands).astype(int), bands - 1)
    longitude = (np.arctan2(folded[:, 1], folded[:, 0]) / (2 * np.pi)) % 1.0
    out: FloatArray = band + np.where(band % 2, 1 - longitude, longitude) * 0.999
    return out


def view_rank(rotations: FloatArray) -> IntArray:
    """Place of each particle when all are sorted by view, (n,) int64."""
    order = np.argsort(direction_order(view_directions(rotations)), kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def keep_to_one_unit(rotations: FloatArray, symmetry: FloatArray, seed: int) -> bool:
    """Test whether poses were confined to one asymmetric unit of a point group.

    Refinements under a symmetry write each particle's pose within one unit.  Then of two particles'
    views, of all their equivalent ones, the two as written are mostly the closest; where the poses
    are anywhere, that is so for one pair in as many as there are equivalent poses.

    Parameters
    ----------
    rotations : (n, 3, 3) float32
        Specimen to image, of each particle.
    symmetry : (s, 3, 3) float64
        Rotations of the group, the identity first.
    seed : int
        Of the random numbers: the same one gives the same result.

    Returns
    -------
    bool
        Always False without symmetry.
    """
    if len(symmetry) == 1:
        return False
    views = view_directions(rotations).astype(np.float64)
    one, two = np.random.default_rng([seed, 61]).integers(0, len(views), (2, PAIRS))
    closeness = np.einsum("nk,gkl,nl->ng", views[one], symmetry, views[two], optimize=True)
    nearest = np.mean(closeness[:, 0] >= closeness.max(axis=1) - 1e-6)
    return bool(nearest > (1 / len(symmetry) + ONE_UNIT) / 2)


def symmetry_matrices(group: str) -> FloatArray:
    """Rotations of a point group in RELION's orientation.

    Parameters
    ----------
    group : str
        c1, c2..., d1, d2..., t, o, i, i1, i2, i3, i4.

    Returns
    -------
    (s, 3, 3) float64
        The identity first.

    Raises
    ------
    InputError
        The name is not one of these groups.

    Examples
    --------
    >>> from pcainit.engine.geometry.poses import symmetry_matrices
    >>> [len(symmetry_matrices(group)) for group in ("c1", "d2", "o", "i2")]
    [1, 4, 24, 60]
    """
    name = group.strip().lower()
    axial = re.fullmatch(r"([cd])([1-9][0-9]{0,2})", name)
    if axial:
        generators = [(int(axial.group(2)), (0.0, 0.0, 1.0))]
        if axial.group(1) == "d":
            generators.append((2, (1.0, 0.0, 0.0)))
    elif name in _POLYHEDRAL:
        generators = _POLYHEDRAL[name]
    else:
        raise InputError("symmetry is %r: give c1, c2..., d2..., t, o, i1, i2, i3 or i4." % group)
    return _closure(
        [
            Rotation.from_rotvec(
                2 * np.pi / n * np.array(axis, float) / np.linalg.norm(axis)
            ).as_matrix()
            for n, axis in generators
        ]
    )


def _closure(generators: list[FloatArray]) -> FloatArray:
    found = [np.eye(3)]
    for matrix in found:  # grows while it is walked through
        for generator in generators:
            product = matrix @ generator
            if not any(np.allclose(product, known, atol=1e-6) for known in found):
                found.append(product)
    return np.array(found)
