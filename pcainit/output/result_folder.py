"""The folder that a person gets: what its files are called, and how they are looked after."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pcainit.errors import InputError
from pcainit.io.ownership import refuse_foreign

SUMMARY = "summary.json"  # written last: its presence means that all is there
REPORT = "report.html"
ANALYSIS = "analysis.npz"
LATENTS = "latents.npz"
PARTICLES = "particles.star"
COORDINATES = "coordinates.txt"
JUNK = "junk.txt"
LEFT_OUT = "left_out.txt"
VOLUMES, COMPONENTS, FINE = "volumes", "components", "fine_volumes"  # folders of maps
CLASS_MAP = VOLUMES + "/class_%03d.mrc"  # counted from 1
FINE_MAP = FINE + "/class_%03d.mrc"  # the same at the resolution of the analysis
COMPONENT_MAP = COMPONENTS + "/component_%03d.mrc"  # likewise
MEAN_MAP = COMPONENTS + "/mean.mrc"
MASK_MAP = COMPONENTS + "/mask.mrc"
VARIANCE_MAP = COMPONENTS + "/variance.mrc"
PLACES_MAP = COMPONENTS + "/changing_places.mrc"

# The particles of each class, for RELION and for cryoSPARC.
STATES, CRYOSPARC = "states", "cryosparc"
STATE_FILES = (
    STATES + "/class_*.star",
    *(CRYOSPARC + "/%s.cs*" % name for name in ("class_*", "all_classes", "set_aside")),
)

_FILES = (PARTICLES, LATENTS, ANALYSIS, COORDINATES, JUNK, LEFT_OUT, REPORT, SUMMARY)
_NUMBERED = tuple(name.replace("%03d", "*") for name in (CLASS_MAP, FINE_MAP, COMPONENT_MAP))
_FOLDERS = (VOLUMES, COMPONENTS, FINE, STATES, CRYOSPARC)
# What others might call so too.
_MARKED = (
    PARTICLES,
    REPORT,
    SUMMARY,
    *_NUMBERED,
    MEAN_MAP,
    MASK_MAP,
    VARIANCE_MAP,
    PLACES_MAP,
    *STATE_FILES,
)


class ResultFolder:
    """A result folder.

    Parameters
    ----------
    path : str or Path

    Examples
    --------
    >>> from pcainit.output.result_folder import ResultFolder
    >>> ResultFolder("initial").class_map(1).as_posix()
    'initial/volumes/class_001.mrc'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def class_map(self, number: int) -> Path:
        """The volume of a class, counted from 1."""
        return self.path / (CLASS_MAP % number)

    def component_map(self, number: int) -> Path:
        """The volume of a component, counted from 1."""
        return self.path / (COMPONENT_MAP % number)

    @property
    def class_maps(self) -> list[Path]:
        """The volumes of all classes, class 1 first."""
        return sorted(self.path.glob(CLASS_MAP.replace("%03d", "*")))

    @property
    def component_maps(self) -> list[Path]:
        """The volumes of all components, strongest first."""
        return sorted(self.path.glob(COMPONENT_MAP.replace("%03d", "*")))

    def refuse_overwriting(self, *inputs: str) -> None:
        """Refuse to be where results would replace the input, or files of others.

        Raises
        ------
        InputError
            One of the input files, or one that is no earlier result, lies where a result goes.
        """
        place = Path(os.path.realpath(str(self.path)))
        for given in filter(None, inputs):
            path = Path(os.path.realpath(given))
            if (
                path.parent in [place / name for name in _FOLDERS]
                or path.parent == place
                and path.name in _FILES
            ):
                raise InputError(
                    "The output folder %s holds the input %s, which the results would "
                    "replace: choose another folder." % (self.path, given)
                )
        refuse_foreign(self.path, _MARKED, SUMMARY)

    def clear(self) -> None:
        """Remove what an earlier run may have left and this one need not replace."""
        (self / SUMMARY).unlink(missing_ok=True)  # first: it says that all is there
        for old in (
            *(path for pattern in (*_NUMBERED, *STATE_FILES) for path in self.path.glob(pattern)),
            *(self / name for name in (PLACES_MAP, REPORT, LATENTS, JUNK, LEFT_OUT)),
        ):
            old.unlink(missing_ok=True)

    def load_summary(self) -> dict[str, Any]:
        """The content of ``summary.json``.

        Raises
        ------
        OSError, ValueError
            It is not there, or no JSON.
        """
        found: dict[str, Any] = json.loads((self / SUMMARY).read_text(encoding="utf-8"))
        return found
