"""Thousands of hostile files, options and forms: a result or one plain sentence, never more.

    python benchmarks/fuzz.py --cases 2000 --seed 0

prints a table, one row for each target.  Each target runs in a process of its own whose memory is
limited; "broken" counts all that ended otherwise: a traceback, a warning, a wrong result, no end
within 20 seconds, code that ran, a file written elsewhere.  "Growth" is that of the process in the
second half of its cases.  Exit status 1 if anything is broken, or it grows by more than 100 MB.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pcainit.tests.robustness import hostile, hostile_commands, hostile_files

MEMORY = 8 * 2**30  # address space of a target, bytes
FORMS, GIANTS, LINES = "forms of all protocols", "giant files", "command lines"


def giant_case(rng, folder):
    """Files of tens of megabytes that are one line, one word, one loop or one hole."""
    from pcainit.io.coordinates import read_coordinates
    from pcainit.io.maps import read_map
    from pcainit.io.particle_table import ParticleTable
    from pcainit.io.star import read_particles

    size = rng.choice([10**6, 10**7, 5 * 10**7])
    kind = rng.randrange(8)
    path = folder / ("giant" + (".txt" if kind == 6 else ".npy" if kind == 7 else ".star"))
    star = hostile_files.good_star(rng).encode()
    if kind == 5:  # a hole in the place of voxels
        path.write_bytes(hostile_files.mrc_file(np.zeros((1, 1, 1)), nx=500, ny=500, nz=500))
        os.truncate(str(path), 1024 + 4 * 500**3)
        return lambda: read_map(path), lambda found: not found[0].any()
    path.write_bytes(
        [
            b"data_x\n" + b"a" * size,
            star.replace(b"mic.mrc", b"m" * (size // 30), 30),
            star + b"#" + b"x" * size + b"\n",
            b"data_x\nloop_\n" + b"_a\n" * (size // 4),
            b"data_x\n" + b"'\"" * (size // 2),
            b"",
            b"1 " * (size // 2),
            b"\x93NUMPY\x02\0" + (size).to_bytes(4, "little") + b"[" * size,
        ][kind]
    )
    if kind >= 6:
        return lambda: read_coordinates(path, 50), lambda found: len(found) == 50
    (folder / "stack.mrcs").write_bytes(
        hostile_files.mrc_file(
            np.random.default_rng(0).normal(
                size=(hostile_files.COUNT, hostile_files.BOX, hostile_files.BOX)
            )
        )
    )
    return (
        lambda: read_particles(ParticleTable(path)),
        lambda found: len(found) == hostile_files.COUNT,
    )


@contextlib.contextmanager
def scipion_project(folder):
    """A Scipion project with imported particles, and what forms may point to."""
    from pcainit.cli.main import main
    from pcainit.tests import conftest

    options = type("Options", (), {})()
    conftest.pytest_configure(options)  # before anything of Scipion is imported
    try:
        from pcainit.tests.scipion.test_fuzz_protocols import pointed_at

        with contextlib.redirect_stdout(sys.stderr):
            main(
                [
                    "simulate",
                    str(folder / "set"),
                    "--particles",
                    "1000",
                    "--box",
                    "32",
                    "--sampling",
                    str(conftest.SAMPLING),
                ]
            )
            scipion = conftest.ScipionProject(folder / "set")
        yield scipion, pointed_at(scipion, folder)
    finally:
        os.chdir("/")
        conftest.pytest_unconfigure(options)


def run_target(name, cases, seed):
    """Run one target here; its row."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        makers = {**hostile_files.READERS, LINES: hostile_commands.command_case, GIANTS: giant_case}
        if name == FORMS:
            scipion, objects = stack.enter_context(scipion_project(folder))
            from pcainit.tests.scipion.hostile_protocols import protocol_case

            make = functools.partial(protocol_case, scipion=scipion, objects=objects)
            make.__name__ = "protocol_case"
            makers[FORMS] = make
        start = time.time()
        found = hostile.run_cases(makers[name], cases, seed, folder)
    return dict(
        found,
        seconds=time.time() - start,
        megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    )


def main():
    """Run all targets, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases",
        type=int,
        default=2000,
        help="of each target; a tenth of it of "
        "command lines, a two-hundredth of giant files (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.target:
        row = run_target(args.target, args.cases, args.seed)
        print("\n" + json.dumps(row))
        return 0
    share = {LINES: 10, GIANTS: 200}
    print(
        "| target | cases | results | refusals | broken | peak memory (MB) | growth (MB) | "
        "seconds |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    broken = []
    for name in (*hostile_files.READERS, GIANTS, LINES, FORMS):
        cases = max(1, args.cases // share.get(name, 1))
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                "--target",
                name,
                "--cases",
                str(cases),
                "--seed",
                str(args.seed),
            ],
            stdout=subprocess.PIPE,
        )
        try:
            row = json.loads(done.stdout.decode().strip().split("\n")[-1])
        except ValueError:
            row = dict(
                cases=cases,
                result=0,
                refusal=0,
                broken=["%s: the process died" % name],
                seconds=0,
                megabytes=0,
                growth=0,
            )
        print(
            "| %s | %d | %d | %d | %d | %.0f | %.0f | %.0f |"
            % (
                name,
                row["cases"],
                row["result"],
                row["refusal"],
                len(row["broken"]),
                row["megabytes"],
                row["growth"],
                row["seconds"],
            ),
            flush=True,
        )
        broken += ["%s, %s" % (name, text) for text in row["broken"]]
    for text in broken:
        print("broken:", text.encode("ascii", "backslashreplace").decode(), file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
