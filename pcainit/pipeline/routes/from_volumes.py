"""PCA of given volumes: one grid and greyscale, components, clusters, weighted averages."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from pcainit.engine.arrays import AnyArray, FloatArray
from pcainit.engine.classes.distances import pairwise_differences
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.geometry.masks import check_room
from pcainit.engine.geometry.resample import resample
from pcainit.engine.volume_sets.clusters import cluster_mixture, drop_empty_classes
from pcainit.engine.volume_sets.few_points import cluster_by_gap
from pcainit.engine.volume_sets.noise_edge import noise_edge
from pcainit.engine.volume_sets.volume_set import (
    match_greyscale,
    principal_components,
    relative_greyscale,
    rough_mean,
    weighted_averages,
)
from pcainit.errors import InputError
from pcainit.io.map_list import MapFile
from pcainit.io.maps import read_mask
from pcainit.limits import MIN_VOLUMES
from pcainit.pipeline.masks import mask_of
from pcainit.pipeline.results import ClusterResult, ComponentsResult, RunResults, VolumesResult
from pcainit.settings import Settings

Progress = Callable[[float], None]
Allocate = Callable[..., AnyArray]

MIN_BOX = 16
CONSTANT = 1e-6  # of its largest value: the spread of a volume that is only rounding
SAME_SCALE = 1.5  # largest contrast over the least, of volumes on one greyscale


@dataclass(frozen=True, eq=False)
class VolumeAnalysis:
    """What the PCA of n volumes has made.

    Parameters
    ----------
    results : RunResults
    posterior : (n, K) float64
        Share of each class in each volume.
    gains : (n,) float64
        What each volume's contrast was; 1 where it was taken as it is.
    warning : str
        What is suspicious about them, or nothing.
    """

    results: RunResults
    posterior: FloatArray
    gains: FloatArray
    warning: str

    @property
    def sizes(self) -> AnyArray:
        """(K,) int: volumes of each class."""
        return np.bincount(self.posterior.argmax(axis=1), minlength=self.posterior.shape[1])


def working_grid(box: int, sampling: float, settings: Settings, path: str) -> Grid:
    """Grid in the box of the first volume.

    Raises
    ------
    InputError
        The resolution does not fit that volume.
    """
    if box < MIN_BOX:
        raise InputError(
            "The box of %s is only %d pixels: at least %d are needed." % (path, box, MIN_BOX)
        )
    if settings.resolution > box * sampling / 6:
        raise InputError(
            "resolution is %g A, too coarse for the box of %g A of %s: give %g A or "
            "finer." % (settings.resolution, box * sampling, path, box * sampling / 6)
        )
    return Grid(box, sampling, settings.resolution)


def read_volumes(
    entries: list[MapFile], settings: Settings, allocate: Allocate, progress: Progress
) -> tuple[AnyArray, Grid, AnyArray]:
    """All volumes on the working grid of the first, read one at a time.

    Parameters
    ----------
    entries : list of MapFile
    settings : Settings
    allocate : callable(name, shape, dtype)
        Makes the array of all volumes.
    progress : callable

    Returns
    -------
    (n, box, box, box) float32
    Grid
    (n,) float64
        Width of each volume, Angstrom.

    Raises
    ------
    InputError
        A volume cannot be read, is constant, or is too coarse for the resolution.
    """
    grid, out, widths = None, np.zeros(0, np.float32), np.zeros(len(entries))
    for k, entry in enumerate(entries):
        volume, sampling = entry.read()
        # The header keeps seven digits of the box in Angstrom.
        if settings.resolution < 2 * sampling * (1 - 1e-5):
            raise InputError(
                "resolution is %g A, finer than Nyquist of the volume %s (%g A at %g "
                "A per pixel): give %g A or coarser."
                % (settings.resolution, entry.path, 2 * sampling, sampling, 2 * sampling)
            )
        if grid is None:
            grid = working_grid(len(volume), sampling, settings, entry.path)
            out = allocate("volumes", (len(entries),) + (grid.box,) * 3, np.float32)
        out[k], widths[k] = resample(volume, sampling, grid), len(volume) * sampling
        if not float(out[k].std()) > CONSTANT * float(np.abs(volume).max()):
            raise InputError("The volume %s is constant: leave it out." % entry.path)
        progress((k + 1) / len(entries))
    assert grid is not None
    return out, grid, widths


def check_widths(widths: AnyArray, entries: list[MapFile], mask: AnyArray, grid: Grid) -> None:
    """Whether all volumes reach as far as the mask.

    Raises
    ------
    InputError
        One of them is too small: beyond it there is nothing to compare.
    """
    places = np.abs(np.argwhere(mask > 0.5) - grid.box // 2)
    reach = float(places.max(initial=0)) * grid.voxel
    k = int(widths.argmin())
    if widths[k] < 2 * reach - grid.voxel:
        raise InputError(
            "The volume %s is %.0f A wide, but the mask reaches %.0f A from the "
            "centre: leave it out, pad it, or give a smaller mask."
            % (entries[k].path, widths[k], reach)
        )


def make_mask(mean: AnyArray, grid: Grid, settings: Settings) -> AnyArray:
    """The user's mask, or one made from the mean of the volumes."""
    try:
        return mask_of(mean, grid, settings)
    except InputError:
        if settings.mask:
            raise
        raise InputError(
            "The mean of the volumes is dark on bright, so no mask can be made of "
            "it: invert the volumes, or give a mask."
        ) from None


def one_greyscale(volumes: AnyArray, entries: list[MapFile], mask: AnyArray) -> AnyArray:
    """Bring volumes to one greyscale, in place; what each one's contrast was, (n,).

    Raises
    ------
    InputError
        One of them does not look like the others.
    """
    gains, _ = match_greyscale(volumes, mask)
    if not gains.all():
        raise InputError(
            "The volume %s does not look like the others (it is dark on bright, "
            "shifted, or another particle), so its greyscale cannot be aligned: "
            "leave it out." % entries[int(np.argmin(gains))].path
        )
    return gains


def analyse_volumes(
    entries: list[MapFile],
    settings: Settings,
    allocate: Allocate,
    *,
    align_greyscale: bool,
    progress: Progress,
) -> VolumeAnalysis:
    """Components, clusters and their averages.

    Parameters
    ----------
    entries : list of MapFile
    settings : Settings
        Resolution, mask, components, classes and seed are used.
    allocate : callable(name, shape, dtype)
    align_greyscale : bool
        Bring all volumes to one density scale and background first.
    progress : callable

    Returns
    -------
    VolumeAnalysis

    Raises
    ------
    InputError
        The volumes or the settings do not fit.
    """
    n = len(entries)
    if n < max(MIN_VOLUMES, settings.n_classes):
        raise InputError(
            "There are only %d volumes: give at least %d%s."
            % (
                n,
                max(MIN_VOLUMES, settings.n_classes),
                ", or ask for fewer classes" if settings.n_classes > n else "",
            )
        )
    if settings.mask:
        read_mask(settings.mask, settings.mask_sampling)  # before the volumes are read
    volumes, grid, widths = read_volumes(entries, settings, allocate, lambda s: progress(0.7 * s))
    weights = np.array([entry.weight for entry in entries])
    weights = weights / weights.mean()
    gains, warning = np.ones(n), ""
    if align_greyscale:
        gains = one_greyscale(volumes, entries, make_mask(rough_mean(volumes), grid, settings))
    mean = _mean(volumes, weights)
    mask = make_mask(mean, grid, settings)
    check_widths(widths, entries, mask, grid)
    if not align_greyscale:
        warning = _scales_in_words(relative_greyscale(volumes, mask), entries)
    q = min(settings.components, n - 1)
    check_room(mask, q)
    found = principal_components(volumes, mask, weights, q, lambda s: progress(0.7 + 0.2 * s))
    edge = noise_edge(volumes, mask, found)
    # Components of noise tell no classes apart; where none stands out, all are taken.
    above = int((found.variances > edge).sum()) or q
    points = found.coordinates[:, :above]
    grouped = None if settings.n_classes else cluster_by_gap(points, weights, settings.seed)
    clusters = grouped or drop_empty_classes(
        cluster_mixture(points, settings.n_classes, settings.seed, sizes=weights)
    )
    shares = clusters.posterior * weights[:, None]
    classes, noise = weighted_averages(volumes, shares, mask, mean)
    progress(1.0)
    variance = sum(w * (v - mean) ** 2 for w, v in zip(weights, volumes)) / weights.sum() * mask
    tried = len(clusters.tried) > 1
    results = RunResults(
        grid,
        mean,
        mask,
        None,
        ComponentsResult(
            variance=variance.astype(np.float32), noise_edge=float(edge), volumes=found
        ),
        ClusterResult(
            label=clusters.posterior.argmax(axis=1),
            centres=clusters.centres,
            covariances=clusters.covariances,
            tried=clusters.tried if tried else None,
            bic=clusters.bic if tried else None,
        ),
        VolumesResult(
            volumes=classes,
            weights=shares.sum(axis=0) / shares.sum(),
            pairwise=pairwise_differences(classes, np.maximum(noise, 1e-30), mask),
        ),
    )
    return VolumeAnalysis(results, clusters.posterior, gains, warning)


def _mean(volumes: AnyArray, weights: AnyArray) -> AnyArray:
    total = np.zeros(volumes.shape[1:])
    for weight, volume in zip(weights, volumes):
        total += weight * volume
    return np.asarray(total / weights.sum(), np.float32)


def _scales_in_words(gains: AnyArray, entries: list[MapFile]) -> str:
    """A warning where volumes that were taken as they are can hardly be on one greyscale."""
    worst = int(gains.argmin())
    if gains[worst] <= 0:
        return (
            "The volume %s does not look like the others (it is dark on bright, shifted, or "
            "another particle): leave it out." % entries[worst].path
        )
    ratio = float(gains.max() / gains[worst])
    if ratio <= SAME_SCALE:
        return ""
    return (
        "The volumes' contrast differs by a factor of %.2g, which passes for structure here: "
        "align the greyscale (--align-greyscale) unless it is what you look for." % ratio
    )
