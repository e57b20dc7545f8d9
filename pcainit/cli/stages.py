"""The job stage by stage, for clusters and for Scipion's steps.

Each stage reads what the earlier ones left in WORK and is skipped when its own result is there
already.  Give every stage the same parameters.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import contextlib
import json
import re
from pathlib import Path
from typing import Callable

from pcainit.cli.folders import locked_folder, refuse_same
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import Reporter
from pcainit.cli.run import announce
from pcainit.errors import InputError, shorten
from pcainit.pipeline.stage_order import MAX_PARTS, STAGES, part_name
from pcainit.settings import Settings

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
        parser.add_argument(
            "particles",
            help="particles with poses and CTF: a RELION STAR file, or cryoSPARC's .cs, .csg or "
            "job folder",
        )
        parser.add_argument("--data-dir", metavar="ROOT", help="folder that image paths start from")
        parser.add_argument(
            "--chunk",
            default="",
            metavar="I/N",
            help="read only the I-th of N parts of the particles, each a job of "
            "its own, side by side if wanted",
        )
        parser.add_argument(
            "--join",
            type=int,
            default=0,
            metavar="N",
            help="join the N parts once all are done: the same as without parts",
        )
    parser.add_argument("--work", required=True, metavar="WORK", help="folder the stages share")
    if stage == "volumes":
        parser.add_argument(
            "-o", "--output", required=True, metavar="DIR", help="folder for the results"
        )
    add_settings(parser)


def main(args: argparse.Namespace, stage: str) -> int:
    """Run one stage."""
    settings = settings_from(args)
    if stage == "prepare":
        return _prepare(args, settings)
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.output.publish import publish
    from pcainit.pipeline import runner
    from pcainit.pipeline.store import Workspace

    set_threads(args.threads)
    kept.begin()
    reporter = Reporter()
    if stage == "volumes":
        refuse_same(args.output, args.work)
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked_folder(Path(args.work)))
        workspace = Workspace(Path(args.work))
        work = getattr(runner, stage)
        reporter.run(stage, lambda progress: work(workspace, settings, progress))
        seconds = _add_seconds(Path(args.work) / "seconds.json", reporter.seconds)
        if stage == "volumes":
            summary = publish(
                workspace,
                settings,
                args.output,
                threads=args.threads,
                seconds=seconds,
                hold=lambda folder: stack.enter_context(locked_folder(folder)),
            )
    if stage == "volumes":
        announce(Path(args.output), summary)
    return 0


def _prepare(args: argparse.Namespace, settings: Settings) -> int:
    """Read the particles, or a part of them, or join the parts."""
    number, parts = _chunk(args.chunk)
    if args.join < 0:
        raise InputError(
            "join is %d: give the number of chunks, once all of them are done." % args.join
        )
    if args.join and parts:
        raise InputError(
            "chunk is %s and join is %d: give one of them, join once all chunks are "
            "done." % (args.chunk, args.join)
        )
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.pipeline import prepare as preparation
    from pcainit.pipeline.store import Workspace

    set_threads(args.threads)
    kept.begin()
    folder, reporter = Path(args.work), Reporter()
    given = args.particles, args.data_dir, settings
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked_folder(folder, shared=bool(parts)))
        if parts:
            stack.enter_context(locked_folder(folder, "." + part_name(number, parts)))
        workspace = Workspace(folder)

        def work(progress: Callable[[float], None]) -> None:
            if parts:
                preparation.prepare_part(workspace, *given, number, parts, args.threads, progress)
            elif args.join:
                preparation.join_parts(workspace, *given, args.join, progress)
            else:
                preparation.prepare(workspace, *given, args.threads, progress)

        reporter.run("prepare", work)
        if not parts:
            _add_seconds(folder / "seconds.json", reporter.seconds)
    return 0


def _chunk(text: str) -> tuple[int, int]:
    """Number and count of ``3/8``; zeros for none."""
    if not text:
        return 0, 0
    found = re.fullmatch("([0-9]{1,3})/([0-9]{1,3})", text)
    number, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= parts <= MAX_PARTS:
        raise InputError(
            "chunk is %r: give its number and how many there are (at most %d), for "
            "instance 3/8." % (shorten(text), MAX_PARTS)
        )
    return number, parts


def _add_seconds(path: Path, new: dict[str, float]) -> dict[str, float]:
    """Seconds of all stages so far, in the order of the stages."""
    from pcainit.io.atomic import write_json

    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        known = {str(k): float(v) for k, v in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        known = {}
    for name, value in new.items():  # a stage that was skipped keeps its time
        known[name] = max(value, known.get(name, 0.0))
    known = {name: known[name] for name in STAGES if name in known}
    write_json(path, known)
    return known
