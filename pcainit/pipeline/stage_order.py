"""Stages in the order in which they run, and what each one's result depends on."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json

from pcainit.settings import Settings

# Each parameter names the stage that reads it.  A stage has to be redone when one of its own
# parameters or an earlier stage changes.
STAGES = ("prepare", "reconstruct", "components", "cluster", "volumes")
RESULTS = 11  # higher whenever a stage makes other results of the same settings
# The command of each.
COMMANDS = dict(zip(STAGES, (*STAGES[:-1], "class-volumes")))
MAX_PARTS = 999  # that the stage prepare can be spread over


def part_name(number: int, parts: int) -> str:
    """Name the files of a part of the stage prepare, number counted from 1."""
    return "part_%03d_of_%03d" % (number, parts)


def stage_digest(settings: Settings, stage: str, identity: str = "") -> str:
    """Digest all parameters that the result of `stage` depends on.

    Parameters
    ----------
    settings : Settings
    stage : str
        One of `STAGES`.
    identity : str
        What identifies the input particles and mask.

    Returns
    -------
    str
        Twelve hexadecimal digits; differs when anything upstream differs.
    """
    upto = STAGES[: STAGES.index(stage) + 1]
    values = {
        name: getattr(settings, name)
        for name, info in settings.fields().items()
        if info["stage"] in upto
    }
    text = json.dumps([RESULTS, values, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
