"""pcainit run PARTICLES.star -o DIR: the whole job.

Example: pcainit run particles.star -o initial --classes 4 --resolution 20
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import functools
from pathlib import Path

from pcainit.commands.folders import held
from pcainit.commands.options import add_settings, settings_from
from pcainit.commands.progress import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit run``."""
    parser.add_argument("particles", help="RELION particle STAR file with poses and CTF")
    parser.add_argument("-o", "--output", required=True, metavar="DIR",
                        help="folder for the volumes, components, classes and report")
    parser.add_argument("--data-dir", metavar="ROOT",
                        help="folder that image paths start from (default: looked for: the current "
                             "folder, the STAR file's and those above it)")
    add_settings(parser)


def main(args: argparse.Namespace) -> int:
    """Run all stages in this process."""
    settings = settings_from(args)
    from pcainit import pipeline
    from pcainit.engine.threads import set_threads
    from pcainit.files.workspace import Workspace
    from pcainit.given_volumes import user_files
    from pcainit.publish import publish, refuse_overwriting
    output = Path(args.output)
    refuse_overwriting(output, args.particles, *user_files(settings))
    set_threads(args.threads)
    workspace, reporter = Workspace(None, scratch=output), Reporter()
    with held(output):
        reporter.run("prepare", lambda progress: pipeline.prepare(
            workspace, args.particles, args.data_dir, settings, args.threads, progress))
        for name in ("reconstruct", "components", "cluster", "volumes"):
            stage = getattr(pipeline, name)
            reporter.run(name, functools.partial(stage, workspace, settings))
        summary = {}
        reporter.run("write", lambda progress: summary.update(publish(
            workspace, settings, output, threads=args.threads, seconds=reporter.seconds)))
    announce(output, summary)
    return 0


def announce(output: Path, summary: dict) -> None:
    """Say what was found and where it is."""
    print(summary["verdict"])
    for k, size in enumerate(summary["class_sizes"]):
        print("%s  %d particles" % (output / ("volumes/class_%03d.mrc" % (k + 1)), size))
    print(output / "report.html")
