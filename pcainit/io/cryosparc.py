"""cryoSPARC's particle files (.cs): latent coordinates, and which particle each row belongs to."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path
from typing import Hashable, Sequence

import numpy as np
from scipy.spatial import cKDTree

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError
from pcainit.io.particle_table import ParticleTable
from pcainit.io.stacks import image_number

SAME_DEFOCUS = 0.5  # Angstrom: the two files round differently
UNRELATED = 0.2  # correlation of defocus values below which the order is surely another
MIN_ROWS = 100  # to say so
_UID = re.compile(r"^>?\d{15,}_")  # what cryoSPARC puts before the names of imported files


def coordinates_of(rows: AnyArray) -> AnyArray:
    """The fields ``components_mode_*/value``, in order of their numbers.

    Raises
    ------
    ValueError
        There are none.
    """
    names = [
        name
        for name in rows.dtype.names or ()
        if name.startswith("components_mode") and name.endswith("/value")
    ]
    if not names:
        raise ValueError("it has no fields components_mode_*/value")
    names.sort(key=lambda name: [int(word) for word in re.findall(r"\d+", name)])
    return np.column_stack([rows[name] for name in names])


def match_rows(
    rows: AnyArray, table: ParticleTable, path: str | Path
) -> tuple[AnyArray | None, str]:
    """For each particle of a STAR file its row in a .cs file.

    Particles are known by their unique ids (``ucsfUid``) where the STAR file has them, else by the
    image's file name, without folder, extension and cryoSPARC's number before it, and its place in
    the file; where the two name no images in common, by their defocus values.

    Parameters
    ----------
    rows : structured array
        Of the .cs file.
    table : ParticleTable
    path : str or Path
        Of the .cs file, for messages.

    Returns
    -------
    (n,) int or None
        None where the two have nothing in common to compare.
    str
        What the particles are known by.

    Raises
    ------
    InputError
        They are not the same particles, or the order of what cannot be told apart differs.
    """
    fields = rows.dtype.names or ()
    for what, theirs, ours in (
        ("unique ids", _uids(rows, fields), _star_uids(table)),
        ("image names", _images(rows, fields), _star_images(table)),
    ):
        if theirs is None or ours is None or not _comparable(theirs, ours):
            continue
        place = {key: k for k, key in enumerate(theirs)}
        missing = [k for k, key in enumerate(ours) if key not in place]
        if missing:
            raise InputError(
                "The coordinates %s are of other particles than the STAR file: %d of its %d rows "
                "are not there by their %s (the first is row %d): give the file of the same "
                "particles." % (path, len(missing), len(ours), what, missing[0] + 1)
            )
        if len(place) == len(theirs):
            return np.array([place[key] for key in ours]), what
        if theirs != ours:  # copies of one image, as after symmetry expansion
            raise InputError(
                "The coordinates %s have the particles in another order than the STAR "
                "file, and copies of one image that cannot be told apart: give both "
                "in one order." % path
            )
        return np.arange(len(ours)), what
    return _by_defocus(_defocus(rows, fields), _star_defocus(table), path)


def _by_defocus(
    theirs: AnyArray | None, ours: AnyArray | None, path: str | Path
) -> tuple[AnyArray | None, str]:
    """Rows by their defocus values, which may tell particles apart or only confirm an order.

    Parameters
    ----------
    theirs, ours : (n, 2) float64, optional
        In Angstrom.
    path : str or Path

    Raises
    ------
    InputError
        The order is surely another, and nothing tells which.
    """
    if theirs is None or ours is None:
        return None, "order"
    same_length = len(theirs) == len(ours)
    if same_length and np.abs(theirs - ours).max() < SAME_DEFOCUS:
        return np.arange(len(ours)), "their order, which their defocus values confirm"
    near, row = cKDTree(theirs).query(ours, k=min(2, len(theirs)))
    if (
        near.ndim == 2
        and near[:, 0].max() < SAME_DEFOCUS
        and near[:, 1].min() > SAME_DEFOCUS
        and len(np.unique(row[:, 0])) == len(ours)
    ):
        return row[:, 0], "defocus values"
    if (
        same_length
        and len(ours) >= MIN_ROWS
        and np.corrcoef(theirs[:, 0], ours[:, 0])[0, 1] < UNRELATED
    ):
        raise InputError(
            "The coordinates %s have the particles in another order than the STAR "
            "file, as their defocus values show (%.0f A in the first row, and %.0f "
            "A): give both in one order." % (path, theirs[0, 0], ours[0, 0])
        )
    return None, "order"


def _defocus(rows: AnyArray, fields: Sequence[str]) -> AnyArray | None:
    if "ctf/df1_A" not in fields or "ctf/df2_A" not in fields:
        return None
    return _varied(np.column_stack([rows["ctf/df1_A"], rows["ctf/df2_A"]]).astype(np.float64))


def _star_defocus(table: ParticleTable) -> AnyArray | None:
    if not table.has("rlnDefocusU") or not table.has("rlnDefocusV"):
        return None
    try:
        return _varied(
            np.column_stack(
                [
                    np.asarray(table.text(name), np.float64)
                    for name in ("rlnDefocusU", "rlnDefocusV")
                ]
            )
        )
    except ValueError:
        return None


def _varied(values: AnyArray) -> AnyArray | None:
    """Defocus values that tell something; the larger one of each row first."""
    good = np.isfinite(values).all() and len(values) > 1 and np.ptp(values[:, 0]) > SAME_DEFOCUS
    return np.sort(values, axis=1)[:, ::-1] if good else None


def _comparable(theirs: Sequence[Hashable], ours: Sequence[Hashable]) -> bool:
    """Whether names of the two have anything to do with each other."""

    def files(keys: Sequence[Hashable]) -> set[Hashable]:
        return {key[0] if isinstance(key, tuple) else "" for key in keys}

    return bool(files(theirs) & files(ours))


def _uids(rows: AnyArray, fields: Sequence[str]) -> list[Hashable] | None:
    return [int(uid) for uid in rows["uid"]] if "uid" in fields else None


def _star_uids(table: ParticleTable) -> list[Hashable] | None:
    if not table.has("ucsfUid"):
        return None
    try:
        return [int(word) for word in table.text("ucsfUid")]
    except ValueError:
        return None


def _images(rows: AnyArray, fields: Sequence[str]) -> list[Hashable] | None:
    if "blob/path" not in fields or "blob/idx" not in fields:
        return None
    names = [
        name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        for name in rows["blob/path"].tolist()
    ]
    return [(_bare(name), int(index) + 1) for name, index in zip(names, rows["blob/idx"])]


def _star_images(table: ParticleTable) -> list[Hashable] | None:
    keys: list[Hashable] = []
    for name in table.text("rlnImageName"):
        index, at, stack = name.partition("@")
        if not at or not index or not image_number(index):
            return None
        keys.append((_bare(stack), image_number(index)))
    return keys


def _bare(path: str) -> str:
    return _UID.sub("", Path(path).name).rpartition(".")[0]
