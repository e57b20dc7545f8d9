"""Many states: how many of them get a volume, and how many particles go to the right one?

python benchmarks/many_states.py SET... [--resolutions 20] [--seeds 0,1,2] [--records DIR]

For sets of some ten discrete states or more, such as the intermediates of an assembly.
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
    ("classes, of states", lambda run: [run["classes"], run["states"]], "%d"),
    ("states over 0.7", field("shown"), "%d"),
    ("with a volume each", field("shown_apart"), "%d"),
    ("ARI", field("ari"), "%.3f"),
    ("own state", field("own"), "%.3f"),
    ("share of the true variance in the components", field("captured"), "%.2f"),
    *ENDS,
)
NOTE = """"States over 0.7": true states with a volume whose difference from the consensus
correlates with theirs by over 0.7, in a ball of 0.45 of the box, both low-passed at the resolution
of the volumes; "with a volume each": no volume is counted for two states. "Own state": mean over
the images of the correlation of their class volume with their own true state. Classes are without
volumes that show no state.
"""


def main() -> None:
    """Run on every set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_sweep_arguments(parser)
    args = parser.parse_args()
    run_sweep(args, jobs_of(args), "Many states", COLUMNS, NOTE)


if __name__ == "__main__":
    main()
