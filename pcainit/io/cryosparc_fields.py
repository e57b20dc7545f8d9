"""cryoSPARC's fields of all particles, checked, as RELION's columns and names."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from pcainit.engine.arrays import AnyArray
from pcainit.engine.geometry.poses import euler_from_rotation
from pcainit.engine.images.ctf import electron_wavelength
from pcainit.errors import InputError, shorten
from pcainit.io.columns import rows as rows_of
from pcainit.io.cryosparc_files import JoinedRows

NAMED_PHASE = 0.2  # radians that aberrations turn phases by and are left out without a word
MAX_SHIFT = 1.0  # Angstrom: what `ctf/shift_A` may be and still be left to the pose errors
_WHERE = {
    "blob": "its images are named in",
    "ctf": "its CTF is in",
    "alignments3D": "its poses are in",
}
_CTF = {  # column -> field, factor
    "rlnVoltage": ("ctf/accel_kv", 1.0),
    "rlnSphericalAberration": ("ctf/cs_mm", 1.0),
    "rlnAmplitudeContrast": ("ctf/amp_contrast", 1.0),
    "rlnDefocusU": ("ctf/df1_A", 1.0),
    "rlnDefocusV": ("ctf/df2_A", 1.0),
    "rlnDefocusAngle": ("ctf/df_angle_rad", 180 / np.pi),
    "rlnPhaseShift": ("ctf/phase_shift_rad", 180 / np.pi),
    "rlnCtfBfactor": ("ctf/bfactor", 1.0),
    "rlnCtfScalefactor": ("ctf/scale", 1.0),
}


def _field(
    rows: JoinedRows,
    name: str,
    shape: tuple[int, ...] = (),
    default: float | None = None,
    *,
    finite: bool = True,
) -> AnyArray:
    """One field of all particles as float64, checked; NaN where it is none and need not be."""
    if name not in rows.fields:
        if default is not None:
            return np.full((len(rows), *shape), default)
        prefix = name.partition("/")[0]
        raise InputError(
            "%s has no %s: %s the passthrough file of its job (such as "
            "J42_passthrough_particles.cs): put it beside this file, or give the job's folder in "
            "its project." % (rows.path, name, _WHERE.get(prefix, "it is in"))
        )
    values = rows.fields[name]
    if values.dtype.kind not in "fiu" or values.shape != (len(rows), *shape):
        raise InputError(
            "%s: %s is %s of shape %s, where cryoSPARC has %s."
            % (
                rows.path,
                name,
                values.dtype,
                values.shape[1:],
                "%d numbers" % shape[-1] if shape else "one number",
            )
        )
    values = values.astype(np.float64)
    if not finite:  # particles that have none are set aside later, as those of STAR files are
        return np.where(np.isfinite(values), values, np.nan)
    bad = ~np.isfinite(values).reshape(len(rows), -1).all(axis=1)
    if bad.any():
        raise InputError(
            "%s: %s is not a finite number in %s (the first has the unique id %d): leave them out."
            % (rows.path, name, rows_of(bad), rows.fields["uid"][np.argmax(bad)])
        )
    return values


def aberration_notes(rows: JoinedRows, values: dict[str, AnyArray], resolution: float) -> list[str]:
    """Sentences on trefoil and tetrafoil where they are not small."""
    found = []
    for name, power, count in (("ctf/trefoil_A", 3, 2), ("ctf/tetra_A", 4, 4)):
        if name in rows.fields and "rlnVoltage" in values:
            size = np.linalg.norm(_field(rows, name, (count,)), axis=1)
            wave = electron_wavelength(values["rlnVoltage"])
            phase = 2 * np.pi * size * wave ** (power - 1) / resolution**power
            if phase.max() > NAMED_PHASE:
                found.append(
                    "%s turns phases by up to %.2g radians at %g A in %s, which is not "
                    "corrected: the finest details are weakened."
                    % (name, phase.max(), resolution, rows_of(phase > NAMED_PHASE))
                )
    return found


def relion_columns(rows: JoinedRows) -> dict[str, AnyArray]:
    """RELION's columns of all particles."""
    pose, shift, pixel = alignment_of(rows)
    values = dict(
        zip(
            ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),
            euler_from_rotation(Rotation.from_rotvec(-pose).as_matrix()).T.copy(),
        )
    )
    # Pixels of the alignment, which may have run at another box than that of the images.
    values["rlnOriginXAngst"], values["rlnOriginYAngst"] = (shift * pixel[:, None]).T.copy()
    values["rlnImagePixelSize"] = _field(rows, "blob/psize_A")
    if "blob/shape" in rows.fields:
        values["rlnImageSize"] = _field(rows, "blob/shape", (2,))[:, -1]
    if "alignments3D/split" in rows.fields:
        values["rlnRandomSubset"] = _field(rows, "alignments3D/split") + 1
    if "ctf/df1_A" in rows.fields:
        values.update(_ctf(rows))
    return values


def _ctf(rows: JoinedRows) -> dict[str, AnyArray]:
    """Columns of the CTF, its aberrations and the magnification."""
    needed = ("ctf/accel_kv", "ctf/cs_mm", "ctf/df1_A", "ctf/df2_A")
    values = {
        label: _field(rows, field, finite=not field.startswith("ctf/df")) * factor
        for label, (field, factor) in _CTF.items()
        if field in rows.fields or field in needed
    }
    for name, limit, what in (
        ("ctf/shift_A", MAX_SHIFT, "the images of an exposure group lie aside by"),
        ("ctf/scale_const", 1e-3, "the CTF has a constant beside it, of"),
    ):
        found = np.abs(_field(rows, name, (2,) if name == "ctf/shift_A" else (), 0.0))
        if found.max() > limit:
            raise InputError(
                "%s: %s is up to %g, so that %s as much, which is not known here: set it to zero "
                "(Exposure Group Utilities), or refine the particles again."
                % (rows.path, name, found.max(), what)
            )
    if "ctf/tilt_A" in rows.fields:
        tilt = _field(rows, "ctf/tilt_A", (2,))
        aberration = 1e7 * values["rlnSphericalAberration"][:, None]  # mm to Angstrom
        share = np.divide(tilt, aberration, out=np.zeros_like(tilt), where=aberration != 0)
        if np.abs(share).max() > 0.1:
            raise InputError(
                "%s: ctf/tilt_A is up to %g, which with this spherical aberration would be a "
                "tilt of more than 100 mrad: check it." % (rows.path, np.abs(tilt).max())
            )
        if share.any():
            values["rlnBeamTiltX"], values["rlnBeamTiltY"] = (1e3 * np.arcsin(share)).T.copy()
    if "ctf/anisomag" in rows.fields:
        matrix = _field(rows, "ctf/anisomag", (4,)) + [1.0, 0.0, 0.0, 1.0]
        if (matrix != [1.0, 0.0, 0.0, 1.0]).any():
            for name, column in zip(("00", "01", "10", "11"), matrix.T):
                values["rlnMagMat" + name] = column.copy()
    return values


def alignment_of(rows: JoinedRows) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Pose (n, 3), shift (n, 2) and pixel size (n,) that the shift is counted in."""
    images = _field(rows, "blob/psize_A")
    if "alignments3D/pose" in rows.fields:
        return (
            _field(rows, "alignments3D/pose", (3,), finite=False),
            _field(rows, "alignments3D/shift", (2,), finite=False),
            _positive(rows, "alignments3D/psize_A", images),
        )
    multi = rows.fields.get("alignments3D_multi/pose")
    if multi is not None and multi.ndim == 3:
        count = multi.shape[1]

        def of_multi(name: str, shape: tuple[int, ...]) -> AnyArray:
            return _field(rows, "alignments3D_multi/" + name, (count, *shape))

        best = np.argmax(of_multi("class_posterior", ()), axis=1)
        pick = np.arange(len(rows)), best
        pixel = images
        if "alignments3D_multi/psize_A" in rows.fields:
            per_class = rows.fields["alignments3D_multi/psize_A"].ndim == 2
            pixel = (
                of_multi("psize_A", ())[pick]
                if per_class
                else _positive(rows, "alignments3D_multi/psize_A", images)
            )
        return of_multi("pose", (3,))[pick], of_multi("shift", (2,))[pick], pixel
    numbers = sorted(
        int(name[len("alignments_class_") : -len("/pose")])
        for name in rows.fields
        if re.fullmatch(r"alignments_class_\d{1,4}/pose", name)
    )
    if not numbers:
        _field(rows, "alignments3D/pose", (3,))  # says what is missing
    classes = ["alignments_class_%d/" % number for number in numbers]

    def best_of(read: Callable[[str], AnyArray]) -> AnyArray:
        of_best: AnyArray = np.stack([read(prefix) for prefix in classes])[
            best, np.arange(len(rows))
        ]
        return of_best

    best = np.argmax([_field(rows, prefix + "class_posterior") for prefix in classes], axis=0)
    return (
        best_of(lambda prefix: _field(rows, prefix + "pose", (3,))),
        best_of(lambda prefix: _field(rows, prefix + "shift", (2,))),
        best_of(lambda prefix: _positive(rows, prefix + "psize_A", images)),
    )


def _positive(rows: JoinedRows, name: str, default: AnyArray) -> AnyArray:
    """A pixel size; the images' own where the alignment records none."""
    values = _field(rows, name) if name in rows.fields else default
    return np.where(values > 0, values, default)


def relion_names(rows: JoinedRows) -> list[str]:
    """RELION's names of all images; none may lead out of the project."""
    paths, index = rows.fields.get("blob/path"), _field(rows, "blob/idx")
    if paths is None or paths.ndim != 1 or paths.dtype.kind not in "SU":
        _field(rows, "blob/path")
        raise InputError("%s: blob/path is no text, as cryoSPARC has it." % rows.path)
    unique, number = np.unique(paths, return_inverse=True)
    texts = [_checked_path(rows, name) for name in unique.tolist()]
    return ["%06d@%s" % (k + 1, texts[n]) for k, n in zip(index.astype(np.int64), number)]


def _checked_path(rows: JoinedRows, name: bytes | str) -> str:
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    bare = text.lstrip(">")
    if (
        not bare
        or bare.startswith(("/", "~", "\\"))
        or ".." in re.split(r"[/\\]", bare)
        or any(ord(letter) < 32 for letter in bare)
        or "@" in bare
    ):
        raise InputError(
            "%s: blob/path names %r, which is not a path inside the project: give the paths as "
            "cryoSPARC writes them, from the project's folder." % (rows.path, shorten(text))
        )
    if text.startswith(">"):  # beside the file that an export has put them with
        return str(Path(rows.path).absolute().parent / bare)
    return bare


def dark_images(rows: JoinedRows) -> AnyArray | None:
    """Images in which particles are darker than the background, (n,) bool; None for none."""
    if "blob/sign" not in rows.fields:
        return None
    dark = _field(rows, "blob/sign") < 0
    return dark if dark.any() else None


def expanded_from(rows: JoinedRows) -> AnyArray | None:
    """Which particles are copies of one by expanded symmetry, (n,) int64; None for none."""
    name = "sym_expand/src_uid"
    if name not in rows.fields or rows.fields[name].ndim != 1:
        return None
    source, uid = rows.fields[name].astype(np.uint64), rows.fields["uid"].astype(np.uint64)
    of_source: AnyArray = np.unique(np.where(source > 0, source, uid), return_inverse=True)[1]
    return of_source.astype(np.int64)
