"""Each particle's latent coordinates: sufficient statistics with the nuisances integrated out."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcainit.engine.arrays import FloatArray, IntArray
from pcainit.engine.model.e_step import posterior_statistics
from pcainit.engine.model.image_model import Background, LatentModel, in_parts

_FIXED_CONTRAST = 1e12


@dataclass(frozen=True, eq=False)
class Latents:
    """Statistics of n particles in the space of q components.

    Parameters
    ----------
    precision : (n, q, q) float32
        ``G_i``: how well each particle determines its coordinates.
    score : (n, q) float32
        ``b_i``.
    """

    precision: FloatArray
    score: FloatArray

    def posterior(self, variances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior means (n, q) and covariances (n, q, q) under the prior N(0, variances)."""
        prior = np.diag(1 / np.asarray(variances, np.float64))
        covariance = np.linalg.inv(self.precision + prior)
        mean = np.einsum("nab,nb->na", covariance, self.score)
        return mean.astype(np.float32), covariance.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Measurements:
    """Statistics of n particles in the space of q components, their contrast left open.

    Where a particle belongs to the point c, its image is ``(1 + d) C P (mu + U c)``: contrast is
    that of the whole particle, so it cannot be integrated out before c is known.

    Parameters
    ----------
    precision : (n, q, q) float32
        ``G_i`` at contrast 1, pose errors integrated out.
    score : (n, q) float32
        ``b_i``.
    contrast : (n, q + 2) float32
        The same of the contrast d: its row with the q components, with itself, and its score.
    contrast_precision : float
        One over the variance of d.
    """

    precision: FloatArray
    score: FloatArray
    contrast: FloatArray
    contrast_precision: float

    def __len__(self) -> int:
        return len(self.score)

    @staticmethod
    def at_contrast_one(precision: FloatArray, score: FloatArray) -> Measurements:
        """Of particles that all have contrast 1."""
        none = np.zeros((len(score), score.shape[1] + 2), np.float32)
        return Measurements(precision, score, none, _FIXED_CONTRAST)

    def take(self, index: IntArray) -> Measurements:
        """Those of some of the particles."""
        return Measurements(
            self.precision[index], self.score[index], self.contrast[index], self.contrast_precision
        )

    def first(self, count: int) -> Measurements:
        """Those of the first components alone."""
        q = self.score.shape[1]
        columns = [*range(count), q, q + 1]
        return Measurements(
            np.ascontiguousarray(self.precision[:, :count, :count]),
            np.ascontiguousarray(self.score[:, :count]),
            np.ascontiguousarray(self.contrast[:, columns]),
            self.contrast_precision,
        )

    def marginal(self) -> Latents:
        """The statistics with the mean's contrast integrated out, as near the mean."""
        q = self.score.shape[1]
        row = self.contrast[:, :q]
        scale = 1 / (self.contrast[:, q].astype(np.float64) + self.contrast_precision)
        both = row * scale[:, None]
        precision = self.precision - both[:, :, None] * row[:, None, :]
        score = self.score - both * self.contrast[:, q + 1, None]
        return Latents(precision.astype(np.float32), score.astype(np.float32))


def held_out_gain(particles: Measurements, variances: FloatArray) -> float:
    """Measure by how much components explain particles that had no part in them.

    The log of the marginal likelihood with coordinates of these variances over that without any,
    ``sum_i (b' (G + 1/v)^-1 b - log |1 + v G|) / 2``, near contrast 1.

    Parameters
    ----------
    particles : Measurements
        Of each half-set along the other's components.
    variances : (q,) float64
        Of the latent coordinates along each component.

    Returns
    -------
    float
        Natural logarithm.
    """
    latents = particles.marginal()
    precision = latents.precision.astype(np.float64) + np.diag(1 / variances)
    solved = np.linalg.solve(precision, latents.score[:, :, None].astype(np.float64))[:, :, 0]
    explained = float((latents.score * solved).sum())
    volume = np.linalg.slogdet(precision)[1].sum() + len(precision) * np.log(variances).sum()
    return (explained - float(volume)) / 2


def measure(
    background: Background, model: LatentModel, index: IntArray, beside: LatentModel | None = None
) -> Measurements:
    """Measure some particles along orthonormal components.

    Parameters
    ----------
    background : Background
        What stays fixed while components or classes are sought.
    model : LatentModel
        Components, their variances and the spread of the nuisances.
    index : (n,) int
        Rows of the particles that are used.
    beside : LatentModel, optional
        Components that are integrated out, as nuisances are.

    Returns
    -------
    Measurements
    """
    n, q, nuisance = len(index), model.q, model.nuisance.precision
    volumes = (
        model.components if beside is None else np.concatenate([model.components, beside.scaled])
    )
    t = len(volumes)
    last = np.r_[:q, t : t + len(nuisance), q:t]  # what is integrated out comes last
    out = Measurements(
        np.empty((n, q, q), np.float32),
        np.empty((n, q), np.float32),
        np.empty((n, q + 2), np.float32),
        float(nuisance[0]),
    )
    for part in in_parts(n):
        result = posterior_statistics(
            background, volumes, model.nuisance.precision_beside(t), index[part]
        )
        grams, scores = result.grams, result.scores
        if t > q:
            alone = marginalise(
                grams[:, last][:, :, last], scores[:, last], q + len(nuisance), np.ones(t - q)
            )
            grams, scores = alone.precision, alone.score
        some = measurements(grams, scores, nuisance)
        out.precision[part], out.score[part] = some.precision, some.score
        out.contrast[part] = some.contrast
    return out


def measurements(grams: FloatArray, scores: FloatArray, nuisance: FloatArray) -> Measurements:
    """Measurements from the statistics (n, q + 7, q + 7) and (n, q + 7) of a pass.

    Parameters
    ----------
    grams, scores : float32
        ``A' A`` and ``A' r`` of each particle.
    nuisance : (7,) float64
        Prior precision of the nuisances.

    Returns
    -------
    Measurements
    """
    q = scores.shape[1] - len(nuisance)
    # Contrast, the first nuisance, is taken along as one more component.
    joint = marginalise(grams, scores, q + 1, nuisance[1:])
    contrast = np.concatenate([joint.precision[:, q], joint.score[:, q:]], axis=1)
    return Measurements(
        np.ascontiguousarray(joint.precision[:, :q, :q]),
        np.ascontiguousarray(joint.score[:, :q]),
        contrast,
        float(nuisance[0]),
    )


def compute_latents(background: Background, model: LatentModel, index: IntArray) -> Latents:
    """`measure`, with contrast integrated out as near the mean."""
    return measure(background, model, index).marginal()


def marginalise(grams: FloatArray, scores: FloatArray, q: int, precision: FloatArray) -> Latents:
    """Integrate all coefficients but the first q out (Schur complement).

    Parameters
    ----------
    grams, scores : (n, q + m, q + m), (n, q + m) float32
        ``A' A`` and ``A' r`` of each particle.
    q : int
        How many coefficients stay.
    precision : (m,) float64
        Prior precision of the coefficients that are integrated out.

    Returns
    -------
    Latents
    """
    inner = grams[:, q:, q:].astype(np.float64)
    inner += np.diag(precision)
    cross = grams[:, q:, :q].astype(np.float64)
    both = np.linalg.solve(inner, np.concatenate([cross, scores[:, q:, None]], axis=2))
    reduced = grams[:, :q, :q] - np.einsum("nwa,nwb->nab", cross, both[:, :, :q])
    score = scores[:, :q] - np.einsum("nwa,nw->na", cross, both[:, :, q])
    return Latents(reduced.astype(np.float32), score.astype(np.float32))
