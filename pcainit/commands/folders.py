"""The folder that a command writes into."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterator


@contextlib.contextmanager
def gone_if_failed(folder: Path) -> Iterator[None]:
    """Make a folder; if what follows fails, remove what was made of it and is still empty."""
    from pcainit.files.workspace import make_folder
    new = [part for part in (folder, *folder.parents) if not os.path.exists(str(part))]
    make_folder(folder)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for part in new:            # the innermost first, up to the first that is not empty
                part.rmdir()
        raise
