"""The job stage by stage, for clusters and for Scipion's steps.

Each stage reads what the earlier ones left in WORK and is skipped when its own result is there
already.  Give every stage the same parameters.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import json
from pathlib import Path

from pcainit.commands.folders import gone_if_failed
from pcainit.commands.options import add_settings, settings_from
from pcainit.commands.progress import Reporter
from pcainit.commands.run import announce
from pcainit.settings import STAGES, InputError

HELP = {
    "prepare": "read and crop all images",
    "reconstruct": "consensus, noise, mask and batches",
    "components": "principal components",
    "cluster": "clusters",
    "volumes": "the volumes and all other results",
}


def add_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    """Options of one stage."""
    if stage == "prepare":
        parser.add_argument("particles", help="RELION particle STAR file with poses and CTF")
        parser.add_argument("--data-dir", metavar="ROOT", help="folder that image paths start from")
    parser.add_argument("--work", required=True, metavar="WORK", help="folder the stages share")
    if stage == "volumes":
        parser.add_argument("-o", "--output", required=True, metavar="DIR",
                            help="folder for the results")
    add_settings(parser)


def main(args: argparse.Namespace, stage: str) -> int:
    """Run one stage."""
    settings = settings_from(args)
    from pcainit import pipeline
    from pcainit.engine.slicing import set_threads
    from pcainit.files.workspace import Workspace
    from pcainit.publish import publish
    set_threads(args.threads)
    folder = Path(args.work)
    reporter = Reporter()
    if stage == "prepare":
        with gone_if_failed(folder):
            workspace = Workspace(folder)
            reporter.run(stage, lambda progress: pipeline.prepare(
                workspace, args.particles, args.data_dir, settings, args.threads, progress))
    else:
        workspace = Workspace(folder)
        work = getattr(pipeline, stage)
        reporter.run(stage, lambda progress: work(workspace, settings, progress))
    seconds = _add_seconds(Path(args.work) / "seconds.json", reporter.seconds)
    if stage == "volumes":
        announce(Path(args.output), publish(workspace, settings, args.output,
                                            threads=args.threads, seconds=seconds))
    return 0


def _add_seconds(path: Path, new: dict[str, float]) -> dict[str, float]:
    """Seconds of all stages so far, in the order of the stages."""
    from pcainit.files.atomic import write_json
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        known = {str(k): float(v) for k, v in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        known = {}
    for name, value in new.items():     # a stage that was skipped keeps its time
        known[name] = max(value, known.get(name, 0.0))
    known = {name: known[name] for name in STAGES if name in known}
    try:
        write_json(path, known)
    except OSError as error:
        raise InputError("The folder %s cannot be written to (%s)." % (path.parent, error.strerror)
                         ) from None
    return known
