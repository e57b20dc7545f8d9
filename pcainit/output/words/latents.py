"""Volumes from given latent coordinates, in words."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.pipeline.results import RunResults
from pcainit.settings import Settings


def verdict(results: RunResults, settings: Settings, along: int, matched_by: str) -> str:
    """What was made, in words."""
    final = results.volumes
    assert final is not None and final.particles is not None and final.pairwise is not None
    assert final.particles.coordinates is not None
    shares = ", ".join("%.3g" % (100 * share) for share in final.weights)
    q, count = final.particles.coordinates.shape[1], len(final.weights)
    if along:
        how = "%d volumes at even steps along dimension %d of %d latent coordinates (%s %%)." % (
            count,
            along,
            q,
            shares,
        )
    else:
        how = "%d class%s of particles in %d latent coordinate%s (%s %%)%s." % (
            count,
            "" if count == 1 else "es",
            q,
            "" if q == 1 else "s",
            shares,
            ", the number chosen by BIC" if not settings.n_classes else "",
        )
    words = [how]
    pairs = final.pairwise
    if len(pairs) > 1:
        apart = pairs[~np.eye(len(pairs), dtype=bool)]
        words.append(
            "The volumes differ by %.1f to %.1f times their noise (1: noise alone)."
            % (apart.min(), apart.max())
        )
    words.append(
        "The coordinates are taken as they are: whether they show structure or noise is "
        "for the program that made them to say."
    )
    words.append(
        "Their rows are taken to be in the order of the particles."
        if matched_by == "order"
        else "Their rows were matched to the particles by %s." % matched_by
    )
    return " ".join(words)
