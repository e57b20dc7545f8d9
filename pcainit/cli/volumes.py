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
    from pcainit.output.publish import write_result
    from pcainit.output.result_folder import COORDINATES, ResultFolder
    from pcainit.output.summarise import describe_making, summarise_volumes
    from pcainit.output.words.volume_set import coordinates_table, verdict
    from pcainit.pipeline.routes.from_volumes import VolumeAnalysis, analyse_volumes
    from pcainit.pipeline.store import Workspace

    entries = find_maps(args.maps)
    output = Path(args.output)
    folder = ResultFolder(output)
    folder.refuse_overwriting(*(entry.path for entry in entries), settings.mask)
    for word in args.maps:
        if Path(word).is_dir() and output.is_dir() and output.samefile(word):
            raise InputError("The output folder %s is one of the inputs: choose another." % output)
    set_threads(args.threads)
    reporter = Reporter()
    done: list[VolumeAnalysis] = []
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
        (analysis,) = done
        results = analysis.results
        making = describe_making(
            settings,
            results.grid,
            args.threads,
            reporter.seconds,
            "volumes",
            align_greyscale=args.align_greyscale,
        )
        summary = summarise_volumes(making, analysis, entries).as_dict()
        volumes = results.components.volumes
        assert volumes is not None
        summary["verdict"] = verdict(results, settings.classes == AUTO, analysis.warning)
        write_text(
            folder / COORDINATES,
            coordinates_table(entries, analysis.posterior, volumes.coordinates),
        )
        summary = write_result(folder, results, summary, threads=args.threads)
    say(summary)
    for k, size in enumerate(summary["class_sizes"]):
        print("%s  %d volumes" % (output / ("volumes/class_%03d.mrc" % (k + 1)), size))
    print(output / "report.html")
    return 0
