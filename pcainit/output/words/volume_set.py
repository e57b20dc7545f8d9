"""PCA of given volumes, in words."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.volume_sets.volume_set import VolumeComponents
from pcainit.io.map_list import MapFile
from pcainit.pipeline.results import RunResults

NO_NOISE = 1e-3  # of the variance, at most, below the noise edge


def coordinates_table(entries: list[MapFile], posterior: AnyArray, coordinates: AnyArray) -> str:
    """Class, probability and coordinates of each volume, as text."""
    lines = ["# class probability coordinates... file"]
    for entry, shares, point in zip(entries, posterior, coordinates):
        label = int(shares.argmax())
        lines.append(
            "%d %.4f %s %s"
            % (label + 1, shares[label], " ".join("%.6g" % value for value in point), entry.path)
        )
    return "\n".join(lines) + "\n"


def verdict(results: RunResults, chosen: bool, warning: str = "") -> str:
    """What was found, in words; a warning comes second."""
    final, found, edge = results.volumes, results.components.volumes, results.components.noise_edge
    assert final is not None and found is not None and edge is not None
    n, shares = len(found.coordinates), final.weights
    words = [
        "%d volumes in %d class%s (%s %%)%s."
        % (
            n,
            len(shares),
            "" if len(shares) == 1 else "es",
            ", ".join("%.3g" % (100 * s) for s in shares),
            _choice_in_words(results) if chosen else "",
        ),
        *filter(None, [warning]),
        _components_in_words(found, edge),
    ]
    pairs = final.pairwise
    if len(pairs) > 1:
        apart = pairs[~np.eye(len(pairs), dtype=bool)]
        words.append(
            "The representative volumes differ by %.1f to %.1f times what the spread "
            "within the classes gives." % (apart.min(), apart.max())
        )
    words.append("Whether the input volumes show states or noise cannot be told from them alone.")
    return " ".join(words)


def _choice_in_words(results: RunResults) -> str:
    """How the number of classes was chosen."""
    if results.clusters is not None and results.clusters.bic is not None:
        return ", the number chosen by BIC"
    if results.volumes is not None and len(results.volumes.weights) > 1:
        return ", which stand apart by more than chance would have it"
    return ", as no groups of them stand apart; to tell more of so few, give the number of classes"


def _components_in_words(found: VolumeComponents, edge: float) -> str:
    """How much the components hold, and how many of them stand out of noise."""
    values, spectrum = found.variances, found.spectrum
    total = max(float(spectrum.sum()), 1e-300)
    text = "The first %d components hold %.0f %% of the variance inside the mask" % (
        len(values),
        100 * values.sum() / total,
    )
    if not np.isfinite(edge):
        return text + "; there are too few volumes to tell components from noise."
    above = int((values > edge).sum())
    text += "; %s %s above the noise edge" % (
        "all" if above == len(values) else above or "none",
        "lies" if above == 1 else "lie",
    )
    if spectrum[spectrum <= edge].sum() < NO_NOISE * total:
        text += ", as the volumes have next to no noise of their own"
    return text + "."
