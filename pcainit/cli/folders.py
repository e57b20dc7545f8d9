"""The folder that a command writes into."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterator

from pcainit.errors import InputError
from pcainit.interruption import shielded


def refuse_same(output: str, work: str) -> None:
    """Refuse an output folder that is the work folder: each is held by itself.

    Raises
    ------
    InputError
        They are one.
    """
    if os.path.realpath(output) == os.path.realpath(work):
        raise InputError("The output folder %s is the work folder: choose another." % output)


@contextlib.contextmanager
def locked_folder(folder: Path, name: str = "", shared: bool = False) -> Iterator[None]:
    """Make a folder and hold it; if what follows fails and it is still empty, remove it.

    What a run that was killed left unfinished there is removed, and a result that turns out to be
    damaged, so that the step that makes it can be done again.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    name : str
        Of one of several locks in a shared folder.
    shared : bool
        Together with others that share it.

    Raises
    ------
    InputError
        It cannot be written to, or another run holds it.
    """
    from pcainit.errors import DamagedResult
    from pcainit.io.atomic import remove_unfinished
    from pcainit.io.locks import LOCK, locked
    from pcainit.pipeline.store import make_folder

    new = [part for part in (folder, *folder.parents) if not os.path.exists(str(part))]
    make_folder(folder)
    try:
        with locked(folder, LOCK + name, shared):
            for place in (folder, folder / "volumes", folder / "components"):
                remove_unfinished(place)
            try:
                yield
            except DamagedResult as error:
                error.path.unlink(missing_ok=True)
                raise
    except BaseException:
        with shielded(), contextlib.suppress(OSError):
            for part in new:  # the innermost first, up to the first that is not empty
                part.rmdir()
        raise
