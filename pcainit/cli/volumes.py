"""pcainit volumes MAPS... -o DIR: PCA of given volumes.

MAPS are maps (.mrc), folders of maps, or text files that list maps: in each line a path and, if
wanted, its weight and its sampling rate.  They may have different boxes and sampling rates.  DIR
gets the representative volumes, eigenvolumes, mean, variance map, a table of the coordinates
(coordinates.txt) and the report.

Example: pcainit volumes analyze/kmeans20 -o landscape --resolution 15 --align-greyscale
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pcainit.cli.folders import locked_folder
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import Reporter
from pcainit.cli.run import say
from pcainit.errors import InputError
from pcainit.settings import AUTO


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit volumes``."""
    parser.add_argument("maps", nargs="*", help="maps, folders of maps, or lists of maps")
    parser.add_argument(
        "--align-greyscale",
        action="store_true",
        help="bring all volumes to one density scale and background first, for "
        "volumes of different programs or runs",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for the results"
    )
    add_settings(parser, "volumes")


def main(args: argparse.Namespace) -> int:
    """Analyse the volumes that are given."""
    if not args.maps:
        raise InputError("No volumes are given: name maps, folders or lists of maps.")
    settings = settings_from(args)
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.io.atomic import write_text
    from pcainit.io.map_list import find_maps
    from pcainit.output.publish import record, refuse_overwriting, write_result
    from pcainit.output.words.volume_set import coordinates_table, verdict
    from pcainit.pipeline.routes.from_volumes import analyse_volumes
    from pcainit.pipeline.store import Workspace

    entries = find_maps(args.maps)
    output = Path(args.output)
    refuse_overwriting(output, *(entry.path for entry in entries), settings.mask)
    for word in args.maps:
        if Path(word).is_dir() and output.is_dir() and output.samefile(word):
            raise InputError("The output folder %s is one of the inputs: choose another." % output)
    set_threads(args.threads)
    reporter, done = Reporter(), []
    workspace = Workspace(None, scratch=output)
    with locked_folder(output):
        reporter.run(
            "analyse",
            lambda progress: done.append(
                analyse_volumes(
                    entries,
                    settings,
                    workspace.allocate,
                    align_greyscale=args.align_greyscale,
                    progress=progress,
                )
            ),
        )
        stages, grid, extra = done[0]
        final, found = stages["volumes"], stages["components"]
        summary: dict[str, Any] = dict(
            record(
                settings,
                grid,
                "volumes",
                args.threads,
                reporter.seconds,
                align_greyscale=args.align_greyscale,
            ),
            input_volumes=len(entries),
            classes=len(final["volumes"]),
            class_weights=final["weights"],
            class_sizes=[
                int((extra["posterior"].argmax(axis=1) == k).sum())
                for k in range(len(final["volumes"]))
            ],
            eigenvalues=found["eigenvalues"],
            noise_edge=found["noise_edge"],
            pairwise_differences=final["pairwise"],
            greyscale=extra["gains"],
            files=[entry.path for entry in entries],
            weights=[entry.weight for entry in entries],
            verdict=verdict(stages, settings.classes == AUTO, extra["warning"]),
        )

        write_text(
            output / "coordinates.txt",
            coordinates_table(entries, extra["posterior"], found["batch_coordinates"]),
        )
        summary = write_result(output, stages, grid, summary, threads=args.threads)
    say(summary)
    for k, size in enumerate(summary["class_sizes"]):
        print("%s  %d volumes" % (output / ("volumes/class_%03d.mrc" % (k + 1)), size))
    print(output / "report.html")
    return 0
