"""Each particle's latent coordinates: sufficient statistics with the nuisances integrated out."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcainit.engine.latent_model import Background, LatentModel, run_pass


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

    precision: np.ndarray
    score: np.ndarray

    def posterior(self, variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior means (n, q) and covariances (n, q, q) under the prior N(0, variances)."""
        prior = np.diag(1 / np.asarray(variances, np.float64))
        covariance = np.linalg.inv(self.precision + prior)
        mean = np.einsum("nab,nb->na", covariance, self.score)
        return mean.astype(np.float32), covariance.astype(np.float32)


def compute_latents(background: Background, model: LatentModel, index: np.ndarray) -> Latents:
    """Statistics of some particles for orthonormal components.

    Parameters
    ----------
    background : Background
    model : LatentModel
    index : (n,) int

    Returns
    -------
    Latents
    """
    q = model.q
    precision = np.concatenate([np.ones(q), model.nuisance.precision])
    result = run_pass(background, model.components, precision, index, keep=True)
    return marginalise(result.grams, result.scores, q, model.nuisance.precision)


def marginalise(grams: np.ndarray, scores: np.ndarray, q: int, precision: np.ndarray) -> Latents:
    """Integrate all coefficients but the first q out (Schur complement).

    Parameters
    ----------
    grams, scores : (n, q + m, q + m), (n, q + m) float32
    q : int
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
