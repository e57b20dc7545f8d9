"""pcainit variance PARTICLES.star -o DIR: where the structure varies, as a quick look.

The components of two half-sets are found and tested as in run; what both halves agree on makes
the variance map.  Small regions are not searched and no classes are made, so that this takes about
half of the time of run.  --classes, --no-local-search and the parameters of batches are accepted
and have no effect.

With --work it shows the components that the stages have left there (see components); give it the
same parameters as them.

Example: pcainit variance particles.star -o look --resolution 20
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
from pathlib import Path

from pcainit.cli.folders import locked_folder, refuse_same
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import Reporter
from pcainit.cli.run import say
from pcainit.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit variance``."""
    parser.add_argument(
        "particles",
        nargs="?",
        help="particles with poses and CTF: a RELION STAR file, or cryoSPARC's .cs, .csg or "
        "job folder",
    )
    parser.add_argument(
        "--work", metavar="WORK", help="folder of the stages, in place of particles"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="folder for the variance map, the mean and the mask",
    )
    parser.add_argument("--data-dir", metavar="ROOT", help="folder that image paths start from")
    add_settings(parser)


def main(args: argparse.Namespace) -> int:
    """Components of two half-sets, and the map of what they agree on."""
    settings = settings_from(args)
    if settings.method != "particles":
        raise InputError(
            "method is %s, which does not tell variance from noise: leave it out." % settings.method
        )
    if bool(args.particles) == bool(args.work):
        raise InputError("Give either a STAR file of particles or --work.")
    if args.work:
        refuse_same(args.output, args.work)
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.output.publish import publish_variance
    from pcainit.output.result_folder import ResultFolder
    from pcainit.pipeline import runner
    from pcainit.pipeline.given import user_files
    from pcainit.pipeline.store import Workspace

    output = Path(args.output)
    set_threads(args.threads)
    kept.begin()
    reporter = Reporter()
    if args.particles:
        settings = dataclasses.replace(
            settings.at_one_resolution(), no_local_search=True, positive_control=False
        )
        ResultFolder(output).refuse_overwriting(args.particles, *user_files(settings))
    with locked_folder(output), locked_folder(
        Path(args.work)
    ) if args.work else contextlib.nullcontext():
        if args.particles:
            workspace = Workspace(None, scratch=output)
            reporter.run(
                "prepare",
                lambda progress: runner.prepare(
                    workspace, args.particles, args.data_dir, settings, args.threads, progress
                ),
            )
        else:
            workspace = Workspace(Path(args.work))
        for name in ("reconstruct", "components"):  # done already, with --work
            stage = getattr(runner, name)
            reporter.run(name, functools.partial(stage, workspace, settings))
        summary = publish_variance(
            workspace, settings, output, threads=args.threads, seconds=reporter.seconds
        )
    say(summary)
    print(output / "components" / "variance.mrc")
    return 0
