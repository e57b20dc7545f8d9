"""Names of files, languages, time zones, and streams that nobody reads."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from typing import Any

from fault_bench import Bench

from pcainit.tests.robustness.accidents import Example, differing, environment, forked

LETTERS = "Größe, 粒子 'ı'"
NAMES = [
    "with blanks  twice",
    LETTERS,
    "-o",
    "100%d {0} $HOME",
    "a\tb",
    "line\nbreak",
    "#1;`x`&",
    "quote\"s'",
    "n" * 200,
    "@5",
    "*[ab]?",
    os.fsdecode(b"not \xff utf-8"),
    "..hidden",
    "~",
]
LOCALES: dict[str, dict[str, str | None]] = {
    "PYTHONIOENCODING=ascii": dict(PYTHONIOENCODING="ascii"),
    "PYTHONIOENCODING=utf-16": dict(PYTHONIOENCODING="utf-16"),
    "LC_ALL=C": dict(LC_ALL="C"),
    "LC_ALL=POSIX": dict(LC_ALL="POSIX"),
    "ASCII only": dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "LANG=tr_TR.UTF-8": dict(LANG="tr_TR.UTF-8", LC_ALL=None),
    "LC_ALL=de_DE.ISO-8859-1": dict(LC_ALL="de_DE.ISO-8859-1"),
    "LC_ALL=nonsense": dict(LC_ALL="nonsense"),
    "no LANG": dict(LANG=None, LC_ALL=None),
    "PYTHONHASHSEED=7": dict(PYTHONHASHSEED="7"),
    "PYTHONOPTIMIZE=2": dict(PYTHONOPTIMIZE="2"),
    "TZ=Asia/Kathmandu": dict(TZ="Asia/Kathmandu"),
    "TZ=nonsense": dict(TZ="XYZ+99:99:99"),
    "TZ empty": dict(TZ=""),
    "HOME missing": dict(HOME="/nonexistent"),
    "no HOME": dict(HOME=None),
    "TMPDIR missing": dict(TMPDIR="/nonexistent"),
    "OMP_NUM_THREADS=1": dict(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
    "OMP_NUM_THREADS=7": dict(OMP_NUM_THREADS="7", OPENBLAS_NUM_THREADS="7"),
}


def run(bench: Bench) -> None:
    """All odd surroundings."""
    _names(bench)
    _links(bench)
    _locales(bench)
    _streams(bench)


def _names(bench: Bench) -> None:
    for name in NAMES:
        folder = bench.empty() / name
        shutil.copytree(str(bench.set), str(folder))
        outcome = forked(
            Example(folder / "particles.star", bench.example.options).run(folder / "result"),
            report=True,
        )
        bench.note(
            "odd name of a folder",
            "same result",
            [name + outcome.error[-300:]]
            if outcome.code
            else differing(bench.reference, folder / "result"),
        )
    for name in NAMES[: bench.count(len(NAMES))]:
        folder = bench.empty()
        shutil.copytree(str(bench.set), str(folder / "set"))
        words = Example(name, bench.example.options).run(name + ".d")
        (folder / "set" / "particles.star").rename(folder / "set" / name)
        # As `-o`, it would be an option: a user says ./-o.
        words = [
            os.path.join(".", word) if word[:1] == "-" and k in (1, 3) else word
            for k, word in enumerate(map(str, words))
        ]
        outcome = forked(words, before=functools.partial(os.chdir, str(folder / "set")))
        bench.note(
            "odd relative name of a file",
            "same result",
            [name + outcome.error[-300:]]
            if outcome.code
            else differing(bench.reference, folder / "set" / (name + ".d")),
        )


def _links(bench: Bench) -> None:
    given = bench.set
    for which in ("stack", "STAR file", "both", "folder", "output folder"):
        folder = bench.empty()
        (folder / "elsewhere").mkdir()
        (folder / "link").mkdir()
        if which == "folder":
            (folder / "link").rmdir()
            (folder / "link").symlink_to(given)
        else:
            for name, linked in (
                ("particles.mrcs", ("stack", "both")),
                ("particles.star", ("STAR file", "both")),
            ):
                if which in linked:
                    (folder / "link" / name).symlink_to(given / name)
                else:
                    shutil.copy(str(given / name), str(folder / "link"))
        if which == "output folder":
            (folder / "result").symlink_to(folder / "elsewhere")
        outcome = forked(
            Example(folder / "link" / "particles.star", bench.example.options).run(
                folder / "result"
            )
        )
        bench.note(
            "symbolic link in the place of the " + which,
            "same result",
            [outcome.error[-300:]]
            if outcome.code
            else differing(bench.reference, folder / "result"),
        )


def _locales(bench: Bench) -> None:
    for changes in LOCALES.values():
        folder = bench.empty() / LETTERS
        shutil.copytree(str(bench.set), str(folder))
        example = Example(folder / "particles.star", bench.example.options)
        bench.alone(
            "language, time zone or environment",
            example.run(folder / "result"),
            folder / "result",
            report=True,
            env=changes,
        )


def _streams(bench: Bench) -> None:
    def closed(*numbers: int) -> Any:
        return lambda: [os.close(number) for number in numbers]

    reading, gone = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    cases = [
        dict(stdout=gone),
        dict(stderr=gone),
        dict(stdout=gone, stderr=gone),
        dict(stdout=full),
        dict(stderr=full),
        dict(stdout=full, stderr=full),
        dict(preexec_fn=closed(1)),
        dict(preexec_fn=closed(2)),
        dict(preexec_fn=closed(0)),
        dict(preexec_fn=closed(0, 1, 2)),
    ]
    for case in cases:
        folder = bench.empty()
        streams = dict(dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE), **case)
        process = subprocess.Popen(
            [sys.executable, "-m", "pcainit", *map(str, bench.example.run(folder))],
            env=environment(),
            **streams,
        )
        _, error = process.communicate()
        wrong = ["ended with %d %s" % (process.returncode, error)] if process.returncode else []
        if error and b"Traceback" in error:
            wrong.append(error.decode()[-300:])
        bench.note(
            "output stream closed or on a full disk",
            "same result",
            wrong or differing(bench.reference, folder),
        )
