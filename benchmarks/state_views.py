"""Views that depend on the state: are the shares of the states right all the same?

python benchmarks/state_views.py [--seeds 1,2,3] [--particles 10000] [--preferred 0.7]

Simulated sets of two states, one of which is mostly seen within 30 degrees of one axis; each is
made with exact poses and with errors, and for comparison with views that do not depend on it.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jobs import work_folder
from records import ENDS, Column, Job, field
from results import Figures
from sweeps import add_store_arguments, run_sweep

POPULATIONS = "0.6,0.4"
CLOSE = 0.02  # shares that differ by no more are right
ERRORS = ("0 0", "1.5 0.5")  # degrees and pixels per axis


def worst_share(run: Figures) -> float | None:
    """Largest difference of a found share and a true one, both in falling order; None if unequal.

    Parameters
    ----------
    run : dict
        `sizes` of the classes and `true` shares.

    Returns
    -------
    float or None
        Share of the particles.
    """
    if len(run["sizes"]) != len(run["true"]):
        return None
    found = sorted((size / sum(run["sizes"]) for size in run["sizes"]), reverse=True)
    return max(abs(a - b) for a, b in zip(found, sorted(run["true"], reverse=True)))


def _percent(name: str) -> Any:
    return lambda run: [100 * share for share in run[name]]


def _sizes(run: Figures) -> list[float]:
    return [100 * size / sum(run["sizes"]) for size in run["sizes"]]


def _right(run: Figures) -> str:
    worst = worst_share(run)
    return "wrong number of classes" if worst is None else "yes" if worst <= CLOSE else "**no**"


COLUMNS: tuple[Column, ...] = (
    ("set", field("set"), "%s"),
    ("seed", field("seed"), "%s"),
    ("certified", field("significant"), "%d"),
    ("classes", field("classes"), "%d"),
    ("particles (%)", _sizes, "%.1f"),
    ("weights (%)", _percent("weights"), "%.1f"),
    ("true (%)", _percent("true"), "%.1f"),
    ("within 2 points", _right, "%s"),
    ("ARI", field("ari"), "%.3f"),
    ("difference maps", field("corr_mean_mask"), "%.3f"),
    ("rotation error (degrees)", field("rotation_deg"), "%.2f"),
    *ENDS,
)
NOTE = """Two states (%s; the second lacks a domain of %g of the mass), 64 pixels of 5 A, SNR %g.
The set's name says which share of which state is seen within 30 degrees of one axis, the others
evenly, and by how much the recorded poses are off (degrees and pixels per axis). Right: the share
of the particles in each class is within 2 percentage points of the true one. Classes of the method
`particles` with its defaults.
"""


def main() -> None:
    """Simulate, run, compare shares."""
    args = _arguments()
    with work_folder(args.keep) as sets:
        jobs = [
            _job(sets, state, error, int(seed), args)
            for seed in args.seeds.split(",")
            for state in args.states.split(",")
            for error in args.errors.split(",")
        ]
        records = run_sweep(
            args,
            jobs,
            "Views that depend on the state",
            COLUMNS,
            NOTE % (POPULATIONS, args.domain, args.snr),
        )
    wrong = sum(_right(record["figures"]) != "yes" for record in records)
    print("%d of %d sets with shares over 2 points off" % (wrong, len(records)))
    if wrong:
        raise SystemExit(1)


def _job(sets: Path, state: str, error: str, seed: int, args: argparse.Namespace) -> Job:
    shares = [0.0, 0.0]
    if state in "01":
        shares[int(state)] = args.preferred
    words = "%s, off by %s" % (
        "no state" if state not in "01" else "%g %% of state %s" % (100 * args.preferred, state),
        error.replace(" ", " and "),
    )
    options: list[Any] = [
        *("--seed", seed, "--particles", args.particles, "--box", 64, "--sampling", 5),
        *("--snr", args.snr, "--populations", POPULATIONS, "--domain", args.domain),
        *("--state-views", "%g,%g" % tuple(shares), "--pose-error", *error.split()),
    ]
    folder = sets / ("views%s_%s_%d" % (state, error.replace(" ", "-"), seed))
    return Job(words, folder, seed=seed, simulate=tuple(map(str, options)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3", help="of sets and runs (default: 1,2,3)")
    parser.add_argument("--particles", type=int, default=10000)
    parser.add_argument(
        "--preferred", type=float, default=0.7, help="share in the cone (default: 0.7)"
    )
    parser.add_argument(
        "--states",
        default="none,0,1",
        help="which state has preferred views; none for neither (default: %(default)s)",
    )
    parser.add_argument(
        "--errors",
        default=",".join(ERRORS),
        help="errors of the poses, degrees and pixels (default: %(default)s)",
    )
    parser.add_argument("--domain", type=float, default=0.12, help="share of the mass that changes")
    parser.add_argument("--snr", type=float, default=0.1)
    add_store_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
