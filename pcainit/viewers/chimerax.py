"""Scripts for ChimeraX: class volumes, eigenvolumes, and a morph along one component."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
from scipy.signal import resample

from pcainit.io.atomic import write_text
from pcainit.io.maps import write_map
from pcainit.output.plots import Result
from pcainit.output.plots.style import class_colour

_SHARE = 0.3  # surface level, as a share of the consensus' maximum
_FINER = 2  # the morph's maps are interpolated, so that their surfaces are smooth
_START = "close session\nset bgColor white\nlighting soft\ngraphics silhouettes true\n"


def class_volumes_script(result: Result, folder: Path) -> Path:
    """Script that shows the class volumes side by side, at one level, in the figures' colours.

    Parameters
    ----------
    result : Result
    folder : Path
        Where the script is written.

    Returns
    -------
    Path
    """
    files = sorted((result.folder / "volumes").glob("class_*.mrc"))
    lines = _opened(files)
    for k in range(len(files)):
        lines.append(
            "volume #%d style surface step 1 level %.6g color %s"
            % (k + 1, _level(result), class_colour(k))
        )
        lines.append('rename #%d "class %d"' % (k + 1, k + 1))
    lines += ["view", "tile"]
    return _write(folder / "class_volumes.cxc", lines)


def components_script(result: Result, folder: Path) -> Path:
    """Script that shows each eigenvolume (red and blue) over the consensus (grey).

    Parameters
    ----------
    result : Result
        With `components`.
    folder : Path
        Where the script is written.
    """
    maps = result.folder / "components"
    files = sorted(maps.glob("component_*.mrc"))
    if not files or result.components is None:
        raise ValueError("This result has no components.")
    lines = _opened([maps / "mean.mrc"] + files)
    lines.append("volume #1 style surface step 1 level %.6g color #b4b4b450" % _level(result))
    lines.append('rename #1 "consensus"')
    for k, component in enumerate(result.components):
        level = 0.4 * float(np.abs(component).max())
        lines.append(
            "volume #%d style surface step 1 level %.6g color #c23b3b level %.6g color "
            "#2a6f97" % (k + 2, level, -level)
        )
        lines.append('rename #%d "component %d"' % (k + 2, k + 1))
        if k:
            lines.append("hide #%d models" % (k + 2))
    return _write(folder / "components.cxc", lines + ["view"])


def morph_script(
    result: Result, component: int, folder: Path, *, steps: int = 9, spread: float = 2.0
) -> Path:
    """Script that plays the consensus moving along one component, and the maps that it plays.

    Parameters
    ----------
    result : Result
        With `mean`, `components` and `eigenvalues`.
    component : int
        From 1.
    folder : Path
        Where script and maps are written.
    steps : int
        Number of maps.
    spread : float
        From minus to plus this many standard deviations of the coordinate.
    """
    if result.mean is None or result.components is None or result.eigenvalues is None:
        raise ValueError("This result has no components.")
    if not 1 <= component <= len(result.components):
        raise ValueError(
            "Component %d does not exist: there are %d." % (component, len(result.components))
        )
    reach = spread * float(np.sqrt(max(result.eigenvalues[component - 1], 0)))
    mean, change = _finer(result.mean), _finer(result.components[component - 1])
    voxel = float(result.voxel) / _FINER if result.voxel is not None else 1.0
    files = []
    for number, t in enumerate(np.linspace(-reach, reach, steps), 1):
        path = folder / ("morph_%02d" % component) / ("step_%03d.mrc" % number)
        write_map(path, mean + t * change, voxel)
        files.append(path)
    lines = [
        _START,
        "open %s vseries true" % " ".join(_quoted(path) for path in files),
        "volume #1 style surface step 1 level %.6g color #7aa6c2" % _level(result),
        "view",
        "vseries play #1 direction oscillate loop true maxFrameRate 8",
    ]
    return _write(folder / ("morph_%02d.cxc" % component), lines)


def _finer(volume: np.ndarray) -> np.ndarray:
    """The volume on a finer grid; voxel 0 stays where it is."""
    for axis in range(3):
        volume = resample(volume, _FINER * volume.shape[axis], axis=axis)
    return volume.astype(np.float32)


def _level(result: Result) -> float:
    """One surface level for all volumes of a result."""
    for array in (result.mean, result.class_volumes):
        if array is not None:
            return _SHARE * float(array.max())
    return 0.0


def _opened(files: Sequence[Path]) -> list[str]:
    return [_START] + ["open %s" % _quoted(path) for path in files]


def _quoted(path: Path) -> str:
    return '"%s"' % Path(path).resolve()


def _write(path: Path, lines: Sequence[str]) -> Path:
    write_text(path, "\n".join(lines) + "\n")
    return path
