"""The rows of a RELION particle STAR file, written back with the classes found."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pcainit import __version__
from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io import columns, plausible
from pcainit.io.fingerprint import bytes_identity
from pcainit.io.ownership import MARK
from pcainit.io.star_text import PairTable, decode, plain_text, read_document, write_document

# CTF field -> STAR label and what stands in where the label is absent (None: it must be there).


class ParticleTable:
    """The particle rows of a RELION STAR file, optics groups looked up for each row.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        The file is missing, is not STAR, or has no particles.

    Examples
    --------
    >>> import os, tempfile
    >>> from pcainit.io.particle_table import ParticleTable
    >>> path = os.path.join(tempfile.mkdtemp(), "particles.star")
    >>> lines = ["data_particles", "loop_", "_rlnImageName", "1@a.mrcs", "2@a.mrcs", ""]
    >>> with open(path, "w") as star:
    ...     _ = star.write(chr(10).join(lines))
    >>> table = ParticleTable(path)
    >>> len(table), table.has("rlnAngleRot")
    (2, False)
    """

    dark: AnyArray | None = None  # (n,) bool: images with particles darker than the background
    source: AnyArray | None = None  # (n,) int: copies of one particle have the same number

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not os.path.isfile(str(self.path)):
            raise InputError(
                "The particle STAR file %s does not exist: check the path."
                % shorten(str(self.path))
            )
        try:
            content = self.path.read_bytes()
            self.identity = bytes_identity(content)
            text = decode(content)
            del content  # of a million particles, it is large
            self._document = read_document(text)
        except (ValueError, OSError) as error:
            raise InputError(
                "%s cannot be read as a STAR file (%s): give RELION's particles file."
                % (self.path, shorten(str(error)))
            ) from None
        self._loop = self._find("particles", "rlnImageName")
        if self._loop is None or self._loop.length() == 0:
            raise InputError(
                "%s has no particles (no loop with rlnImageName): give RELION's "
                "particles file." % self.path
            )
        self._columns = _column_numbers(self._loop)
        self._optics = self._find("optics", "rlnOpticsGroup", exclude=self._loop)
        self._optics_columns = _column_numbers(self._optics) if self._optics else {}
        self._optics_row = self._match_optics() if self._optics else None

    def _find(self, block_name: str, label: str, exclude: Any = None) -> Any:
        blocks = sorted(self._document, key=lambda block: block.name != block_name)
        for block in blocks:
            for item in block:
                loop = item.loop
                if item.pair is not None and item.pair[0] == "_" + label == "_rlnOpticsGroup":
                    return PairTable([item.pair for item in block if item.pair is not None])
                if (
                    loop is not None
                    and "_" + label in loop.tags
                    and (exclude is None or loop.tags != exclude.tags)
                ):
                    return loop
        return None

    def __len__(self) -> int:
        return int(self._loop.length())

    def has(self, label: str) -> bool:
        """Whether a row, or its optics group, carries this label."""
        return label in self._columns or label in self._optics_columns

    def text(self, label: str) -> list[str]:
        """One particle column as it stands in the file."""
        width, column = self._loop.width(), self._columns[label]
        values = self._loop.values
        return [plain_text(values[k]) for k in range(column, len(self) * width, width)]

    def _rows_of_optics(self) -> AnyArray:
        """Row of each particle's optics group; only for a file that has a table of them."""
        assert self._optics_row is not None
        return self._optics_row

    def cells(self, label: str) -> list[str]:
        """One value per particle as it stands in its row or else its optics group."""
        if label in self._columns:
            return self.text(label)
        width, column = self._optics.width(), self._optics_columns[label]
        values = [self._optics.values[k * width + column] for k in range(self._optics.length())]
        return [values[row] for row in self._rows_of_optics()]

    def numbers(self, label: str, default: float | None = None, *, finite: bool = True) -> AnyArray:
        """One value per particle, from its row or else its optics group, (n,) float64.

        Raises
        ------
        InputError
            The label is absent and has no default, or holds something that is no number, or, where
            they have to be finite, no finite one.
        """
        if label in self._columns:
            return _as_numbers(self.text(label), label, self.path, finite)
        if label in self._optics_columns:
            width, column = self._optics.width(), self._optics_columns[label]
            cells = [self._optics.values[k * width + column] for k in range(self._optics.length())]
            return _as_numbers(cells, label, self.path, finite)[self._optics_row]
        if default is None:
            raise InputError("%s has no column %s: the particles need it." % (self.path, label))
        return np.full(len(self), float(default))

    def checked(self, label: str, default: float | None = None, *, finite: bool = True) -> AnyArray:
        """As `numbers`, but values that no microscope gives are refused."""
        values = self.numbers(label, default, finite=finite)
        plausible.check_range(values[np.isfinite(values)], label, self.path)
        return values

    def flags(self) -> dict[str, list[str]]:
        """The columns that can be grounds to refuse the particles, see `columns.DECISIONS`."""
        return {
            label: sorted(set(self.cells(label)))
            for label, decision in columns.BY_LABEL.items()
            if decision.what == columns.REFUSED and self.has(label)
        }

    def notes(self, resolution: float) -> list[str]:
        """Sentences on what the file says and is left out, at a resolution in Angstrom."""
        return []

    def _match_optics(self) -> AnyArray:
        width, column = self._optics.width(), self._optics_columns["rlnOpticsGroup"]
        groups = [self._optics.values[k * width + column] for k in range(self._optics.length())]
        if "rlnOpticsGroup" not in self._columns:
            if len(groups) == 1:
                return np.zeros(len(self), int)
            raise InputError(
                "%s has %d optics groups, but its particles do not name theirs "
                "(rlnOpticsGroup)." % (self.path, len(groups))
            )
        row_of = {name: k for k, name in enumerate(groups)}
        if len(row_of) < len(groups):
            raise InputError(
                "%s lists an optics group twice (rlnOpticsGroup): give each a number "
                "of its own." % self.path
            )
        try:
            return np.array([row_of[name] for name in self.text("rlnOpticsGroup")], int)
        except KeyError as error:
            raise InputError(
                "%s has a particle of optics group %s, which its optics table does "
                "not list." % (self.path, shorten(error.args[0]))
            ) from None

    def write_with(self, path: str | Path, columns: dict[str, AnyArray]) -> None:
        """Write every row in order with some columns set (integers) or added, here as well.

        Parameters
        ----------
        path : str or Path
        columns : dict
            Label -> (n,) int array or list of str.
        """
        for label, values in columns.items():
            if label not in self._columns:
                self._loop.add_columns(["_" + label], value="0")
                self._columns = _column_numbers(self._loop)
            k = self._columns[label]
            for row, value in enumerate(values):  # in place: there may be millions
                self._loop[row, k] = str(value)
        write_document(self._document, path, comment="%s %s" % (MARK, __version__))


def _column_numbers(loop: Any) -> dict[str, int]:
    return {tag[1:]: k for k, tag in enumerate(loop.tags)}


def _as_numbers(cells: list[str], label: str, path: Path, finite: bool) -> AnyArray:
    try:
        values = np.array(cells, np.float64)
        if any("_" in cell for cell in cells):  # Python's own way to write 10000
            raise ValueError
    except ValueError:
        bad = np.array([not _is_number(cell) for cell in cells])
        raise InputError(
            "%s: %s of %s is %s%r, which is not a number." % (path, label, *_first(cells, bad))
        ) from None
    if finite and not np.isfinite(values).all():
        bad = ~np.isfinite(values)
        raise InputError(
            "%s: %s of %s is %s%s, which is not a finite number."
            % (path, label, *_first(cells, bad))
        )
    return values


def _first(cells: list[str], bad: AnyArray) -> tuple[str, str, str]:
    """Which rows are bad, and what the first of them holds."""
    more = "in the first of them " if bad.sum() > 1 else ""
    return columns.rows(bad), more, shorten(cells[int(np.argmax(bad))])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
