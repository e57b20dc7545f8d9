"""How a command ended: one sentence for trouble with the machine, and a file for who started it."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os

# What the errors of the system mean for the user.
_REMEDY = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "your disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EACCES: "you have no permission: change it, or choose another folder",
    errno.EPERM: "you have no permission: change it, or choose another folder",
    errno.EIO: "the disk reports an error: see to it",
    errno.ESTALE: "the network file system lost it: see to it",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENOENT: "it has disappeared: put it back",
}


def machine_trouble(error: BaseException) -> str:
    """One sentence about an error of disk or memory; empty when it is none that is known."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return ("Not enough memory%s: use a machine that has more, fewer classes or components, or "
                "a coarser resolution." % (" (%s)" % error if str(error) else ""))
    number = getattr(error, "errno", None)
    if number not in _REMEDY:
        return ""
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    return "%s: %s, then run the same command again." % (
        "A file could not be read or written" if not name
        else "The file or folder %s could not be used" % os.fspath(name), _REMEDY[number])


def add_status(parser: argparse.ArgumentParser) -> None:
    """The option that names the file for how the command ended; for programs, not shown."""
    parser.add_argument("--status", default="", help=argparse.SUPPRESS)


def write_status(path: str, code: int, text: str) -> None:
    """Tell who started the command how it ended; trouble in doing so is no trouble."""
    from pcainit.files.atomic import write_text
    with contextlib.suppress(OSError):
        write_text(path, json.dumps(dict(code=code, error=text)))
