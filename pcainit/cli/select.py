"""pcainit select --work WORK --rows ROWS.txt -o VOLUME.mrc: one more volume, of chosen particles.

WORK is the folder that the stages of a run share.  ROWS.txt has the number of one particle in each
line, its row in the run's STAR file counted from 1.  The volume has the box, the resolution and the
greyscale of the run's class volumes.

Example: pcainit select --work work --rows chosen.txt -o chosen.mrc
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import os
from pathlib import Path

from pcainit.cli.folders import locked_folder
from pcainit.cli.options import add_threads, check_threads
from pcainit.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit select``."""
    parser.add_argument("--work", required=True, metavar="WORK", help="folder the stages share")
    parser.add_argument("--rows", required=True, metavar="ROWS.txt", help="chosen particles")
    parser.add_argument("-o", "--output", required=True, metavar="VOLUME.mrc", help="map to write")
    parser.add_argument("--symmetry", default="c1", help="point group (default: %(default)s)")
    add_threads(parser)


def main(args: argparse.Namespace) -> int:
    """Reconstruct and write the volume."""
    check_threads(args)
    output = Path(args.output)
    if output.suffix != ".mrc":
        raise InputError("The output %s is no map: give a name that ends in .mrc." % output)
    if not os.path.isdir(args.work):
        raise InputError(
            "The work folder %s does not exist: give the one of a run's stages." % args.work
        )
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.io.maps import write_blocks
    from pcainit.pipeline.routes.chosen import read_rows, volume_of
    from pcainit.pipeline.store import Workspace

    set_threads(args.threads)
    kept.begin()
    rows = read_rows(args.rows)
    volume, grid, count = volume_of(Workspace(Path(args.work)), rows, args.symmetry)
    with locked_folder(output.parent, "." + output.name):  # others may write beside it
        write_blocks(output, grid.particle_box_blocks(volume), (grid.box_px,) * 3, grid.sampling)
    print("%s  %d particles" % (output, count))
    return 0
