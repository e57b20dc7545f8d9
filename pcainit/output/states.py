"""The particles of each class in files of their own, for RELION and for cryoSPARC."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path
from typing import Sequence

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.io.atomic import replacing, write_arrays, write_text
from pcainit.io.cryosparc_fields import alignment_of
from pcainit.io.cryosparc_particles import CryosparcTable
from pcainit.io.particle_table import ParticleTable
from pcainit.output.result_folder import JUNK, LATENTS, LEFT_OUT, PARTICLES, ResultFolder
from pcainit.pipeline.results import ParticleClasses, VolumesResult

POSTERIOR = "pcainit/class_posterior"  # the field with the shares of all classes
_RESULTS = (  # groups of fields that cryoSPARC knows of particles
    "blob",
    "ctf",
    "alignments2D",
    "alignments3D",
    "location",
    "pick_stats",
    "sym_expand",
    "filament",
)
_GROUP = """created: %(created)s
group:
  description: %(title)s, found by pcainit
  name: %(name)s
  title: %(title)s
  type: particle
results:
%(results)sversion: v4.4.1
"""
_RESULT = """  %(prefix)s:
    metafile: '>%(file)s'
    num_items: %(count)d
    type: particle.%(prefix)s
"""


def write_particles(
    folder: ResultFolder,
    table: ParticleTable,
    final: VolumesResult,
    aside: Sequence[tuple[int, str]] = (),
) -> None:
    """Write all particles with their classes, those set aside, their latents, and each class.

    Parameters
    ----------
    folder : ResultFolder
    table : ParticleTable
    final : VolumesResult
        Of a route that has particles.
    aside : sequence of (row, reason)
        Particles that were left out for what their rows say.
    """
    found = final.particles
    assert found is not None
    table.write_with(folder / PARTICLES, {"rlnClassNumber": found.label + 1})
    names = table.text("rlnImageName")
    junk = ["%d %s" % (k + 1, names[k]) for k in np.flatnonzero(found.junk)]
    write_text(folder / JUNK, "\n".join(["# row image", *junk]) + "\n")
    if aside:
        lines = ["%d %s: %s" % (k + 1, names[k], reason) for k, reason in aside]
        write_text(folder / LEFT_OUT, "\n".join(["# row image: reason", *lines]) + "\n")
    latents = {
        "coordinates": found.coordinates,
        "covariance": found.covariance,
        "posterior": found.posterior,
        "junk": found.junk,
        "contrast": found.contrast,
        "class": found.label + 1,
        **_image_columns(table),
    }
    write_arrays(
        folder / LATENTS, {name: value for name, value in latents.items() if value is not None}
    )
    write_states(folder.path, table, found, len(final.volumes))


def _image_columns(table: ParticleTable) -> dict[str, AnyArray]:
    """Defocus and viewing direction of each particle, for the report's scatter."""
    defocus = [name for name in ("rlnDefocusU", "rlnDefocusV") if table.has(name)]
    angles = [name for name in ("rlnAngleRot", "rlnAngleTilt") if table.has(name)]
    arrays = {}
    if defocus:
        arrays["defocus"] = np.mean([table.numbers(name, finite=False) for name in defocus], axis=0)
    if len(angles) == 2:
        arrays["view"] = np.stack([table.numbers(name, finite=False) for name in angles], axis=1)
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def write_states(folder: Path, table: ParticleTable, found: ParticleClasses, count: int) -> None:
    """Write one STAR file of each class, and cryoSPARC's groups where the input was cryoSPARC's.

    Images that are set aside as junk are in none of the classes.

    Parameters
    ----------
    folder : Path
        Of the result, with its ``particles.star``.
    table : ParticleTable
        All particles.
    found : ParticleClasses
    count : int
        Number of classes.
    """
    label = np.where(found.junk, -1, found.label)
    with contextlib.suppress(_OtherLayout):  # no files then: all rows are in particles.star
        _write_star_files(folder, label, count)
    if isinstance(table, CryosparcTable):
        _write_groups(folder / "cryosparc", table, label, count, found.label, found.posterior)


class _OtherLayout(Exception):
    """Rows of a STAR file are not one to a line, as texts of several lines make them."""


def _write_star_files(folder: Path, label: AnyArray, count: int) -> None:
    """Rows of ``particles.star`` by class: its text, line by line, since sets may be large."""
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(
                open(
                    str(
                        stack.enter_context(
                            replacing(folder / "states" / ("class_%03d.star" % (k + 1)))
                        )
                    ),
                    "wb",
                )
            )
            for k in range(count)
        ]
        row, inside, tags = 0, False, False
        for line in stack.enter_context(open(str(folder / "particles.star"), "rb")):
            bare = line.strip()
            if bare == b"loop_" or bare.startswith(b"data_"):
                inside, tags = False, bare == b"loop_"
            elif tags and bare.startswith(b"_"):
                inside = inside or bare.split()[0] == b"_rlnImageName"
            elif inside and bare and not bare.startswith(b"#"):
                tags = False
                if row == len(label):
                    raise _OtherLayout
                if label[row] >= 0:
                    files[label[row]].write(line)
                row += 1
                continue
            for file in files:
                file.write(line)
        if row != len(label):
            raise _OtherLayout
        for file in files:
            file.flush()


def _write_groups(
    folder: Path,
    table: CryosparcTable,
    label: AnyArray,
    count: int,
    nearest: AnyArray,
    posterior: AnyArray,
) -> None:
    """Write ``.cs`` and ``.csg`` of each class, of all, and of what is set aside."""
    rows = _rows_with_class(folder, table, nearest, posterior)
    groups = [
        ("class_%03d" % (k + 1), "Class %d" % (k + 1), np.flatnonzero(label == k))
        for k in range(count)
    ]
    groups.append(("all_classes", "All classes", np.flatnonzero(label >= 0)))
    groups.append(("set_aside", "Set aside", np.flatnonzero(label < 0)))
    present = [
        prefix
        for prefix in _RESULTS
        if any(name.startswith(prefix + "/") for name in rows.dtype.names or ())
    ]
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    for name, title, index in groups:
        if not len(index):
            continue
        with replacing(folder / (name + ".cs")) as temporary, open(str(temporary), "wb") as file:
            np.save(file, rows[index], allow_pickle=False)
        results = "".join(
            _RESULT % dict(prefix=prefix, file=name + ".cs", count=len(index)) for prefix in present
        )
        write_text(
            folder / (name + ".csg"),
            _GROUP % dict(created=now, name="particles_" + name, title=title, results=results),
        )


def _rows_with_class(
    folder: Path, table: CryosparcTable, nearest: AnyArray, posterior: AnyArray
) -> AnyArray:
    """All rows as they came, with class and posterior; older classifications are left out."""
    fields = {
        name: values
        for name, values in table.rows.fields.items()
        if not name.startswith(("alignments3D_multi/", "alignments_class_"))
    }
    uid = fields.pop("uid")
    if "alignments3D/pose" not in fields:  # the best of several classes
        for name, values in zip(("pose", "shift", "psize_A"), alignment_of(table.rows)):
            fields["alignments3D/" + name] = values.astype(np.float32)
    share = np.ones(len(uid))
    if posterior.shape[1]:
        share = np.take_along_axis(posterior, nearest[:, None], axis=1)[:, 0]
    fields["alignments3D/class"] = nearest.astype(np.uint32)
    fields["alignments3D/class_posterior"] = share.astype(np.float32)
    fields["blob/path"] = _moved(fields["blob/path"], table.rows.path.parent, folder)
    # Second, so that the header names this program near its beginning.
    front = {"uid": uid, POSTERIOR: posterior.astype(np.float32)}
    if not posterior.shape[1]:
        front[POSTERIOR] = share.astype(np.float32)[:, None]
    fields = {**front, **fields}
    out = np.zeros(len(uid), [(name, v.dtype, v.shape[1:]) for name, v in fields.items()])
    for name, values in fields.items():
        out[name] = values
    return out


def _moved(paths: AnyArray, old: Path, new: Path) -> AnyArray:
    """Paths of images, those that start beside an export's file as seen from a new folder."""
    unique, number = np.unique(paths, return_inverse=True)
    names = [os.fsencode(name) for name in unique.tolist()]
    if not any(name.startswith(b">") for name in names):
        return paths
    relative = os.fsencode(os.path.relpath(os.path.abspath(str(old)), os.path.abspath(str(new))))
    moved = [
        b">" + relative + b"/" + name.lstrip(b">") if name.startswith(b">") else name
        for name in names
    ]
    out: AnyArray = np.array(moved)[number.ravel()]
    return out
