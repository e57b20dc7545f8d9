"""Sets of volumes as the protocols get them, and the lists of maps that the engine reads."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os

from pwem.objects import SetOfClasses3D, SetOfVolumes, SetOfVolumesFlex, Volume

from pcainit.errors import InputError
from pcainit.io.atomic import write_text

VOLUME_SETS = (SetOfVolumes, SetOfVolumesFlex)  # neither is a kind of the other
SEED_SETS = (*VOLUME_SETS, SetOfClasses3D)


def map_file(volume):
    """Absolute path of a Scipion volume's file.

    Raises
    ------
    InputError
        It lies in a stack of volumes, or is missing.
    """
    index, path = volume.getLocation()
    path = path[:-4] if path.endswith(":mrc") else path
    if index > 1 or os.path.splitext(path)[1].lower() not in (".mrc", ".map"):
        raise InputError(
            "The volume %s is not an .mrc file of its own: export the set as one "
            ".mrc file per volume first." % path
        )
    if not os.path.exists(path):
        raise InputError("The volume's file %s is missing." % path)
    return os.path.abspath(path)


def volume_rows(sets):
    """(path, sampling) of each enabled volume of some sets or single volumes, in order.

    Of classes, their representatives.

    Raises
    ------
    InputError
        As `map_file`.
    """
    rows = []
    for volumes in sets:
        if isinstance(volumes, Volume):
            rows.append((map_file(volumes), volumes.getSamplingRate()))
            continue
        for item in _enabled(volumes):
            volume = item.getRepresentative() if isinstance(volumes, SetOfClasses3D) else item
            rows.append((map_file(volume), volume.getSamplingRate() or volumes.getSamplingRate()))
    return rows


def class_sizes(sets):
    """Number of particles behind each of `volume_rows`, where all sets are of classes; else none.

    Raises
    ------
    InputError
        Only some of the sets are of classes.
    """
    sets = list(sets)
    of_classes = [isinstance(one, SetOfClasses3D) for one in sets]
    if not any(of_classes):
        return []
    if not all(of_classes):
        raise InputError(
            "Classes, which count by their size, and plain volumes cannot be weighed "
            "together: give a file of weights, or sets of volumes only."
        )
    return [float(item.getSize()) for one in sets for item in _enabled(one)]


def _enabled(items):
    """Items that are enabled, of classes those that have particles."""
    for item in items.iterItems():
        if item.isEnabled() and not (isinstance(items, SetOfClasses3D) and not item.getSize()):
            yield item


def write_list(path, rows, weights=None):
    """List of maps for the engine: path, weight, sampling rate."""
    write_text(
        path,
        "".join(
            '"%s" %.9g %.9g\n' % (name, 1 if weights is None else weights[k], rate)
            for k, (name, rate) in enumerate(rows)
        ),
    )
