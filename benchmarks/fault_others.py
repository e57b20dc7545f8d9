"""The other commands, killed and given again."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
from fault_bench import Bench, spread

from pcainit.io.atomic import write_text
from pcainit.tests.robustness.accidents import differing, forked, results


def _commands(bench: Bench) -> dict[str, Callable[[Path], list[Any]]]:
    """Name -> words of each command, for an output folder."""
    maps = bench.stages / "result" / "volumes"
    rows, table = bench.folder / "rows.txt", bench.folder / "table.txt"
    write_text(rows, "".join("%d\n" % k for k in range(1, 300)))
    write_text(table, "".join("%g %g\n" % (np.sin(k), k % 3) for k in range(600)))
    star, options = bench.example.star, bench.example.options
    truth = sorted((bench.set / "truth").glob("*.mrc"))
    return {
        "latents": lambda out: ["latents", star, table, "-o", out, "--classes", "3", *options],
        "volumes": lambda out: ["volumes", maps, *truth, "-o", out, *options],
        "variance": lambda out: ["variance", star, "-o", out, *options],
        "select": lambda out: [
            "select",
            "--work",
            bench.stages / "work",
            "--rows",
            rows,
            "-o",
            out / "chosen.mrc",
        ],
        "compare": lambda out: ["compare", maps, truth[0], "-o", out, *options],
        "preview": lambda out: ["preview", star, "-o", out, "--most", "100", *options],
        "simulate": lambda out: ["simulate", out, "--particles", "200", "--box", "24"],
    }


def run(bench: Bench) -> None:
    """Kills at events spread over each command."""
    for name, words in _commands(bench).items():
        folder = bench.empty("undisturbed")
        outcome = forked(words(folder))
        assert outcome.code == 0, outcome.error
        reference = results(folder)
        for point in spread(outcome.events, bench.count(6)):
            folder = bench.empty()
            killed = forked(words(folder), "kill", point)
            assert killed.code < 0
            again = forked(words(folder))
            bench.note(
                "%s killed at an event" % name,
                "killed, again: same result",
                [again.trouble or again.sentence] if again.code else differing(reference, folder),
            )
