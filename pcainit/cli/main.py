"""pcainit: K initial volumes for 3D classification from particles with known poses.

Example: pcainit run particles.star -o initial --classes 4 --resolution 20
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from pcainit import __url__, __version__
from pcainit.cli import (
    compare,
    latents,
    preview,
    run,
    select,
    simulate,
    stages,
    variance,
    volumes,
    warm_up,
)
from pcainit.cli.failures import (
    Stopped,
    add_status,
    claim_buffers,
    machine_trouble,
    stoppable,
    write_status,
)
from pcainit.cli.streams import Lenient, lenient_streams
from pcainit.errors import InputError
from pcainit.guide import guide
from pcainit.pipeline.stage_order import COMMANDS


class OneSentenceParser(argparse.ArgumentParser):
    """Says what is wrong on one line, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        """End with exit status 2."""
        self.exit(2, "pcainit: %s: see %s --help.\n" % (message.rstrip("."), self.prog))


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = OneSentenceParser(
        prog="pcainit",
        description=__doc__,
        epilog="Guide: %s\nThe same without a network: %s" % (__url__, guide()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    for module, text in (
        (run, "the whole job: particles in, volumes out"),
        (preview, "a look at the consensus before a run"),
        (variance, "where the structure varies, as a quick look"),
        (select, "one more volume, of chosen particles"),
        (volumes, "PCA of given volumes"),
        (latents, "volumes from latent coordinates of any program"),
        (compare, "several sets of volumes side by side"),
        (simulate, "make a small set with known truth"),
        (warm_up, "compile everything now, so that the first run starts at once"),
    ):
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        sub = command(name, text, module.__doc__ or "")
        module.add_arguments(sub)
        add_status(sub)
        sub.set_defaults(main=module.main)
    for stage, name in COMMANDS.items():
        sub = command(name, "one stage of run: " + stages.HELP[stage], stages.__doc__)
        stages.add_arguments(sub, stage)
        add_status(sub)
        sub.set_defaults(main=lambda args, stage=stage: stages.main(args, stage))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    int
        0 on success, 2 on bad input, 1 on trouble with disk or memory (one sentence on standard
        error), 128 and the signal's number when it was told to stop.
    """
    with lenient_streams(), stoppable():
        return _run(make_parser().parse_args(argv))


def _run(args: argparse.Namespace) -> int:
    try:
        claim_buffers()
        code, text = int(args.main(args)), ""
    except InputError as error:
        code, text = 2, str(error)
    except KeyboardInterrupt as error:
        code, text = getattr(error, "code", Stopped().code), "stopped."
    except Exception as error:
        code, text = 1, machine_trouble(error)
        if not text:
            if args.status:
                write_status(args.status, code, "%s: %s" % (type(error).__name__, error))
            raise
    text = " ".join(text.split())
    if text:
        sys.stderr.write("pcainit: %s\n" % text)
    if args.status:
        write_status(args.status, code, text)
    return code


def console() -> NoReturn:
    """Run a command in a process of its own, which then ends at once.

    Python itself would take 0.3 seconds, to look for garbage among all modules.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        Lenient(stream).flush()
    os._exit(code)


if __name__ == "__main__":
    console()
