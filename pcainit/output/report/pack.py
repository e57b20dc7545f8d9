"""What the page's own programs draw, packed small: volumes, and points with their colours."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import os
from typing import Any, Sequence

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.output.plots import Result, best_pair
from pcainit.output.plots.style import FAINT, class_colour
from pcainit.output.words.headline import percent

VOXELS = 3_500_000  # of all volumes of a page together
MAX_STATES = 24  # shown in 3D
MAX_MOVES = 6  # components with a movie
MAX_POINTS = 50_000  # of a scatter; thinned beyond
MAX_AXES = 8
_SHOWN = "real", "above noise edge", "untested"
_MARGIN = 2  # voxels around the particle


def pack_volumes(result: Result) -> dict[str, Any] | None:
    """Consensus, classes and components as bytes; None where there are no classes.

    The differences from the consensus have a scale of their own, so that small ones keep their
    shape in 8 bits.

    Parameters
    ----------
    result : Result

    Returns
    -------
    dict or None
        Plain values for JSON.
    """
    volumes, mean = result.class_volumes, result.mean
    if volumes is None or mean is None or mean.ndim != 3 or volumes.shape[1:] != mean.shape:
        return None
    if not (np.isfinite(mean).all() and np.isfinite(volumes).all()) or np.ptp(mean) == 0:
        return None
    shares = result.class_weights
    count = min(len(volumes), MAX_STATES)
    return pack_states(
        mean,
        volumes[:count],
        mask=result.mask,
        voxel=float(1 if result.voxel is None else result.voxel),
        names=["class %d" % (k + 1) for k in range(count)],
        colours=[class_colour(k) for k in range(count)],
        shares=[""] * count if shares is None else [percent(shares[k]) for k in range(count)],
        moves=[(k + 1, low, high, result.components[k]) for k, low, high in _moves(result)],  # type: ignore[index]
    )


def pack_states(
    mean: AnyArray,
    volumes: AnyArray,
    *,
    mask: AnyArray | None,
    voxel: float,
    names: Sequence[str],
    colours: Sequence[str],
    shares: Sequence[str],
    moves: Sequence[tuple[int, float, float, AnyArray]] = (),
) -> dict[str, Any]:
    """Volumes as bytes: what they have in common, and how each differs from it.

    Parameters
    ----------
    mean : (b, b, b) float32
    volumes : (K, b, b, b) float32
    mask : (b, b, b) float32, optional
    voxel : float
        Angstrom.
    names, colours, shares : sequence of str
        Of each volume; shares may be empty text.
    moves : sequence of (number, low, high, component)
        What to show in motion, and between which coordinates.

    Returns
    -------
    dict
        Plain values for JSON.
    """
    size = _size(len(mean), 1 + len(volumes) + len(moves))
    small = shrink(mean, size)
    inside = _particle(small, mask, size)
    small = small[inside]
    differences = [shrink(volume - mean, size)[inside] for volume in volumes]
    largest = max([float(np.abs(difference).max()) for difference in differences] + [1e-12])
    low, high = float(small.min()), float(small.max())
    components = []
    for number, begin, end, component in moves:
        change = shrink(component, size)[inside]
        scale = float(np.abs(change).max()) or 1.0
        components.append(
            dict(number=number, low=begin, high=end, change=_signed(change, scale), scale=scale)
        )
    return dict(
        size=list(small.shape[::-1]),
        voxel=voxel * len(mean) / size,
        low=low,
        high=high,
        full=float(np.quantile(np.abs(np.stack(differences)), 0.99)) or largest,
        level=_level(small),
        mean=_text(np.round(255 * (small - low) / (high - low)).astype(np.uint8)),
        classes=[
            dict(
                name=names[k],
                colour=colours[k],
                share=shares[k],
                difference=_signed(difference, largest),
                scale=largest,
            )
            for k, difference in enumerate(differences)
        ],
        components=components,
    )


def pack_points(result: Result) -> dict[str, Any] | None:
    """Points in the latent space with what they can be coloured by; None where there are none.

    Parameters
    ----------
    result : Result

    Returns
    -------
    dict or None
        Plain values for JSON. More than `MAX_POINTS` points are thinned at random.
    """
    names = None
    if result.coordinates is not None and result.labels is not None:
        points, label = result.coordinates, result.labels
    elif result.kind == "volumes" and result.batch_coordinates is not None:
        points = result.batch_coordinates
        label = np.asarray(result.batch_cluster) + 1
        names = [os.path.basename(str(name)) for name in result.summary.get("files") or []]
    else:
        return None
    good = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(good) or not points.shape[1]:
        return None
    kept = good
    if len(good) > MAX_POINTS:
        kept = np.sort(np.random.default_rng(0).choice(good, MAX_POINTS, replace=False))
    first, second = best_pair(result) if result.n_components else (1, min(2, points.shape[1]))
    axes = range(min(points.shape[1], MAX_AXES))
    return dict(
        count=len(kept),
        total=len(points),
        rows=_text((kept + 1).astype(np.uint32)),
        names=[names[k] for k in kept] if names and len(names) == len(points) else None,
        first=min(first - 1, len(axes) - 1),
        second=min(second - 1, len(axes) - 1),
        axes=[
            dict(title="component %d%s" % (k + 1, _standing(result, k)), **_column(points[kept, k]))
            for k in axes
        ],
        colours=_colours(result, label, kept),
    )


def shrink(volume: AnyArray, size: int) -> AnyArray:
    """A cube in fewer voxels, by its low frequencies; the voxel ``n // 2`` stays the origin."""
    n = len(volume)
    if size >= n:
        return np.asarray(volume, np.float32)
    transform = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume)))
    begin = n // 2 - size // 2
    middle = transform[(slice(begin, begin + size),) * 3]
    small = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(middle))).real
    return (small * (size / n) ** 3).astype(np.float32)


def _moves(result: Result) -> list[tuple[int, float, float]]:
    """Components to show in motion, with the range of the particles' coordinates."""
    if result.components is None or result.eigenvalues is None:
        return []
    if (
        result.class_volumes is None
        or result.components.shape[1:] != result.class_volumes.shape[1:]
    ):
        return []
    chosen: list[tuple[int, float, float]] = []
    for k in range(len(result.components)):
        if result.standing(k) not in _SHOWN or len(chosen) == MAX_MOVES:
            continue
        reach = 2 * float(np.sqrt(max(result.eigenvalues[k], 0)))
        span = (-reach, reach)
        if result.coordinates is not None and k < result.coordinates.shape[1]:
            z = result.coordinates[result.kept, k]
            z = z[np.isfinite(z)]
            if len(z):
                span = (float(np.quantile(z, 0.05)), float(np.quantile(z, 0.95)))
        if np.isfinite(result.components[k]).all() and span[1] > span[0]:
            chosen.append((k, span[0], span[1]))
    return chosen


def _size(box: int, count: int) -> int:
    """Voxels along an edge, so that all volumes fit."""
    size = int(min(box, (VOXELS / count) ** (1 / 3)))
    return max(size - size % 2, min(box, 16))


def _particle(mean: AnyArray, mask: AnyArray | None, size: int) -> tuple[slice, ...]:
    """Where there is something to show."""
    there = mean > 0.08 * mean.max()
    if mask is not None and mask.ndim == 3:
        there |= shrink(mask, size) > 0.3
    slices = []
    for axis in range(3):
        along = np.flatnonzero(there.any(axis=tuple(a for a in range(3) if a != axis)))
        slices.append(
            slice(max(along[0] - _MARGIN, 0), min(along[-1] + _MARGIN + 1, len(mean)))
            if len(along)
            else slice(None)
        )
    return tuple(slices)


def _level(mean: AnyArray) -> int:
    """Level to begin with, % of the highest density: between solvent and particle (Otsu)."""
    values = mean[mean > 0] / mean.max()
    counts, edges = np.histogram(values, 100, (0, 1))
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    sums = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    between = np.nan_to_num(below * above * gap**2)
    return int(np.clip(round(100 * edges[1 + int(between.argmax())]), 5, 80))


def _colours(result: Result, label: AnyArray, kept: AnyArray) -> list[dict[str, Any]]:
    """What points can be coloured by."""
    count = min(int(max(result.n_classes, label.max())), 254)
    if result.labels is not None and result.junk is not None:
        label = np.where(result.junk, 0, label)
    kinds = [dict(name="set aside", colour=FAINT)]
    kinds += [dict(name="class %d" % (k + 1), colour=class_colour(k)) for k in range(count)]
    columns = [
        dict(name="class", title="class", kinds=kinds, **_column(np.minimum(label, count)[kept]))
    ]
    if result.labels is None:
        return columns
    if result.junk is not None and result.junk.any():
        kinds = [
            dict(name="kept", colour=class_colour(0)),
            dict(name="set aside", colour="#d55e00"),
        ]
        columns.append(
            dict(name="junk", title="set aside", kinds=kinds, **_column(result.junk[kept]))
        )
    posterior = result.posterior
    view = result.view
    for name, title, unit, values in (
        (
            "posterior",
            "certainty of its class",
            "",
            None if posterior is None else posterior.max(axis=1),
        ),
        ("contrast", "contrast", "", result.particle_contrast),
        ("defocus", "defocus", " µm", None if result.defocus is None else result.defocus / 1e4),
        ("rot", "view: rotation", "°", None if view is None else view[:, 0]),
        ("tilt", "view: tilt", "°", None if view is None else view[:, 1]),
    ):
        if values is not None and values.ndim == 1 and np.isfinite(values).any():
            columns.append(dict(name=name, title=title, unit=unit, **_column(values[kept])))
    return columns


def _standing(result: Result, k: int) -> str:
    if result.n_components <= k:
        return ""
    word = result.standing(k)
    return "" if word == "untested" else " (%s)" % word


def _column(values: AnyArray) -> dict[str, Any]:
    """Numbers in 16 bits; 65535 for none."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0, 1)
    steps = np.full(len(values), 65535, np.uint16)
    span = (high - low) or 1.0
    steps[known] = np.round(65534 * (values[known] - low) / span).astype(np.uint16)
    return dict(low=low, high=low + span, values=_text(steps))


def _signed(volume: AnyArray, scale: float) -> str:
    return _text((np.round(127 * volume / scale) + 128).clip(1, 255).astype(np.uint8))


def _text(array: AnyArray) -> str:
    """Little-endian bytes as base64."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
