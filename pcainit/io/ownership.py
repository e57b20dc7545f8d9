"""Files of others, which no result may replace.

All that is written carries this program's name near its beginning: maps in a label, texts in a
comment or a field.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from pcainit.errors import InputError

MARK = "pcainit"
_BEGINNING = 2000  # bytes


def mark_map(mrc: Any) -> None:
    """Put the mark into the labels of an open MRC file."""
    count = int(mrc.header.nlabl)  # of ten; older versions of mrcfile add none themselves
    mrc.header.label[min(count, 9)] = MARK
    mrc.header.nlabl = min(count + 1, 10)


def refuse_foreign(
    folder: str | Path, patterns: Sequence[str], vouching: str = "", beginnings: Sequence[str] = ()
) -> None:
    """Refuse an output folder that holds other people's files where results go.

    Parameters
    ----------
    folder : str or Path
    patterns : sequence of str
        Names of results, relative to the folder, with wildcards.
    vouching : str
        The result that, where it is ours, tells that the others are.
    beginnings : sequence of str
        What files of ours that cannot carry the mark begin with.

    Raises
    ------
    InputError
        There is such a file.
    """
    if vouching and _is_own(Path(folder) / vouching):
        return
    for pattern in patterns:
        for path in sorted(Path(folder).glob(pattern)):
            if not _is_own(path, beginnings):
                raise InputError(
                    "The output folder %s holds %s, which pcainit has not made and "
                    "would replace: choose another folder." % (folder, path.relative_to(folder))
                )


def _is_own(path: Path, beginnings: Sequence[str] = ()) -> bool:
    try:
        with open(str(path), "rb") as file:
            found = file.read(_BEGINNING)
            return MARK.encode() in found or found.startswith(
                tuple(beginning.encode() for beginning in beginnings)
            )
    except PermissionError:  # said when it is written to
        return True
    except OSError:
        return False
