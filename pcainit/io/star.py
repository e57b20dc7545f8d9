"""From the rows of a RELION particle file to `Particles`, checked."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.geometry.poses import rotation_from_euler
from pcainit.engine.images.particles import (
    CTF,
    Particles,
    balanced,
    image_numbers,
    joint_groups,
    random_halves,
)
from pcainit.errors import InputError
from pcainit.io import columns, image_optics, plausible
from pcainit.io.particle_table import ParticleTable
from pcainit.io.setting_aside import SettingAside, judge_defocus, judge_poses, judge_shifts
from pcainit.io.stacks import locate_stacks, read_headers, refuse_unnumbered, stack_boxes
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
        Finest resolution that the images are used at, Angstrom: how large aberrations are is judged
        there.

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
        notes += table.notes(resolution)
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
        aberrations=image_optics.read_aberrations(table, resolution) if use_ctf else None,
        premultiplied=_premultiplied(table) if use_ctf else None,
    )


def _premultiplied(table: ParticleTable) -> AnyArray | None:
    """Which images were multiplied by their CTF, (n,) bool; None for none."""
    found = np.zeros(len(table), bool)
    for label in columns.PREMULTIPLIED:
        if table.has(label):
            found |= columns.is_set(table.cells(label))
    return found if found.any() else None


def _refuse_one_view(angles: list[AnyArray], path: Path) -> None:
    if len(angles[0]) > 1 and not any(np.ptp(angle) for angle in angles[:2]):
        raise InputError(
            "%s gives all particles the same view (rlnAngleRot and rlnAngleTilt), as "
            "a 2D alignment does. Take the particles of a 3D refinement." % path
        )


def _check_boxes(
    table: ParticleTable, boxes: AnyArray, stacks: tuple[str, ...], stack: AnyArray
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


def _refuse_repeats(image: AnyArray, poses: AnyArray, aside: AnyArray, path: Path) -> None:
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


def _shifts(table: ParticleTable, sampling: AnyArray) -> AnyArray:
    """Shift of each particle in pixels of its own image, (n, 2) float64; NaN where it has none."""
    if table.has("rlnOriginXAngst"):
        pair = [table.numbers("rlnOrigin%sAngst" % axis, finite=False) / sampling for axis in "XY"]
    else:
        pair = [table.numbers("rlnOrigin" + axis, 0.0, finite=False) for axis in "XY"]
    return np.stack(pair, axis=1)


def _half_sets(table: ParticleTable, image: AnyArray) -> AnyArray:
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
