"""pcainit volumes MAPS... -o DIR: PCA of given volumes.

MAPS are maps (.mrc), folders of maps, or text files that list maps: in each line a path and, if
wanted, its weight and its sampling rate.  They may have different boxes and sampling rates.  DIR
gets the representative volumes, eigenvolumes, mean, variance map, a table of the coordinates
(coordinates.txt) and the report.

Example: pcainit volumes analyze/kmeans20 -o landscape --resolution 15 --align-greyscale

With --work it is the last stage of run instead: the volumes and all other results.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List

from pcainit import __version__
from pcainit.commands import stages as stage_commands
from pcainit.commands.options import settings_from
from pcainit.commands.progress import Reporter
from pcainit.commands.run import remove_empty
from pcainit.settings import AUTO, InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit volumes``."""
    parser.add_argument("maps", nargs="*", help="maps, folders of maps, or lists of maps")
    parser.add_argument("--align-greyscale", action="store_true",
                        help="bring all volumes to one density scale and background first, for "
                             "volumes of different programs or runs")
    stage_commands.add_arguments(parser, "volumes")
    for action in parser._actions:
        if action.dest == "work":
            action.required, action.help = False, "as the last stage of run: folder they share"


def main(args: argparse.Namespace) -> int:
    """Analyse the volumes that are given, or run the stage."""
    if args.work and args.maps:
        raise InputError("Maps and --work are given: give maps for a PCA of volumes, or --work "
                         "for the last stage of a run.")
    if args.work:
        return stage_commands.main(args, "volumes")
    if not args.maps:
        raise InputError("No volumes are given: name maps, folders or lists of maps.")
    settings = settings_from(args)
    from pcainit.engine.slicing import set_threads
    from pcainit.files.map_list import MapFile, find_maps
    from pcainit.files.workspace import Workspace, make_folder
    from pcainit.publish import versions, write_result
    from pcainit.volume_method import analyse_volumes, verdict
    entries = find_maps(args.maps)
    output = Path(args.output)
    _refuse_own_output(output, [*(entry.path for entry in entries), settings.mask])
    set_threads(args.threads)
    new = [folder for folder in (output, *output.parents) if not folder.exists()]
    make_folder(output)
    reporter, done = Reporter(), []
    workspace = Workspace(None, scratch=output)
    try:
        reporter.run("analyse", lambda progress: done.append(analyse_volumes(
            entries, settings, workspace.allocate, align_greyscale=args.align_greyscale,
            progress=progress)))
    except BaseException:
        remove_empty(new)
        raise
    stages, grid, extra = done[0]
    final, found = stages["volumes"], stages["components"]
    summary: Dict[str, Any] = dict(
        program="pcainit", version=__version__, method="volumes",
        parameters=dict(settings.as_dict(), align_greyscale=args.align_greyscale),
        threads=args.threads, seed=settings.seed, versions=versions(),
        input_volumes=len(entries), box=grid.box_px, sampling=grid.sampling,
        working_box=grid.box, resolution=settings.resolution, seconds=reporter.seconds,
        classes=len(final["volumes"]), class_weights=final["weights"],
        class_sizes=[int((extra["posterior"].argmax(axis=1) == k).sum())
                     for k in range(len(final["volumes"]))],
        eigenvalues=found["eigenvalues"], noise_edge=found["noise_edge"],
        pairwise_differences=final["pairwise"], greyscale=extra["gains"],
        files=[entry.path for entry in entries],
        weights=[entry.weight for entry in entries],
        verdict=verdict(stages, settings.classes == AUTO))

    def table(rows: List[MapFile]) -> str:
        labels = extra["posterior"].argmax(axis=1)
        lines = ["# class probability coordinates... file"]
        for k, entry in enumerate(rows):
            numbers = " ".join("%.6g" % value for value in found["batch_coordinates"][k])
            lines.append("%d %.4f %s %s" % (labels[k] + 1, extra["posterior"][k, labels[k]],
                                            numbers, entry.path))
        return "\n".join(lines) + "\n"

    from pcainit.files.atomic import write_text
    write_text(output / "coordinates.txt", table(entries))
    write_result(output, stages, grid, summary, threads=args.threads)
    print(summary["verdict"])
    for k, size in enumerate(summary["class_sizes"]):
        print("%s  %d volumes" % (output / ("volumes/class_%03d.mrc" % (k + 1)), size))
    print(output / "report.html")
    return 0


def _refuse_own_output(output: Path, inputs: List[str]) -> None:
    """Refuse a folder in which results would replace what they are made from."""
    for given in filter(None, inputs):
        if Path(given).resolve().parent in ((output / "volumes").resolve(),
                                            (output / "components").resolve()):
            raise InputError("The output folder %s holds the input %s, which the results would "
                             "replace: choose another folder." % (output, given))
