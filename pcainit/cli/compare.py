"""pcainit compare SET SET... -o DIR: several sets of volumes side by side.

Each SET is a folder of maps, the result folder of a run, a list of maps (a text file) or a map;
NAME=SET gives it a name.  All volumes are brought to one grid, resolution and greyscale.  DIR gets
comparison.txt, comparison.json and, with figures, comparison.html: how much the volumes of each set
differ, over their noise where the run that made them has measured it, up to which resolution they
are the same (Fourier shell correlation 0.5), how well the sets' difference maps match one to one,
and with --truth how well they match the true ones.

Example: pcainit compare ours=initial simple=subsets --truth states -o comparison
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from pcainit.cli.folders import locked_folder
from pcainit.cli.options import add_threads, check_threads
from pcainit.cli.progress import Reporter
from pcainit.errors import InputError
from pcainit.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit compare``."""
    fields = Settings.fields()
    parser.add_argument("sets", nargs="+", metavar="SET", help="set of volumes, or NAME=SET")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the table")
    parser.add_argument("--truth", metavar="SET", help="the true volumes, where they are known")
    parser.add_argument(
        "--resolution",
        type=float,
        default=fields["resolution"]["default"],
        help="Angstrom (default: %(default)s)",
    )
    parser.add_argument(
        "--mask", default="", help="mask to compare in (default: made from the mean of all)"
    )
    parser.add_argument(
        "--mask-sampling",
        type=float,
        default=fields["mask_sampling"]["default"],
        metavar="MASK_SAMPLING",
        help=fields["mask_sampling"]["help"],
    )
    add_threads(parser)


def main(args: argparse.Namespace) -> int:
    """Compare and write."""
    check_threads(args)
    settings = Settings(
        resolution=args.resolution, mask=args.mask, mask_sampling=args.mask_sampling
    )
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.io.atomic import to_json_types, write_json, write_text
    from pcainit.io.map_list import MapFile, find_maps
    from pcainit.io.ownership import MARK, refuse_foreign
    from pcainit.output.drawing import prepare_drawing
    from pcainit.output.words.comparison import text_table
    from pcainit.pipeline.routes.compare import compare_sets

    folder = Path(args.output)
    refuse_foreign(
        folder, ("comparison.txt", "comparison.html", "comparison.json"), "comparison.html"
    )
    set_threads(args.threads)
    named: list[tuple[str, list[MapFile]]] = []
    for number, word in enumerate(args.sets, 1):
        name, place = _name(word)
        if name in [other for other, _ in named]:
            name = "%s (%d)" % (name, number)
        named.append((name, find_maps([place])))
    truth = find_maps([args.truth]) if args.truth else []
    done: list[dict[str, Any]] = []
    kept: dict[str, Any] = {}
    Reporter().run(
        "compare",
        lambda progress: done.append(compare_sets(named, truth, settings, progress, kept)),
    )
    found, text = dict(program=MARK, **to_json_types(done[0])), text_table(done[0])
    with locked_folder(folder):
        prepare_drawing(folder)
        from pcainit.output.report.comparison import render_comparison

        write_text(folder / "comparison.txt", text)
        write_text(folder / "comparison.html", render_comparison(found, **kept))
        write_json(folder / "comparison.json", found)
    print(text, end="")
    print(folder / "comparison.html")
    return 0


def _name(word: str) -> tuple[str, str]:
    """Name of a set and where it is."""
    name, sign, place = word.partition("=")
    if sign and not os.path.exists(word):
        if not name or not place:
            raise InputError("The set %r is not understood: give a folder, or NAME=FOLDER." % word)
        return name, place
    path = Path(word)
    return (path.name if os.path.isdir(word) else path.stem) or word, word
