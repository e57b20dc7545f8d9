"""pcainit run PARTICLES.star -o DIR: the whole job.

PARTICLES may be cryoSPARC's as well: a job's folder, a .cs file (what it inherits is found beside
it) or a .csg group; the result then has groups for Import Result Group in its folder cryosparc.

Example: pcainit run particles.star -o initial --classes 4 --resolution 20
         pcainit run J42 -o initial
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any, Mapping

from pcainit.cli.folders import locked_folder
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit run``."""
    parser.add_argument(
        "particles",
        help="particles with poses and CTF: a RELION STAR file, or cryoSPARC's .cs, .csg or "
        "job folder",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="folder for the volumes, components, classes and report",
    )
    parser.add_argument(
        "--data-dir",
        metavar="ROOT",
        help="folder that image paths start from (default: looked for: the current "
        "folder, the STAR file's and those above it)",
    )
    add_settings(parser)


def main(args: argparse.Namespace) -> int:
    """Run all stages in this process."""
    settings = settings_from(args)
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.output.publish import publish
    from pcainit.output.result_folder import ResultFolder
    from pcainit.pipeline import runner
    from pcainit.pipeline.given import user_files
    from pcainit.pipeline.store import Workspace

    output = Path(args.output)
    ResultFolder(output).refuse_overwriting(args.particles, *user_files(settings))
    set_threads(args.threads)
    kept.begin()
    workspace, reporter = Workspace(None, scratch=output), Reporter()
    with locked_folder(output):
        reporter.run(
            "prepare",
            lambda progress: runner.prepare(
                workspace, args.particles, args.data_dir, settings, args.threads, progress
            ),
        )
        for name in ("reconstruct", "components", "cluster", "volumes"):
            stage = getattr(runner, name)
            reporter.run(name, functools.partial(stage, workspace, settings))
        summary = {}
        reporter.run(
            "write",
            lambda progress: summary.update(
                publish(workspace, settings, output, threads=args.threads, seconds=reporter.seconds)
            ),
        )
    announce(output, summary)
    return 0


def announce(output: Path, summary: Mapping[str, Any]) -> None:
    """Say what was found and where it is."""
    say(summary)
    for k, size in enumerate(summary["class_sizes"]):
        print("%s  %d particles" % (output / ("volumes/class_%03d.mrc" % (k + 1)), size))
    if (output / "cryosparc" / "all_classes.csg").exists():
        print("%s  for Import Result Group" % (output / "cryosparc"))
    print(output / "report.html")


def say(summary: Mapping[str, Any]) -> None:
    """Print what a person wants to know first, then the verdict with its figures."""
    from pcainit.output.words.headline import opening_lines

    print("\n".join([*opening_lines(summary), "", summary["verdict"]]))
