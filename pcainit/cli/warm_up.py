"""pcainit warm-up: compile everything now, so that the first run starts at once.

For installers, containers and shared folders.  What is compiled is kept in the folder that the
environment variable PCAINIT_CACHE_DIR names (or NUMBA_CACHE_DIR), otherwise beside the program, or
in your own cache folder where that cannot be written to.  Each kind of processor has code of its
own; folders that cannot be written to later are used all the same.

Example: PCAINIT_CACHE_DIR=/opt/pcainit pcainit warm-up
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse

from pcainit.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit warm-up``: none."""


def main(args: argparse.Namespace) -> int:
    """Compile what is not kept yet, and say where it is."""
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.jit import all_kernels

    names = kept.in_order(list(all_kernels()))
    wanted = kept.missing(names)
    root = kept.writable_root()
    if wanted and root is None:
        raise InputError(
            "Nothing can be written to the folders for compiled code: set %s to one that can."
            % kept.VARIABLE
        )
    kept.begin(names)
    kept.finish()
    left = kept.missing(names)
    if left:
        raise InputError(
            "%d of %d kernels could not be compiled or kept in %s: check its free space, or set "
            "%s to another folder." % (len(left), len(names), root, kept.VARIABLE)
        )
    places = sorted({str(place.parents[1]) for place in map(kept.find, names) if place})
    print(
        "%d kernels compiled, %d kept before, in %s"
        % (len(wanted), len(names) - len(wanted), ", ".join(places))
    )
    return 0
