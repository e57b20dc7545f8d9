"""What pose errors have taken from the classes, given back to them.

A class may differ from the consensus by what is, to first order, a turn or a shift of the whole: a
subunit that turns takes the whole with it a little.  Particle by particle that passes for an error
of the pose, and the class's volume goes without it.  But errors have mean zero in every class: the
mean of the class's errors, in the frame of the particle, is a part of what it differs by.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.geometry.rigid_motion import move_volume
from pcainit.engine.images.particles import subsample
from pcainit.engine.model.class_model import ClassModel
from pcainit.engine.model.e_step import posterior_statistics
from pcainit.engine.model.image_model import Background, NuisanceSpread, in_parts
from pcainit.engine.model.posterior import NUISANCES

MOTIONS = 6  # shift along the particle's x, y, z; rotation about them
TELLING = 3000  # particles of a class that tell its offset
MIN_TELLING = 100
MIN_SHARE = 0.01  # of a particle that counts


def estimate_class_motion(
    background: Background,
    model: ClassModel,
    posterior: FloatArray,
    index: IntArray,
    nuisance: NuisanceSpread,
) -> FloatArray:
    """Mean shift and rotation of the particles of each class that its volume lacks.

    Equation (17) of docs/theory.md.

    The maximum of the marginal likelihood in which a particle's nuisances are normal about its
    class's mean and integrated out, less what noise gives.  Where classes overlap, particles ask
    for a little more of what their volume shows already: of an offset from the volume that points
    the way of the volume's own from the consensus, only its share of the two together is taken.

    Parameters
    ----------
    background : Background
    model : ClassModel
    posterior : (n, K) float32
        Of all particles.
    index : (m,) int
        Particles that count.
    nuisance : NuisanceSpread

    Returns
    -------
    (K, 6) float64
        Shift (pixels of the particles' box) and rotation vector (radians), in the particle's frame.
    """
    out = np.zeros((len(model.weights), MOTIONS))
    for k, difference in enumerate(model.differences):
        chosen = subsample(index[posterior[index, k] > MIN_SHARE], TELLING)
        if len(chosen) < MIN_TELLING:
            continue
        share = posterior[chosen, k].astype(np.float64)
        whole, _ = _mean_offset(background, chosen, share, nuisance)
        lacking, normal = _mean_offset(_about(background, difference), chosen, share, nuisance)
        size, both = float(lacking @ normal @ lacking), float(lacking @ normal @ whole)
        out[k] = max(size - MOTIONS, 0.0) / max(size, both, 1e-30) * lacking
    # What all classes share would move the consensus.
    return out - model.weights @ out


def _mean_offset(
    background: Background, index: IntArray, share: FloatArray, nuisance: NuisanceSpread
) -> tuple[FloatArray, FloatArray]:
    """Offset (6,) of some particles from the background's mean, and its precision (6, 6)."""
    box, prior = background.grid.box, nuisance.precision
    none = np.zeros((0, box, box, box), np.float32)
    normal, right = np.zeros((MOTIONS, MOTIONS)), np.zeros(MOTIONS)
    for part in in_parts(len(index)):
        some = index[part]
        result = posterior_statistics(background, none, nuisance.precision, some)
        covariance = np.linalg.inv(result.grams.astype(np.float64) + np.diag(prior))
        # The prior is about the recorded poses: what slices were corrected by counts.
        mean = np.einsum("nab,nb->na", covariance, result.scores) + background.offsets[some]
        frame = _in_images(background.slices.rotations[some])
        weighted = frame * share[part, None, None]
        told = np.diag(prior) - prior[:, None] * covariance * prior
        normal += np.einsum("nai,nab,nbj->ij", weighted, told, frame)
        right += np.einsum("nai,na->i", weighted, mean * prior)
    normal += 1e-9 * np.trace(normal) * np.eye(MOTIONS)
    return np.linalg.solve(normal, right), normal


def _in_images(rotations: FloatArray) -> FloatArray:
    """Nuisances of images that an offset of the particle makes, (n, 7, 6)."""
    out = np.zeros((len(rotations), NUISANCES, MOTIONS))
    out[:, 1:3, :3] = rotations[:, :2]
    out[:, 3:6, 3:] = rotations
    return out


def _about(background: Background, difference: FloatArray) -> Background:
    """The background with a class's volume as its mean."""
    return dataclasses.replace(
        background,
        mean=background.mean + difference,
        moments=background.moments + background.grid.moments(difference),
    )


def apply_class_motion(
    background: Background, mask: FloatArray, model: ClassModel, offsets: FloatArray
) -> ClassModel:
    """Classes whose volumes, mean and difference together, are moved inside the mask.

    Parameters
    ----------
    background : Background
    mask : (box, box, box) float32
    model : ClassModel
    offsets : (K, 6) float64
        See `estimate_class_motion`.

    Returns
    -------
    ClassModel
    """
    changes, grid = [], background.grid
    for difference, offset in zip(model.differences, offsets):
        volume = background.mean + difference
        shift = offset[:3] * grid.box / grid.box_px
        changes.append((move_volume(volume, shift, offset[3:]) - volume) * mask)
    return ClassModel(model.differences + np.stack(changes).astype(np.float32), model.weights)
