"""cryoSPARC's particles as the columns of a RELION particle file, without cryosparc-tools."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pcainit import __version__
from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.atomic import replacing
from pcainit.io.cryosparc_fields import (
    aberration_notes,
    dark_images,
    expanded_from,
    relion_columns,
    relion_names,
)
from pcainit.io.cryosparc_files import JoinedRows, is_cryosparc, read_joined
from pcainit.io.ownership import MARK
from pcainit.io.particle_table import ParticleTable

_PIECE = 10000  # rows that are written at a time
_SPECIAL = re.compile(r"[\s'\"#]|^[_;$\[\]]|^$")
# Columns that stand in the table of optics groups of the file that is written.
_OPTICS = (
    "rlnImagePixelSize",
    "rlnImageSize",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnBeamTiltX",
    "rlnBeamTiltY",
    "rlnMagMat00",
    "rlnMagMat01",
    "rlnMagMat10",
    "rlnMagMat11",
)


def open_particles(path: str | Path) -> ParticleTable:
    """The particle rows of a RELION STAR file or of cryoSPARC's files.

    Parameters
    ----------
    path : str or Path
        A STAR file, a ``.cs`` or ``.csg`` file, or a job's folder.

    Returns
    -------
    ParticleTable

    Raises
    ------
    InputError
        It cannot be read, or lacks what particles need.
    """
    if Path(path).suffix.lower() in (".pkl", ".pickle"):
        raise InputError(
            "%s is a Python pickle, as cryoDRGN keeps poses and CTF in, which could run code and "
            "is not opened: give the STAR or .cs file that it was parsed from, or the one that "
            "cryodrgn write_star makes." % shorten(str(path))
        )
    return CryosparcTable(read_joined(path)) if is_cryosparc(path) else ParticleTable(path)


class CryosparcTable(ParticleTable):
    """cryoSPARC's particles with RELION's column names.

    Parameters
    ----------
    rows : JoinedRows

    Raises
    ------
    InputError
        A field is missing, or holds what cannot be.
    """

    def __init__(self, rows: JoinedRows) -> None:
        self.rows, self.path, self.identity = rows, rows.path, rows.identity
        self._names = relion_names(rows)
        self._values = relion_columns(rows)
        self._columns = dict.fromkeys([*self._values, "rlnImageName", "ucsfUid"], 0)
        self._optics_columns: dict[str, int] = {}
        self.dark = dark_images(rows)
        self.source = expanded_from(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, label: str) -> list[str]:
        """One particle column as it would stand in a STAR file."""
        if label == "rlnImageName":
            return list(self._names)
        if label == "ucsfUid":
            return [str(uid) for uid in self.rows.fields["uid"].tolist()]
        return _cells(self._values[label])

    def cells(self, label: str) -> list[str]:
        """See `text`: there is no table of optics groups beside it."""
        return self.text(label)

    def numbers(self, label: str, default: float | None = None, *, finite: bool = True) -> AnyArray:
        """One value per particle, (n,) float64; see `ParticleTable.numbers`."""
        if label in self._values:
            return self._values[label]
        if default is None:
            return super().numbers(label, finite=finite)
        return np.full(len(self), float(default))

    def notes(self, resolution: float) -> list[str]:
        """Trefoil and tetrafoil where they are not small: their axes are not documented."""
        return aberration_notes(self.rows, self._values, resolution)

    def write_with(self, path: str | Path, columns: dict[str, AnyArray]) -> None:
        """Write a RELION STAR file of all rows in order with some columns added.

        Parameters
        ----------
        path : str or Path
        columns : dict
            Label -> (n,) int array or list of str.
        """
        shared = [label for label in _OPTICS if label in self._values]
        kinds, group = np.unique(
            np.column_stack([self._values[label] for label in shared]), axis=0, return_inverse=True
        )
        optics = {
            "rlnOpticsGroupName": ["opticsGroup%d" % (k + 1) for k in range(len(kinds))],
            "rlnOpticsGroup": [str(k + 1) for k in range(len(kinds))],
            "rlnImageDimensionality": ["2"] * len(kinds),
            **{label: _cells(kinds[:, k]) for k, label in enumerate(shared)},
        }
        particles = {
            "rlnImageName": [_quoted(_of_relion(name)) for name in self._names],
            "rlnOpticsGroup": [str(k + 1) for k in group.ravel().tolist()],
            **{
                label: _cells(values)
                for label, values in self._values.items()
                if label not in shared
            },
            "ucsfUid": self.text("ucsfUid"),
            **{label: [str(value) for value in values] for label, values in columns.items()},
        }
        with replacing(path) as temporary, open(str(temporary), "wb") as file:
            file.write(("\n# %s %s\n" % (MARK, __version__)).encode())
            for block, table in (("optics", optics), ("particles", particles)):
                file.write(("\ndata_%s\n\nloop_\n" % block).encode())
                file.write("".join("_%s\n" % label for label in table).encode())
                cells = list(table.values())
                for first in range(0, len(cells[0]), _PIECE):
                    rows = zip(*(column[first : first + _PIECE] for column in cells))
                    text = "".join(" ".join(row) + "\n" for row in rows)
                    file.write(text.encode("utf-8", "surrogateescape"))


def _quoted(cell: str) -> str:
    """A word of a STAR file, in quotation marks where it needs them."""
    if not _SPECIAL.search(cell):
        return cell
    return "'%s'" % cell if "'" not in cell else '"%s"' % cell.replace('"', "'")


def _of_relion(name: str) -> str:
    """RELION takes a file called .mrc for one volume unless told that it is a stack."""
    return name + ":mrcs" if name.lower().endswith(".mrc") else name


def _cells(values: AnyArray) -> list[str]:
    """Numbers as text: as short as gives the same number again."""
    if (values == np.round(values)).all():
        return ["%d" % value for value in values.tolist()]
    return list(map(repr, values.tolist()))
