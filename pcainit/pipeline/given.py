"""Component volumes that the user gives to the method `particles`: found, checked, made fit."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.components.given import MAX_LIKE_MEAN, first_dependent, fit_component, likeness
from pcainit.engine.geometry.grid import Grid, radial_distance
from pcainit.engine.geometry.masks import soft_edge
from pcainit.errors import InputError
from pcainit.io.fingerprint import file_identity
from pcainit.io.map_list import MapFile, find_maps
from pcainit.settings import Settings

MAX_GIVEN = 32  # as many as components can be asked for
MAX_ALIKE = 0.9  # cosine of two given differences, at most
MIN_DENSE = 0.5  # of a whole map's density, at least: what is not cancelled by its sign


def find_given(settings: Settings) -> list[MapFile]:
    """The given components' files.

    Raises
    ------
    InputError
        One of them does not exist, or there are too many.
    """
    found = find_maps(settings.given_components) if settings.given_components else []
    if len(found) > MAX_GIVEN:
        raise InputError(
            "given_components are %d volumes: give at most %d, or make pcainit "
            "volumes of them first." % (len(found), MAX_GIVEN)
        )
    return found


def check_given(settings: Settings, grid: Grid) -> None:
    """Read all that is given, before any image is read.

    Raises
    ------
    InputError
        A volume cannot be read, is not finite, is constant, or is plainly a whole map.
    """
    entries, fitted = find_given(settings), []
    mean_file = find_mean(settings)
    mean = mean_file.read() if mean_file is not None else None
    sphere = soft_edge(radial_distance(grid.box), 0.4 * grid.box, 0.5 * grid.box)
    for entry in entries:
        volume, sampling = entry.read()
        if not float(volume.std()) > 0:
            raise InputError("The component %s is constant: leave it out." % entry.path)
        fitted.append(fit_component(volume, sampling, grid, sphere, mean))
        if not fitted[-1].any():
            raise InputError(_constant(entry, mean is not None))
    if mean is None:
        _refuse_whole_maps(entries, fitted)


def _constant(entry: MapFile, subtracted: bool) -> str:
    return "The component %s is constant inside the mask%s: leave it out." % (
        entry.path,
        " once given_mean is subtracted" if subtracted else "",
    )


def _refuse_whole_maps(entries: list[MapFile], fitted: list[AnyArray]) -> None:
    """Maps of one particle are dense and alike; differences are neither."""
    dense = [k for k, one in enumerate(fitted) if one.sum() > MIN_DENSE * np.abs(one).sum()]
    for number, k in enumerate(dense):
        for other in dense[:number]:
            alike = float((fitted[k] * fitted[other]).sum(dtype=np.float64))
            if alike > MAX_ALIKE:
                raise InputError(
                    "The components %s and %s are alike (correlation %.2f), as whole maps of one "
                    "particle are and differences are not: give given_mean, the map to subtract "
                    "from them, or leave one out." % (entries[other].path, entries[k].path, alike)
                )


def find_mean(settings: Settings) -> MapFile | None:
    """The map to subtract from the given components; None when there is none.

    Raises
    ------
    InputError
        It does not exist, or is several.
    """
    found = find_maps([settings.given_mean]) if settings.given_mean else []
    if len(found) > 1:
        raise InputError(
            "given_mean %s names %d maps: give one." % (settings.given_mean, len(found))
        )
    return found[0] if found else None


def user_files(settings: Settings) -> list[str]:
    """The user's files that settings name."""
    mean = find_mean(settings)
    maps = find_given(settings) + ([mean] if mean is not None else [])
    named = [settings.mask, settings.given_mean, *settings.given_components]
    return [*filter(None, named), *(entry.path for entry in maps)]


def given_identity(settings: Settings) -> str:
    """Text that changes when one of the given files, or what it stands for, does."""
    mean = find_mean(settings)
    entries = find_given(settings) + ([mean] if mean is not None else [])
    if not entries:
        return ""
    return file_identity([entry.path for entry in entries]) + repr(
        [(entry.path, entry.sampling) for entry in entries]
    )


def load_given(settings: Settings, grid: Grid, mask: AnyArray, mean: AnyArray) -> AnyArray:
    """The given components on the working grid.

    Parameters
    ----------
    settings : Settings
    grid : Grid
    mask, mean : (box, box, box) float32
        Mask and consensus of the particles.

    Returns
    -------
    (c, box, box, box) float32
        Masked, of norm 1, linearly independent; none when none are given.

    Raises
    ------
    InputError
        A volume cannot serve as a component.
    """
    entries, out = find_given(settings), []
    mean_file = find_mean(settings)
    subtracted = mean_file.read() if mean_file is not None else None
    for entry in entries:
        out.append(fit_component(*entry.read(), grid, mask, subtracted))
        if not out[-1].any():
            raise InputError(_constant(entry, subtracted is not None))
        like = likeness(out[-1], mean, mask)
        if like > MAX_LIKE_MEAN:
            raise InputError(
                "The component %s looks like the consensus itself (correlation %.2f), so it is a "
                "whole map or mere contrast and no difference: %s."
                % (
                    entry.path,
                    like,
                    "leave it out"
                    if subtracted
                    else "give given_mean, the map to subtract from it, or leave it out",
                )
            )
    if not out:
        return np.zeros((0,) + mask.shape, np.float32)
    bad = first_dependent(np.stack(out))
    if bad >= 0:
        raise InputError(
            "The component %s is a combination of those before it: leave it out."
            % entries[bad].path
        )
    return np.stack(out)


def describe_given(settings: Settings, **figures: list[float]) -> dict[str, Any] | None:
    """Which components were given, for what, and figures of each; None when none were."""
    files = [entry.path for entry in find_given(settings)]
    return dict(use=settings.given_use, files=files, **figures) if files else None
