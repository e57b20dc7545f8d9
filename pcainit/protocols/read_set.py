"""The particles of a Scipion set as arrays, and what the set says of its images.

The particles of a set live in one SQLite table whose columns are listed in the table ``Classes``.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Dict, List
from urllib.parse import quote

import numpy as np

from pcainit.io import columns as relion_columns
from pcainit.io.star_text import decode, read_document

# Attribute of a Scipion particle -> field of `ScipionParticles`
COLUMNS = {
    "_index": "index",
    "_filename": "filename",
    "_transform._matrix": "matrix",
    "_ctfModel._defocusU": "defocus_u",
    "_ctfModel._defocusV": "defocus_v",
    "_ctfModel._defocusAngle": "defocus_angle",
    "_ctfModel._phaseShift": "phase_shift",
    "_acquisition._voltage": "voltage",
    "_acquisition._sphericalAberration": "spherical_aberration",
    "_acquisition._amplitudeContrast": "amplitude_contrast",
    "_rlnRandomSubset": "random_subset",
    "_rlnOpticsGroup": "optics_group",
}
# Numbers that RELION's plugin keeps of each particle -> what stands in for one that has none.
EXTRA = {
    "rlnMagMat00": 1.0,
    "rlnMagMat01": 0.0,
    "rlnMagMat10": 0.0,
    "rlnMagMat11": 1.0,
    "rlnBeamTiltX": 0.0,
    "rlnBeamTiltY": 0.0,
    "rlnCtfBfactor": 0.0,
    "rlnCtfScalefactor": 1.0,
    "rlnCtfDataAreCtfPremultiplied": 0.0,
    "rlnCtfPremultiplied": 0.0,
    "rlnCtfDataArePhaseFlipped": 0.0,
    "rlnIsFlip": 0.0,
}
COLUMNS.update({"_" + label: label for label in EXTRA})


@dataclass(frozen=True, eq=False)
class ScipionParticles:
    """The enabled particles of a set, in order of their ids.

    Parameters
    ----------
    ids : (n,) int64
    filename : list of str
        Image files, relative to the project.
    values : dict of str to (n,) float64
        The numbers of `COLUMNS`; NaN where a particle has none.
    matrices : (n, 4, 4) float64
        Scipion's alignment; NaN where a particle has none.
    """

    ids: np.ndarray
    filename: List[str]
    values: Dict[str, np.ndarray]
    matrices: np.ndarray


def read_particles(particles, most: int = 0) -> ScipionParticles:
    """The enabled particles of a SetOfParticles.

    Read straight from the set's SQLite file, several times faster than item by item; any set
    that is not laid out as expected is read item by item.

    Parameters
    ----------
    particles : SetOfParticles
    most : int
        Read about this many, evenly spread; 0 for all.
    """
    try:
        return read_particles_fast(particles, most)
    except (sqlite3.Error, KeyError, TypeError, ValueError):
        return read_particles_by_item(particles)


def read_particles_fast(particles, most: int = 0) -> ScipionParticles:
    """Read a set through its SQLite file; see `read_particles`."""
    prefix = (particles.getPrefix() or "").strip()
    prefix += "_" if prefix and not prefix.endswith("_") else ""
    with _connect(particles.getFileName()) as database:
        columns = dict(
            database.execute('SELECT label_property, column_name FROM "%sClasses"' % prefix)
        )
        names = [name for name in COLUMNS if name in columns]
        where = "enabled = 1"
        if most:
            where += " AND id %% %d = 0" % max(1, particles.getSize() // most)
        rows = database.execute(
            'SELECT id, %s FROM "%sObjects" WHERE %s ORDER BY id'
            % (", ".join(columns[name] for name in names), prefix, where)
        ).fetchall()
    if not rows:
        raise ValueError("no rows")
    ids, *data = zip(*rows)
    read = {COLUMNS[name]: column for name, column in zip(names, data)}
    filename = read.pop("filename")
    matrices = _parse_matrices(read.pop("matrix", [None] * len(ids)))
    values = {name: np.array(column, dtype=np.float64) for name, column in read.items()}
    return _complete(particles, np.array(ids, dtype=np.int64), list(filename), values, matrices)


def read_particles_by_item(particles) -> ScipionParticles:
    """Read a set through Scipion's own iterator; see `read_particles`."""
    ids, matrices = [], []
    data = {name: [] for name in COLUMNS.values() if name != "matrix"}
    for item in particles.iterItems():
        if not item.isEnabled():
            continue
        ids.append(item.getObjId())
        matrices.append(
            item.getTransform().getMatrix().copy()
            if item.hasTransform()
            else np.full((4, 4), np.nan)
        )
        for attribute, name in COLUMNS.items():
            if name != "matrix":
                data[name].append(_attribute(item, attribute))
    filename = data.pop("filename")
    values = {name: np.array(column, dtype=np.float64) for name, column in data.items()}
    return _complete(
        particles,
        np.array(ids, dtype=np.int64),
        filename,
        values,
        np.array(matrices, dtype=np.float64).reshape(-1, 4, 4),
    )


def _connect(path: str) -> "contextlib.closing[sqlite3.Connection]":
    return contextlib.closing(
        sqlite3.connect("file:%s?mode=ro" % quote(os.path.abspath(path)), uri=True)
    )


def _attribute(item, path: str):
    for name in path.split("."):
        item = getattr(item, name, None)
        if item is None:
            return None
    return item.get()


def _parse_matrices(texts) -> np.ndarray:
    missing = "[" + ", ".join(["nan"] * 16) + "]"
    joined = ",".join(text or missing for text in texts)
    numbers = np.fromstring(joined.translate({ord("["): None, ord("]"): None}), sep=",")
    return numbers.reshape(len(texts), 4, 4)


def _complete(particles, ids, filename, values, matrices) -> ScipionParticles:
    """Fill in what the items do not carry: the set's acquisition, and NaN."""
    acquisition = particles.getAcquisition()
    shared = {
        "voltage": acquisition.getVoltage(),
        "spherical_aberration": acquisition.getSphericalAberration(),
        "amplitude_contrast": acquisition.getAmplitudeContrast(),
    }
    for attribute, name in COLUMNS.items():
        if attribute in ("_filename", "_transform._matrix"):
            continue
        column = values.get(name)
        if column is None:
            column = np.full(len(ids), np.nan)
        if shared.get(name) is not None:
            column = np.where(np.isnan(column), shared[name], column)
        values[name] = column
    return ScipionParticles(ids=ids, filename=filename, values=values, matrices=matrices)


def optics_groups(particles) -> Dict[str, Dict[str, str]]:
    """RELION's optics groups of a set as its plugin keeps them: number -> label -> value.

    Only the columns that the particles cannot have of their own in Scipion.
    """
    text = getattr(particles.getAcquisition(), "opticsGroupInfo", None)
    text = text.get() if text is not None else None
    if not text:
        return {}
    try:
        blocks = list(read_document(decode(text.encode())))
    except ValueError:
        return {}  # not RELION's
    loops = [item.loop for block in blocks for item in block if item.loop is not None]
    for loop in loops:
        tags = [tag[1:] for tag in loop.tags]
        if "rlnOpticsGroup" in tags:
            rows = [
                dict(zip(tags, loop.values[k * len(tags) : (k + 1) * len(tags)]))
                for k in range(loop.length())
            ]
            return {_whole(row["rlnOpticsGroup"]): row for row in rows}
    return {}


def _whole(text: str) -> str:
    try:
        return "%d" % float(text)
    except ValueError:
        return text


def flags(particles) -> Dict[str, List[str]]:
    """What a set says about its images that can be grounds to refuse them: label -> values."""
    found: Dict[str, List[str]] = {}
    known = {
        label
        for label, decision in relion_columns.BY_LABEL.items()
        if decision.what == relion_columns.REFUSED
    }
    for row in optics_groups(particles).values():
        for label in known & row.keys():
            found.setdefault(label, []).append(row[label])
    first = particles.getFirstItem()
    for label in sorted(known):
        if first is not None and hasattr(first, "_" + label):
            try:
                values = particles.getUniqueValues("_" + label)
            except (
                sqlite3.OperationalError
            ):  # of the object alone: the set's table has no such column
                continue
            found.setdefault(label, []).extend(str(value) for value in values)
    return found


def stack_files(particles) -> List[str]:
    """The image files of a set, sorted, each once."""
    return sorted(set(particles.getUniqueValues("_filename")))
