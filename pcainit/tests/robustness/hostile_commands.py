"""Hostile command lines: every command, every option, with values no one should give."""

# SPDX-License-Identifier: GPL-3.0-or-later
import argparse
import contextlib
import io
import os
import shutil

import numpy as np

from pcainit.tests.robustness.hostile import NUMBERS, BrokenError, Watch, damage_bytes, damage_text
from pcainit.tests.robustness.hostile_files import BOX, COUNT, good_star, mrc_file

WORDS = [
    "",
    " ",
    "auto",
    "-",
    "--",
    "c1",
    "C4",
    "d7",
    "i9",
    "c999999",
    "../..",
    "/nowhere/x",
    "a" * 300,
    "x" * 5000,
    "1,2,3",
    "20,nan",
    ",",
    "\u00e9\udcff",
    "%s",
    "$(true)",
    "NAME=",
    "=x",
    "a=b=c",
    "~",
    "*",
    "\n",
]


def commands():
    """Name -> actions of each command's parser."""
    from pcainit.cli.main import make_parser

    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {name: parser._actions for name, parser in action.choices.items()}
    raise AssertionError("no commands")


def _fill(folder, rng):
    """Files that options may name; some of them damaged."""
    star, blob = good_star(rng), np.zeros((BOX,) * 3)
    blob[4:12, 4:12, 5:11] = 1
    half = blob.copy()
    half[8:] *= 0.5
    whole = mrc_file(np.random.default_rng(0).normal(size=(COUNT, BOX, BOX)))
    for name, data in {
        "good.star": star.encode(),
        "bad.star": damage_text(star, rng),
        "stack.mrcs": whole,
        "mask.mrc": mrc_file(blob),
        "a.mrc": mrc_file(blob),
        "b.mrc": mrc_file(half),
        "bad.mrc": damage_bytes(mrc_file(blob), rng),
        "list.txt": b"a.mrc\nb.mrc 2\n",
        "rows.txt": b"1\n2\n",
        "z.txt": b"".join(b"%d %d\n" % (k, k * k % 7) for k in range(COUNT)),
    }.items():
        (folder / name).write_bytes(data)
    (folder / "work").mkdir(exist_ok=True)
    os.mkfifo(str(folder / "pipe"))  # who opens it waits for ever


def _value(action, rng, folder):
    """A value for an option: hostile, or such as it wants."""
    if action.dest in ("particles", "box") and action.type is int:  # work that must not be done
        return rng.choice(
            [
                "60",
                "16",
                "32",
                "0",
                "-3",
                "7",
                "9" * 400,
                "99999999999999999999",
                "1e5",
                "x",
                "1000000000000",
            ]
        )
    if action.choices and rng.random() < 0.7:
        return rng.choice(list(action.choices))
    if action.type in (int, float) and rng.random() < 0.8:
        return rng.choice(NUMBERS + ["1", "2", "20", "30", "0.5"])
    files = [str(path) for path in folder.iterdir()] if folder.exists() else []
    return rng.choice(WORDS + NUMBERS + files + files)


def command_case(rng, folder):
    """One call of the program with random arguments."""
    from pcainit.cli.main import main

    place = folder / "here"
    shutil.rmtree(str(place), ignore_errors=True)
    place.mkdir()
    _fill(place, rng)
    name = rng.choice(sorted(commands()))
    sane = {
        "particles": ["good.star", "good.star", "bad.star"],
        "coordinates": ["z.txt", "z.txt", "pipe"],
        "rows": ["rows.txt", "pipe"],
        "maps": ["a.mrc", "b.mrc", "list.txt", "mask.mrc", "bad.mrc", "pipe"],
        "sets": ["a.mrc", "x=b.mrc", "list.txt", "bad.mrc", "pipe"],
        "mask": ["mask.mrc", "bad.mrc"],
        "work": ["work"],
        "output": ["out", "out/deeper", "good.star", "v.mrc"],
    }
    words, hostility = [name], rng.choice([0.0, 0.02, 0.15])
    for action in commands()[name]:
        if action.dest in ("help", "version"):
            continue
        if action.option_strings and not action.required and rng.random() >= hostility:
            continue
        count = action.nargs if isinstance(action.nargs, int) else 1
        if action.nargs in ("+", "*", "?"):
            count = rng.randint(0 if action.nargs != "+" else 1, 1 if action.nargs == "?" else 4)
        values = [
            str(place / rng.choice(sane[action.dest]))
            if action.dest in sane and action.type is not int and rng.random() < 1 - hostility
            else _value(action, rng, place)
            for _ in range(count)
        ]
        # Where files go is the user's to say, but here.
        if action.dest in ("output", "work", "status"):
            values = [
                value if value.startswith(str(place)) else str(place / "out") for value in values
            ]
        if action.option_strings:
            words.append(rng.choice(action.option_strings))
        words += values if action.nargs != 0 else []

    def call():
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors), Watch.over(
            place, code=False
        ):
            try:
                status = main(words)
            except SystemExit as stop:
                status = stop.code
        return status, printed.getvalue(), errors.getvalue()

    def check(found):
        status, _, errors = found
        last = errors.rstrip("\n").split("\n")[-1]
        if "Traceback" in errors or "Warning:" in errors:
            raise BrokenError("%s: %s" % (words, last))
        if status == 2 and not (last.startswith("pcainit: ") and last.endswith(".")):
            raise BrokenError("%s: no sentence but %r" % (words, last))
        if status not in (0, 2):
            raise BrokenError("%s: exit status %s" % (words, status))
        return status

    return call, check
