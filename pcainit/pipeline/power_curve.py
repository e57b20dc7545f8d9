"""A positive control: domains added to the user's own particles, and the search made anew."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.components.positive_control import add_domain, choose_places, make_domain
from pcainit.engine.images.particles import Slices
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.grown_mask import find_in_grown_mask
from pcainit.pipeline.masks import mask_of
from pcainit.pipeline.results import ComponentsResult, ConsensusResult
from pcainit.settings import Settings

Progress = Callable[[float], None]

SHARES = (0.05, 0.1, 0.2, 0.4)
CASES = 3  # places of each size
MIN_LIKENESS = 0.3  # of what is certified anew with the domain that was added
# Of the short form's prediction, the size that is tried lies nearest to this share.
TRIED_SHARE = 0.2
# Standard deviations between what half of the cases and eight of ten need.
EIGHT_OF_TEN = 0.84


class Search(NamedTuple):
    """A search that has been made: what it was given, and what it has found.

    Parameters
    ----------
    slices : Slices
    base : ConsensusResult
    found : ComponentsResult
    settings : Settings
    """

    slices: Slices
    base: ConsensusResult
    found: ComponentsResult
    settings: Settings


def find_with_control(
    slices: Slices, base: ConsensusResult, settings: Settings, progress: Progress
) -> ComponentsResult:
    """Find components, and tell from what share on an added domain is found when asked to.

    Parameters as of `components.find_components`.

    Returns
    -------
    ComponentsResult
        `power` has what the domains say.
    """
    if not settings.positive_control:
        return find_in_grown_mask(slices, base, settings, progress)
    found = find_in_grown_mask(slices, base, settings, lambda share: progress(0.1 * share))
    power = found.measured.power
    if power is None:
        return found
    kda, tried = choose_size(power["short"]), []
    if kda is not None:
        search = Search(slices, base, found, settings)
        tried = [try_size(search, kda, power["density"], lambda share: progress(0.1 + 0.9 * share))]
    power = dict(power, long=tried)
    return dataclasses.replace(found, particles=dataclasses.replace(found.measured, power=power))


def choose_size(short: Sequence[dict[str, Any]]) -> int | None:
    """The size to try: the one of which the short form expects the middle of the shares."""
    if not short:
        return None
    known = [size for size in short if size["share"] is not None]
    if not known:
        return int(max(size["kda"] for size in short))
    return int(min(known, key=lambda size: abs(np.log(size["share"] / TRIED_SHARE)))["kda"])


def try_size(
    search: Search,
    kda: float,
    density: float,
    progress: Progress = lambda share: None,
    cases: int = CASES,
) -> dict[str, Any]:
    """Add a domain at some places to some shares of the particles, and search each time.

    At each place the shares are halved in as few searches as can be: what is found in a share is
    taken to be found in a larger one.

    Parameters
    ----------
    search : Search
        Without any domain.
    kda, density : float
        Of the domain.
    progress : callable
    cases : int

    Returns
    -------
    dict
        `kda`, `shares`, `found` and `tried` (cases found of so many tried at each share, those
        that follow from others included), `share` found in 8 of 10 cases, or None.
    """
    grid, seed = search.slices.grid, search.settings.seed
    places = choose_places(search.base.mask, kda, grid, seed + 1, cases)
    first: list[int] = []  # number of the smallest share that is found at each place
    for number, place in enumerate(places):
        domain = make_domain(place, kda, density, grid)
        low, high = 0, len(SHARES)
        while low < high:
            middle = (low + high) // 2
            if is_found(search, domain, SHARES[middle], seed + 101 * number + middle):
                high = middle
            else:
                low = middle + 1
        first.append(low)
        progress((number + 1) / len(places))
    return dict(
        kda=kda,
        shares=list(SHARES),
        tried=len(first),
        found=[sum(k <= s for k in first) for s in range(len(SHARES))],
        share=fit_share(first),
    )


def fit_share(first: Sequence[int], shares: Sequence[float] = SHARES) -> float | None:
    """Share found in 8 of 10 cases, from the smallest one found at each place.

    Each place's own threshold lies between that and the share before; None where more than one
    of five places show nothing at the largest share.

    Parameters
    ----------
    first : sequence of int
        Numbers of the shares; as many as there are shares: none was found.
    shares : sequence of float

    Returns
    -------
    float or None
    """
    if not first or np.mean([k == len(shares) for k in first]) > 0.2:
        return None
    step = np.log(shares[-1] / shares[0]) / (len(shares) - 1)
    middle = np.array([np.log(shares[0]) + step * (k - 0.5) for k in first])
    spread = np.sqrt(middle.var() + step**2 / 12)
    return float(min(np.exp(middle.mean() + EIGHT_OF_TEN * spread), shares[-1]))


def is_found(search: Search, domain: AnyArray, share: float, seed: int) -> bool:
    """Whether a search finds a domain that a random share of the particles is given.

    Parameters
    ----------
    search : Search
        Without the domain.
    domain : (box, box, box) float32
    share : float
    seed : int
        Of the particles that have it.

    Returns
    -------
    bool
    """
    present = np.random.default_rng([seed, 62]).random(len(search.slices)) < share
    changed = add_domain(search.slices, domain, present)
    base = _polished(changed, search.base, search.settings)
    once = dataclasses.replace(search.settings, positive_control=False)
    again = find_in_grown_mask(changed, base, once, lambda done: None).measured
    inside = domain * again.consensus_of(base).mask
    return likeness(inside, search.found.measured.certified, again.certified) > MIN_LIKENESS


def _polished(slices: Slices, base: ConsensusResult, settings: Settings) -> ConsensusResult:
    """Result of the stage reconstruct, with the mean of changed slices."""
    particles = AnalysedParticles.of(slices, base, settings)
    consensus = particles.polished(particles.everyone)
    mask = base.mask if settings.mask else mask_of(consensus.mean, slices.grid, settings)
    return ConsensusResult.of_particles(consensus, particles.quality, mask, slices.grid)


def likeness(domain: AnyArray, old: AnyArray, new: AnyArray) -> float:
    """Cosine of a domain with the span of new components, without what lies in that of old ones.

    Parameters
    ----------
    domain : (box, box, box) float32
    old, new : (c, box, box, box) float32
        Each orthonormal.

    Returns
    -------
    float
    """
    flat, before = domain.ravel().astype(np.float64), old.reshape(-1, domain.size)
    rest = flat - (before @ flat) @ before if len(old) else flat
    size = float(np.linalg.norm(rest))
    along = new.reshape(-1, domain.size) @ (rest / max(size, 1e-30))
    return float(np.linalg.norm(along))
