"""RELION particle STAR files: read into `Particles`, written back with the classes found."""
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import gemmi
import numpy as np

from pcainit.engine.particles import CTF, Particles
from pcainit.engine.poses import rotation_from_euler
from pcainit.files.atomic import write_text
from pcainit.files.stacks import locate_stacks
from pcainit.settings import InputError

# CTF field -> STAR label and what stands in where the label is absent (None: it must be there).
_CTF_LABELS = {
    "defocus_u": ("rlnDefocusU", None), "defocus_v": ("rlnDefocusV", None),
    "defocus_angle": ("rlnDefocusAngle", 0.0), "phase_shift": ("rlnPhaseShift", 0.0),
    "voltage": ("rlnVoltage", None), "spherical_aberration": ("rlnSphericalAberration", None),
    "amplitude_contrast": ("rlnAmplitudeContrast", 0.1), "b_factor": ("rlnCtfBfactor", 0.0),
    "scale": ("rlnCtfScalefactor", 1.0),
}


class ParticleTable:
    """The particle rows of a RELION STAR file, optics groups looked up for each row.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        The file is missing, is not STAR, or has no particles.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError("The particle STAR file %s does not exist: check the path."
                             % self.path)
        try:
            self._document = gemmi.cif.read(str(self.path))
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError("%s cannot be read as a STAR file (%s): give RELION's particles file."
                             % (self.path, str(error).splitlines()[0])) from None
        self._loop = self._find("particles", "rlnImageName")
        if self._loop is None or self._loop.length() == 0:
            raise InputError("%s has no particles (no loop with rlnImageName): give RELION's "
                             "particles file." % self.path)
        self._columns = _column_numbers(self._loop)
        self._optics = self._find("optics", "rlnOpticsGroup", exclude=self._loop)
        self._optics_columns = _column_numbers(self._optics) if self._optics else {}
        self._optics_row = self._match_optics() if self._optics else None

    def _find(self, block_name: str, label: str, exclude: Any = None) -> Any:
        blocks = sorted(self._document, key=lambda block: block.name != block_name)
        for block in blocks:
            for item in block:
                loop = item.loop
                if loop is not None and "_" + label in loop.tags and (
                        exclude is None or loop.tags != exclude.tags):
                    return loop
        return None

    def __len__(self) -> int:
        return self._loop.length()

    def has(self, label: str) -> bool:
        """Whether a row, or its optics group, carries this label."""
        return label in self._columns or label in self._optics_columns

    def text(self, label: str) -> List[str]:
        """One particle column as it stands in the file."""
        width, column = self._loop.width(), self._columns[label]
        values = self._loop.values
        return [values[k] for k in range(column, len(self) * width, width)]

    def numbers(self, label: str, default: Optional[float] = None) -> np.ndarray:
        """One value per particle, from its row or else its optics group, (n,) float64.

        Raises
        ------
        InputError
            The label is absent and has no default, or holds something that is no number.
        """
        if label in self._columns:
            return _as_numbers(self.text(label), label, self.path)
        if label in self._optics_columns:
            width, column = self._optics.width(), self._optics_columns[label]
            cells = [self._optics.values[k * width + column] for k in range(self._optics.length())]
            return _as_numbers(cells, label, self.path)[self._optics_row]
        if default is None:
            raise InputError("%s has no column %s: the particles need it." % (self.path, label))
        return np.full(len(self), float(default))

    def _match_optics(self) -> np.ndarray:
        width, column = self._optics.width(), self._optics_columns["rlnOpticsGroup"]
        groups = [self._optics.values[k * width + column] for k in range(self._optics.length())]
        if "rlnOpticsGroup" not in self._columns:
            if len(groups) == 1:
                return np.zeros(len(self), int)
            raise InputError("%s has %d optics groups, but its particles do not name theirs "
                             "(rlnOpticsGroup)." % (self.path, len(groups)))
        row_of = {name: k for k, name in enumerate(groups)}
        try:
            return np.array([row_of[name] for name in self.text("rlnOpticsGroup")], int)
        except KeyError as error:
            raise InputError("%s has a particle of optics group %s, which its optics table does "
                             "not list." % (self.path, error.args[0])) from None

    def write_with(self, path: str | Path, columns: Dict[str, np.ndarray]) -> None:
        """Write every row in order with some columns set (integers) or added.

        Parameters
        ----------
        path : str or Path
        columns : dict
            Label -> (n,) int array or list of str.
        """
        document = gemmi.cif.read(str(self.path))
        table = ParticleTable.__new__(ParticleTable)
        table._document = document
        loop = table._find("particles", "rlnImageName")
        for label, values in columns.items():
            if "_" + label not in loop.tags:
                loop.add_columns(["_" + label], value="0")
            k = list(loop.tags).index("_" + label)
            cells = list(loop.values)
            cells[k::loop.width()] = [str(value) for value in values]
            by_column = [cells[c::loop.width()] for c in range(loop.width())]
            loop.set_all_values(by_column)
        write_text(path, document.as_string())      # gemmi's own would not notice a full disk


def read_particles(table: ParticleTable, data_dir: Optional[str] = None, *,
                   use_ctf: bool = True) -> Particles:
    """Particles of a STAR file, checked.

    Parameters
    ----------
    table : ParticleTable
    data_dir : str, optional
        Folder that relative image paths start from.  Looked for when not given: the current
        folder, the STAR file's folder and the folders above it.
    use_ctf : bool
        False leaves the CTF out.

    Returns
    -------
    Particles

    Raises
    ------
    InputError
        One sentence on what is missing or does not fit.
    """
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        if not table.has(label):
            raise InputError("%s has no %s: the particles have no poses. Take the particles of a "
                             "3D refinement." % (table.path, label))
    sampling = _one_sampling(table)
    angles = [table.numbers(label) for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")]
    if len(table) > 1 and not any(np.ptp(angle) for angle in angles[:2]):
        raise InputError("%s gives all particles the same view (rlnAngleRot and rlnAngleTilt), as "
                         "a 2D alignment does. Take the particles of a 3D refinement."
                         % table.path)
    stacks, stack, row = locate_stacks(table.text("rlnImageName"), table.path, data_dir)
    from pcainit.files.stacks import stack_box
    return Particles(stacks=stacks, stack=stack, row=row,
                     rotations=rotation_from_euler(*angles),
                     shifts_px=_shifts(table, sampling).astype(np.float32),
                     ctf=_read_ctf(table) if use_ctf else None, half=_half_sets(table),
                     box_px=stack_box(stacks, stack, row), sampling=sampling)


def _read_ctf(table: ParticleTable) -> CTF:
    if not table.has("rlnDefocusU"):
        raise InputError("%s has no CTF (rlnDefocusU): estimate it, or run without CTF correction "
                         "(--no-ctf)." % table.path)
    if np.any(table.numbers("rlnCtfDataAreCtfPremultiplied", 0)):
        raise InputError("%s holds CTF-premultiplied images: extract the particles without "
                         "premultiplication." % table.path)
    if np.any(table.numbers("rlnCtfDataArePhaseFlipped", 0)):
        raise InputError("%s holds phase-flipped images: extract the particles without phase "
                         "flipping." % table.path)
    fields = {}
    for name, (label, default) in _CTF_LABELS.items():
        if name == "defocus_v" and not table.has(label):
            label = "rlnDefocusU"
        fields[name] = table.numbers(label, default)
    if np.any(fields["voltage"] <= 0):
        raise InputError("%s has a voltage (rlnVoltage) that is not positive." % table.path)
    if np.any(np.abs(fields["amplitude_contrast"]) > 1):
        raise InputError("%s has an amplitude contrast (rlnAmplitudeContrast) outside 0 to 1."
                         % table.path)
    return CTF(**fields)


def _one_sampling(table: ParticleTable) -> float:
    if table.has("rlnImagePixelSize"):
        values = table.numbers("rlnImagePixelSize")
    elif table.has("rlnDetectorPixelSize") and table.has("rlnMagnification"):
        values = 1e4 * table.numbers("rlnDetectorPixelSize") / table.numbers("rlnMagnification")
    elif table.has("rlnPixelSize"):
        values = table.numbers("rlnPixelSize")
    else:
        raise InputError("%s gives no pixel size (rlnImagePixelSize)." % table.path)
    low, high = float(values.min()), float(values.max())
    if not low > 0:
        raise InputError("%s gives a pixel size of %g A: it must be positive." % (table.path, low))
    if high - low > 1e-3 * low:
        raise InputError("%s mixes pixel sizes from %g to %g A: rescale the particles to one pixel "
                         "size first." % (table.path, low, high))
    return low


def _shifts(table: ParticleTable, sampling: float) -> np.ndarray:
    if table.has("rlnOriginXAngst"):
        pair = [table.numbers("rlnOrigin%sAngst" % axis) / sampling for axis in "XY"]
    else:
        pair = [table.numbers("rlnOrigin" + axis, 0.0) for axis in "XY"]
    return np.stack(pair, axis=1)


def _half_sets(table: ParticleTable) -> np.ndarray:
    """Half-set of each particle: the file's when it has two usable ones, else alternating."""
    n = len(table)
    if table.has("rlnRandomSubset"):
        half = table.numbers("rlnRandomSubset")
        if np.isin(half, (1, 2)).all() and 0.4 * n <= (half == 1).sum() <= 0.6 * n:
            return half.astype(np.int8)
    return np.random.default_rng(n).permutation(np.arange(n) % 2 + 1).astype(np.int8)


def _column_numbers(loop: gemmi.cif.Loop) -> Dict[str, int]:
    return {tag[1:]: k for k, tag in enumerate(loop.tags)}


def _as_numbers(cells: List[str], label: str, path: Path) -> np.ndarray:
    try:
        values = np.array(cells, np.float64)
    except ValueError:
        bad = next(k for k, cell in enumerate(cells) if not _is_number(cell))
        raise InputError("%s: %s of row %d is %r, which is not a number."
                         % (path, label, bad + 1, cells[bad])) from None
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError("%s: %s of row %d is %s, which is not a finite number."
                         % (path, label, bad + 1, cells[bad]))
    return values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
