"""From Scipion's particles to the engine's STAR file.

The only place that knows Scipion's conventions: `ALIGN_PROJ` matrices take the image to the
specimen (RELION's are their inverse), shifts are in pixels, and the particles of a set live in
one SQLite table whose columns are listed in the table ``Classes``.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Dict, List, Optional
from urllib.parse import quote

import numpy as np

from pcainit.errors import InputError
from pcainit.io import columns as relion_columns
from pcainit.io.atomic import replacing
from pcainit.io.fingerprint import file_identity
from pcainit.io.setting_aside import MOST
from pcainit.io.star_text import decode, read_document

# Attribute of a Scipion particle -> field of `ParticleTable`
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
OPTICS = ("voltage", "spherical_aberration", "amplitude_contrast")
DEFOCUS = ("defocus_u", "defocus_v", "defocus_angle")


@dataclass(frozen=True, eq=False)
class ParticleTable:
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


def read_particles(particles, most: int = 0) -> ParticleTable:
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


def read_particles_fast(particles, most: int = 0) -> ParticleTable:
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


def read_particles_by_item(particles) -> ParticleTable:
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


def _complete(particles, ids, filename, values, matrices) -> ParticleTable:
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
    return ParticleTable(ids=ids, filename=filename, values=values, matrices=matrices)


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


def identity(particles, mask: Optional[str] = None) -> str:
    """Digest that changes when the particles, their image files or the mask do.

    Parameters
    ----------
    particles : SetOfParticles
    mask : str, optional
        Mask file.

    Returns
    -------
    str
        From the set's whole table and the size and times of each image file.
    """
    digest = hashlib.sha256()
    with open(particles.getFileName(), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    digest.update(repr((particles.getPrefix(), particles.getSamplingRate())).encode())
    for path in stack_files(particles) + ([mask] if mask else []):
        digest.update(repr((path, file_identity([path]) if os.path.exists(path) else "")).encode())
    return digest.hexdigest()[:12]


def write_star(particles, path: str, with_ctf: bool = True, most: int = 0) -> np.ndarray:
    """Write the enabled particles of a set as a RELION 3.1 STAR file.

    Parameters
    ----------
    particles : SetOfParticles
        With projection alignment.
    path : str
        File to write; image files in it are relative to the project.
    with_ctf : bool
        Whether the particles carry a CTF that is to be used.
    most : int
        Write about this many of them, evenly spread; 0 for all.

    Returns
    -------
    (n,) int64
        The particles' ids in Scipion, one for each row of the file.

    Raises
    ------
    InputError
        For particles without pose or CTF, or with mirrored poses.
    """
    from pcainit.engine.geometry.poses import euler_from_rotation

    table = read_particles(particles, most)
    _check_table(table, with_ctf)
    sampling, box = particles.getSamplingRate(), particles.getXDim()

    # Scipion: image to specimen; RELION: specimen to image, and the origin is minus its shift.
    inverse = np.linalg.inv(table.matrices)
    angles = euler_from_rotation(inverse[:, :3, :3])
    origins = -inverse[:, :2, 3] * sampling

    number = np.where(np.isfinite(table.values["optics_group"]), table.values["optics_group"], 1.0)
    groups = optics_groups(particles)
    carried = [
        label
        for label in (*relion_columns.CARRIED, *relion_columns.TOMOGRAPHY)
        if any(label in row for row in groups.values())
    ]
    if not carried:
        number = np.ones(len(number))
    optics, group = np.unique(
        np.column_stack([*(table.values[name] for name in OPTICS), number]),
        axis=0,
        return_inverse=True,
    )
    columns = [
        ("rlnImageName", _image_names(table)),
        ("rlnOpticsGroup", (group.ravel() + 1).tolist()),
        ("rlnImageId", table.ids.tolist()),
        ("rlnAngleRot", angles[:, 0]),
        ("rlnAngleTilt", angles[:, 1]),
        ("rlnAnglePsi", angles[:, 2]),
        ("rlnOriginXAngst", origins[:, 0]),
        ("rlnOriginYAngst", origins[:, 1]),
    ]
    if with_ctf:
        columns += [
            ("rlnDefocusU", table.values["defocus_u"]),
            ("rlnDefocusV", table.values["defocus_v"]),
            ("rlnDefocusAngle", table.values["defocus_angle"]),
        ]
        if np.any(np.isfinite(table.values["phase_shift"])):
            columns.append(("rlnPhaseShift", np.nan_to_num(table.values["phase_shift"])))
    for label, default in EXTRA.items():
        values = table.values[label]
        together = relion_columns.MATRIX if label in relion_columns.MATRIX else (label,)
        given = np.isfinite([table.values[name] for name in together])
        if label not in carried and given.any():
            columns.append((label, np.where(np.isfinite(values), values, default)))
    subset = table.values["random_subset"]
    if np.all((subset == 1) | (subset == 2)):
        columns.append(("rlnRandomSubset", subset.astype(int).tolist()))

    optics_columns = [
        ("rlnOpticsGroup", range(1, len(optics) + 1)),
        ("rlnOpticsGroupName", ["opticsGroup%d" % (i + 1) for i in range(len(optics))]),
        ("rlnVoltage", optics[:, 0]),
        ("rlnSphericalAberration", optics[:, 1]),
        ("rlnAmplitudeContrast", optics[:, 2]),
        ("rlnImagePixelSize", [sampling] * len(optics)),
        ("rlnImageSize", [box] * len(optics)),
        ("rlnImageDimensionality", [2] * len(optics)),
    ]
    own = [groups.get("%d" % one, {}) for one in optics[:, 3]]
    optics_columns += [
        (label, [row.get(label, "%g" % EXTRA.get(label, 0.0)) for row in own]) for label in carried
    ]
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        _write_table(file, "optics", optics_columns)
        _write_table(file, "particles", columns)
    return table.ids


def _check_table(table: ParticleTable, with_ctf: bool) -> None:
    def refuse(bad: np.ndarray, text: str, some: float = 0.0) -> None:
        if bad.mean() > some:
            raise InputError(
                "%d of %d particles %s (the first has id %d)."
                % (np.count_nonzero(bad), len(bad), text, table.ids[np.argmax(bad)])
            )

    refuse(
        ~np.isfinite(table.matrices).all(axis=(1, 2)),
        "have no pose: take the particles of a 3D refinement",
        MOST,
    )
    refuse(
        np.linalg.det(table.matrices[:, :3, :3]) <= 0,
        "have mirrored poses: take them from another refinement",
    )
    if with_ctf:
        none = "have no CTF: assign CTFs, or choose no CTF correction"
        refuse(~np.isfinite([table.values[name] for name in OPTICS]).all(axis=0), none)
        refuse(~np.isfinite([table.values[name] for name in DEFOCUS]).all(axis=0), none, MOST)


def _image_names(table: ParticleTable) -> List[str]:
    return [
        _star_word("%06d@%s" % (index, name) if index > 0 else name)
        for index, name in zip(table.values["index"].astype(int).tolist(), table.filename)
    ]


def _star_word(text: str) -> str:
    return '"%s"' % text if any(letter.isspace() for letter in text) else text


def _write_table(file, name: str, columns, chunk: int = 20000) -> None:
    file.write("\n# version 30001\n\ndata_%s\n\nloop_\n" % name)
    file.write(
        "".join("_%s #%d\n" % (label, number) for number, (label, _) in enumerate(columns, 1))
    )
    row = " ".join("%.6f" if isinstance(values, np.ndarray) else "%s" for _, values in columns)
    for start in range(0, len(columns[0][1]), chunk):
        part = zip(*(values[start : start + chunk] for _, values in columns))
        file.write("".join(row % cells + "\n" for cells in part))
    file.write("\n")
