"""Far movement: does every particle's class volume show the state that it is in?

python benchmarks/continuous.py SET... [--resolutions 20,15] [--seeds 0,1,2] [--records DIR]

For sets of many steps of a movement, such as a domain that turns all the way round.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse

from records import ENDS, HEADS, Column, field
from sweeps import add_sweep_arguments, jobs_of, run_sweep

COLUMNS: tuple[Column, ...] = (
    *HEADS,
    ("certified", field("significant"), "%d"),
    ("analysis to (A)", field("analysis_resolution"), "%g"),
    ("mask (nm^3)", field("mask_nm3"), "%.0f"),
    ("classes", field("classes"), "%d"),
    ("own state", field("own"), "%.3f"),
    ("where states differ", field("own_changing"), "%.3f"),
    ("finer volumes", field("own_fine"), "%.3f"),
    ("ARI", field("ari"), "%.3f"),
    *ENDS,
)
NOTE = """"Own state" is the mean over the images of the correlation of (class volume - consensus)
with (own true state - consensus), in a ball of 0.45 of the box, both low-passed at the resolution
of the volumes; the consensus of each is its mean weighted by the particles. "Where states differ":
the same inside the places where the standard deviation between the true states is over a tenth of
its largest. "Finer volumes": as the first, of the volumes at the resolution of the analysis,
compared at that resolution.
"""


def main() -> None:
    """Run on every set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_sweep_arguments(parser)
    args = parser.parse_args()
    run_sweep(args, jobs_of(args), "Movement in many steps", COLUMNS, NOTE)


if __name__ == "__main__":
    main()
