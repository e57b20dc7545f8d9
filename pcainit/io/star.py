"""RELION particle STAR files: read into `Particles`, written back with the classes found."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pcainit import __version__
from pcainit.engine.geometry.poses import rotation_from_euler
from pcainit.engine.images.particles import (
    CTF,
    Particles,
    balanced,
    image_numbers,
    joint_groups,
    random_halves,
)
from pcainit.errors import InputError, shorten
from pcainit.io import columns, image_optics, plausible
from pcainit.io.fingerprint import bytes_identity
from pcainit.io.ownership import MARK
from pcainit.io.setting_aside import SettingAside, judge_defocus, judge_poses, judge_shifts
from pcainit.io.stacks import locate_stacks, read_headers, refuse_unnumbered, stack_boxes
from pcainit.io.star_text import PairTable, decode, plain_text, read_document, write_document
from pcainit.limits import MIN_PARTICLES

# CTF field -> STAR label and what stands in where the label is absent (None: it must be there).
_CTF_LABELS = {
    "defocus_u": ("rlnDefocusU", None),
    "defocus_v": ("rlnDefocusV", None),
    "defocus_angle": ("rlnDefocusAngle", 0.0),
    "phase_shift": ("rlnPhaseShift", 0.0),
    "voltage": ("rlnVoltage", None),
    "spherical_aberration": ("rlnSphericalAberration", None),
    "amplitude_contrast": ("rlnAmplitudeContrast", 0.1),
    "b_factor": ("rlnCtfBfactor", 0.0),
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

    Examples
    --------
    >>> import os, tempfile
    >>> from pcainit.io.star import ParticleTable
    >>> path = os.path.join(tempfile.mkdtemp(), "particles.star")
    >>> lines = ["data_particles", "loop_", "_rlnImageName", "1@a.mrcs", "2@a.mrcs", ""]
    >>> with open(path, "w") as star:
    ...     _ = star.write(chr(10).join(lines))
    >>> table = ParticleTable(path)
    >>> len(table), table.has("rlnAngleRot")
    (2, False)
    """

    dark: np.ndarray | None = None  # (n,) bool: images with particles darker than the background
    source: np.ndarray | None = None  # (n,) int: copies of one particle have the same number

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not os.path.isfile(str(self.path)):
            raise InputError(
                "The particle STAR file %s does not exist: check the path."
                % shorten(str(self.path))
            )
        try:
            content = self.path.read_bytes()
            self.identity = bytes_identity(content)
            text = decode(content)
            del content  # of a million particles, it is large
            self._document = read_document(text)
        except (ValueError, OSError) as error:
            raise InputError(
                "%s cannot be read as a STAR file (%s): give RELION's particles file."
                % (self.path, shorten(str(error)))
            ) from None
        self._loop = self._find("particles", "rlnImageName")
        if self._loop is None or self._loop.length() == 0:
            raise InputError(
                "%s has no particles (no loop with rlnImageName): give RELION's "
                "particles file." % self.path
            )
        self._columns = _column_numbers(self._loop)
        self._optics = self._find("optics", "rlnOpticsGroup", exclude=self._loop)
        self._optics_columns = _column_numbers(self._optics) if self._optics else {}
        self._optics_row = self._match_optics() if self._optics else None

    def _find(self, block_name: str, label: str, exclude: Any = None) -> Any:
        blocks = sorted(self._document, key=lambda block: block.name != block_name)
        for block in blocks:
            for item in block:
                loop = item.loop
                if item.pair is not None and item.pair[0] == "_" + label == "_rlnOpticsGroup":
                    return PairTable([item.pair for item in block if item.pair is not None])
                if (
                    loop is not None
                    and "_" + label in loop.tags
                    and (exclude is None or loop.tags != exclude.tags)
                ):
                    return loop
        return None

    def __len__(self) -> int:
        return self._loop.length()

    def has(self, label: str) -> bool:
        """Whether a row, or its optics group, carries this label."""
        return label in self._columns or label in self._optics_columns

    def text(self, label: str) -> list[str]:
        """One particle column as it stands in the file."""
        width, column = self._loop.width(), self._columns[label]
        values = self._loop.values
        return [plain_text(values[k]) for k in range(column, len(self) * width, width)]

    def cells(self, label: str) -> list[str]:
        """One value per particle as it stands in its row or else its optics group."""
        if label in self._columns:
            return self.text(label)
        width, column = self._optics.width(), self._optics_columns[label]
        values = [self._optics.values[k * width + column] for k in range(self._optics.length())]
        return [values[row] for row in self._optics_row]

    def numbers(
        self, label: str, default: float | None = None, *, finite: bool = True
    ) -> np.ndarray:
        """One value per particle, from its row or else its optics group, (n,) float64.

        Raises
        ------
        InputError
            The label is absent and has no default, or holds something that is no number, or, where
            they have to be finite, no finite one.
        """
        if label in self._columns:
            return _as_numbers(self.text(label), label, self.path, finite)
        if label in self._optics_columns:
            width, column = self._optics.width(), self._optics_columns[label]
            cells = [self._optics.values[k * width + column] for k in range(self._optics.length())]
            return _as_numbers(cells, label, self.path, finite)[self._optics_row]
        if default is None:
            raise InputError("%s has no column %s: the particles need it." % (self.path, label))
        return np.full(len(self), float(default))

    def checked(
        self, label: str, default: float | None = None, *, finite: bool = True
    ) -> np.ndarray:
        """As `numbers`, but values that no microscope gives are refused."""
        values = self.numbers(label, default, finite=finite)
        plausible.check_range(values[np.isfinite(values)], label, self.path)
        return values

    def flags(self) -> dict[str, list[str]]:
        """The columns that can be grounds to refuse the particles, see `columns.DECISIONS`."""
        return {
            label: sorted(set(self.cells(label)))
            for label, decision in columns.BY_LABEL.items()
            if decision.what == columns.REFUSED and self.has(label)
        }

    def _match_optics(self) -> np.ndarray:
        width, column = self._optics.width(), self._optics_columns["rlnOpticsGroup"]
        groups = [self._optics.values[k * width + column] for k in range(self._optics.length())]
        if "rlnOpticsGroup" not in self._columns:
            if len(groups) == 1:
                return np.zeros(len(self), int)
            raise InputError(
                "%s has %d optics groups, but its particles do not name theirs "
                "(rlnOpticsGroup)." % (self.path, len(groups))
            )
        row_of = {name: k for k, name in enumerate(groups)}
        if len(row_of) < len(groups):
            raise InputError(
                "%s lists an optics group twice (rlnOpticsGroup): give each a number "
                "of its own." % self.path
            )
        try:
            return np.array([row_of[name] for name in self.text("rlnOpticsGroup")], int)
        except KeyError as error:
            raise InputError(
                "%s has a particle of optics group %s, which its optics table does "
                "not list." % (self.path, shorten(error.args[0]))
            ) from None

    def write_with(self, path: str | Path, columns: dict[str, np.ndarray]) -> None:
        """Write every row in order with some columns set (integers) or added, here as well.

        Parameters
        ----------
        path : str or Path
        columns : dict
            Label -> (n,) int array or list of str.
        """
        for label, values in columns.items():
            if label not in self._columns:
                self._loop.add_columns(["_" + label], value="0")
                self._columns = _column_numbers(self._loop)
            k = self._columns[label]
            for row, value in enumerate(values):  # in place: there may be millions
                self._loop[row, k] = str(value)
        write_document(self._document, path, comment="%s %s" % (MARK, __version__))


def read_particles(
    table: ParticleTable,
    data_dir: str | None = None,
    *,
    use_ctf: bool = True,
    resolution: float | None = None,
) -> Particles:
    """Particles of a STAR file, checked.

    Parameters
    ----------
    table : ParticleTable
        Rows with poses and CTF.
    data_dir : str, optional
        Folder that relative image paths start from.  Looked for when not given: the current
        folder, the STAR file's folder and the folders above it.
    use_ctf : bool
        False leaves the CTF out.
    resolution : float, optional
        Finest resolution that the images are used at, Angstrom: what beam tilt and aberrations do
        there is named.

    Returns
    -------
    Particles

    Raises
    ------
    InputError
        One sentence on what is missing or does not fit.
    """
    wrong = columns.problems(table.flags(), use_ctf)
    if wrong:
        raise InputError(" ".join("%s %s" % (table.path, words) for words in wrong))
    for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        if not table.has(label):
            raise InputError(
                "%s has no %s: the particles have no poses. Take the particles of a "
                "3D refinement." % (table.path, label)
            )
    sampling = image_optics.pixel_sizes(table)
    aside = SettingAside(len(table), table.path)
    angles = [
        table.checked(label, finite=False)
        for label in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
    ]
    shifts = _shifts(table, sampling)
    _refuse_one_view(angles, table.path)
    judge_poses(aside, angles, shifts)
    plausible.check_degrees(angles, table.path)
    names = table.text("rlnImageName")
    stacks, stack, row = locate_stacks(names, table.path, data_dir)
    image = image_numbers(stack, row)
    source = image if table.source is None else joint_groups(image, table.source)
    _refuse_repeats(image, np.column_stack([*angles, shifts]), aside.code > 0, table.path)
    headers = read_headers(stacks)
    boxes = stack_boxes(headers, stack, row)[stack]
    refuse_unnumbered(headers, stack, names)
    _check_boxes(table, boxes, stacks, stack)
    judge_shifts(aside, shifts, boxes)
    plausible.check_shifts(shifts, boxes, table.path)
    notes = image_optics.header_notes(headers, stack, sampling)
    if resolution is not None:
        notes += image_optics.aberration_notes(table, resolution)
    ctf = _read_ctf(table, aside) if use_ctf else None
    rotations = rotation_from_euler(*angles)
    kinds = image_optics.image_kinds(boxes, sampling, image_optics.magnifications(table))
    grid = int(boxes[0]), float(sampling[0])
    if kinds is not None:
        image_optics.check_widths(kinds, table.path)
        grid = kinds.common_grid()
        shifts = shifts * (sampling / grid[1] / kinds.factor[kinds.of])[:, None]
        rotations[:, :2] = kinds.rest[kinds.of].astype(np.float32) @ rotations[:, :2]
    return Particles(
        stacks=stacks,
        stack=stack,
        row=row,
        rotations=rotations,
        shifts_px=shifts.astype(np.float32),
        ctf=ctf,
        half=_half_sets(table, source),
        box_px=grid[0],
        sampling=grid[1],
        dark=table.dark,
        source=None if table.source is None else source,
        kinds=kinds,
        aside=aside.code if aside.reasons else None,
        reasons=tuple(aside.reasons),
        notes=(*aside.notes(), *notes),
    )


def _refuse_one_view(angles: list[np.ndarray], path: Path) -> None:
    if len(angles[0]) > 1 and not any(np.ptp(angle) for angle in angles[:2]):
        raise InputError(
            "%s gives all particles the same view (rlnAngleRot and rlnAngleTilt), as "
            "a 2D alignment does. Take the particles of a 3D refinement." % path
        )


def _check_boxes(
    table: ParticleTable, boxes: np.ndarray, stacks: tuple[str, ...], stack: np.ndarray
) -> None:
    """Whether images have the box that the table says; an odd one is refused for itself, later."""
    if not table.has("rlnImageSize"):
        return
    said = table.numbers("rlnImageSize")
    bad = (said != boxes) & (boxes % 2 == 0)
    if bad.any():
        k = int(np.argmax(bad))
        raise InputError(
            "%s says that images have %g pixels (rlnImageSize), but those of %s have "
            "%d: give the STAR file that belongs to them, since its pixel size need "
            "not be theirs." % (table.path, said[k], stacks[stack[k]], boxes[k])
        )


def _refuse_repeats(image: np.ndarray, poses: np.ndarray, aside: np.ndarray, path: Path) -> None:
    """An image may come again with another pose (expanded symmetry), but no particle twice.

    Its noise would be taken for something that particles agree on.
    """
    count = int(image.max()) + 1
    if count == len(image):
        return
    if count < MIN_PARTICLES <= len(image):
        raise InputError(
            "%s names only %d different images in %d rows: at least %d are needed."
            % (path, count, len(image), MIN_PARTICLES)
        )
    order = np.lexsort([*poses.T, image])
    same = (np.diff(image[order]) == 0) & (np.diff(poses[order], axis=0) == 0).all(axis=1)
    same &= ~aside[order[1:]]
    if same.any():
        k = int(np.argmax(same))
        raise InputError(
            "%s has %d particles twice, with the same image and pose (rows %d and %d "
            "are the first): remove the duplicates."
            % (path, int(same.sum()), *sorted((order[k] + 1, order[k + 1] + 1)))
        )


def _read_ctf(table: ParticleTable, aside: SettingAside | None = None) -> CTF:
    if not table.has("rlnDefocusU"):
        raise InputError(
            "%s has no CTF (rlnDefocusU): estimate it, or run without CTF correction "
            "(--no-ctf)." % table.path
        )
    fields = {}
    for name, (label, default) in _CTF_LABELS.items():
        if name == "defocus_v" and not table.has(label):
            label = "rlnDefocusU"
        fields[name] = table.checked(label, default, finite=not name.startswith("defocus"))
    u = fields["defocus_u"]
    plausible.check_defocus(u[np.isfinite(u)], table.path)
    aside = aside or SettingAside(len(table), table.path)
    judge_defocus(aside, u, fields["defocus_v"], fields["defocus_angle"], fields["phase_shift"])
    return CTF(**fields)


def _shifts(table: ParticleTable, sampling: np.ndarray) -> np.ndarray:
    """Shift of each particle in pixels of its own image, (n, 2) float64; NaN where it has none."""
    if table.has("rlnOriginXAngst"):
        pair = [table.numbers("rlnOrigin%sAngst" % axis, finite=False) / sampling for axis in "XY"]
    else:
        pair = [table.numbers("rlnOrigin" + axis, 0.0, finite=False) for axis in "XY"]
    return np.stack(pair, axis=1)


def _half_sets(table: ParticleTable, image: np.ndarray) -> np.ndarray:
    """Half-set of each particle: the file's when it has two usable ones, else random ones.

    All copies of an image, each with a pose of its own, are in one half-set: halves that share an
    image's noise would agree on it.
    """
    if table.has("rlnRandomSubset"):
        half = table.numbers("rlnRandomSubset")
        if np.isin(half, (1, 2)).all() and balanced(half):
            of_image = np.zeros(int(image.max()) + 1)
            of_image[image] = half
            if (of_image[image] == half).all():
                return half.astype(np.int8)
    return random_halves(image)


def _column_numbers(loop: Any) -> dict[str, int]:
    return {tag[1:]: k for k, tag in enumerate(loop.tags)}


def _as_numbers(cells: list[str], label: str, path: Path, finite: bool) -> np.ndarray:
    try:
        values = np.array(cells, np.float64)
        if any("_" in cell for cell in cells):  # Python's own way to write 10000
            raise ValueError
    except ValueError:
        bad = np.array([not _is_number(cell) for cell in cells])
        raise InputError(
            "%s: %s of %s is %s%r, which is not a number." % (path, label, *_first(cells, bad))
        ) from None
    if finite and not np.isfinite(values).all():
        bad = ~np.isfinite(values)
        raise InputError(
            "%s: %s of %s is %s%s, which is not a finite number."
            % (path, label, *_first(cells, bad))
        )
    return values


def _first(cells: list[str], bad: np.ndarray) -> tuple[str, str, str]:
    """Which rows are bad, and what the first of them holds."""
    more = "in the first of them " if bad.sum() > 1 else ""
    return columns.rows(bad), more, shorten(cells[int(np.argmax(bad))])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
