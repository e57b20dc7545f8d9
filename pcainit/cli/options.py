"""Options made from the table of settings."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import os

from pcainit.errors import InputError
from pcainit.settings import USED_BY, Settings


def add_settings(parser: argparse.ArgumentParser, route: str = "") -> None:
    """One option for each setting, or for those that a route uses, and those of the machine."""
    group = parser.add_argument_group("parameters")
    for name, info in Settings.fields().items():
        if name not in USED_BY.get(route, (name,)):
            continue
        flag, default = "--" + name.replace("_", "-"), info["default"]
        text = info["help"].replace("%", "%%")
        if isinstance(default, bool):
            group.add_argument(flag, action="store_true", help=text)
            continue
        if isinstance(default, tuple):
            group.add_argument(
                flag,
                nargs="+",
                default=default,
                metavar="MAP",
                help="Maps, folders of maps, or lists of maps. " + text,
            )
            continue
        kind = type(default)
        group.add_argument(
            flag,
            type=kind,
            default=default,
            choices=info["choices"] or None,
            metavar=None if info["choices"] else name.upper(),
            help="%s (default: %s)" % (text, default if default != "" else "none"),
        )
    add_threads(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The option of the machine."""
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--threads",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="processors to use (default: %(default)s)",
    )


def check_threads(args: argparse.Namespace) -> None:
    """Raise InputError when the number of threads is out of range."""
    if not 1 <= args.threads <= 1024:
        raise InputError("threads is %d: give a number from 1 to 1024." % args.threads)


def settings_from(args: argparse.Namespace) -> Settings:
    """Checked settings from parsed options.

    Raises
    ------
    InputError
        A value is out of range.
    """
    check_threads(args)
    return Settings(**{name: getattr(args, name) for name in Settings.fields() if name in args})
