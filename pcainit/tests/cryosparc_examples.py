"""cryoSPARC's files of a RELION particle set, written from the published meaning of the fields."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
from pathlib import Path

import gemmi
import numpy as np

FIELDS = [
    ("uid", "<u8"),
    ("blob/path", "S60"),
    ("blob/idx", "<u4"),
    ("blob/shape", "<u4", (2,)),
    ("blob/psize_A", "<f4"),
    ("blob/sign", "<f4"),
    ("ctf/exp_group_id", "<u4"),
    ("ctf/accel_kv", "<f4"),
    ("ctf/cs_mm", "<f4"),
    ("ctf/amp_contrast", "<f4"),
    ("ctf/df1_A", "<f4"),
    ("ctf/df2_A", "<f4"),
    ("ctf/df_angle_rad", "<f4"),
    ("ctf/phase_shift_rad", "<f4"),
    ("ctf/shift_A", "<f4", (2,)),
    ("ctf/tilt_A", "<f4", (2,)),
    ("ctf/trefoil_A", "<f4", (2,)),
    ("ctf/anisomag", "<f4", (4,)),
    ("ctf/scale", "<f4"),
    ("ctf/bfactor", "<f4"),
    ("alignments3D/pose", "<f4", (3,)),
    ("alignments3D/shift", "<f4", (2,)),
    ("alignments3D/psize_A", "<f4"),
    ("alignments3D/split", "<u4"),
]


def relion_columns(star):
    """All values of a RELION set by label, those of its one optics group for each row."""
    document = gemmi.cif.read_file(str(star))
    values = {}
    for block in document:
        for item in block:
            if item.loop is not None:
                for k, tag in enumerate(item.loop.tags):
                    values[tag[1:]] = item.loop.values[k :: item.loop.width()]
    count = len(values["rlnImageName"])
    return {label: cells * (count if len(cells) == 1 else 1) for label, cells in values.items()}


def rodrigues(angles):
    """Rotation vectors whose matrix, transposed, is RELION's of these angles (degrees)."""
    rot, tilt, psi = np.radians(np.asarray(angles, np.float64)).T
    # The active turn z(rot) y(tilt) z(psi), the transpose of that matrix, as a quaternion:
    half = tilt / 2
    w = np.cos(half) * np.cos((rot + psi) / 2)
    z = np.cos(half) * np.sin((rot + psi) / 2)
    x = np.sin(half) * np.sin((psi - rot) / 2)
    y = np.sin(half) * np.cos((psi - rot) / 2)
    axis = np.stack([x, y, z], axis=1)
    sign = np.where(w < 0, -1.0, 1.0)[:, None]
    length = np.linalg.norm(axis, axis=1)[:, None]
    angle = 2 * np.arctan2(length, np.abs(w)[:, None])
    return sign * axis / np.maximum(length, 1e-12) * angle


def rows_of(star, project, *, alignment_pixel=None, dtype=FIELDS):
    """The rows that cryoSPARC would have for a RELION set, in its order."""
    columns = relion_columns(star)
    names = [name.partition("@") for name in columns["rlnImageName"]]

    def numbers(label, default=0.0):
        count = len(names)
        return np.array(columns.get(label, [default] * count), np.float64)

    rows = np.zeros(len(names), dtype)
    rows["uid"] = np.random.default_rng(5).permutation(len(names)).astype("u8") + 10**18
    rows["blob/path"] = [
        os.path.relpath(str(Path(star).parent / path), str(project)).encode()
        for _, _, path in names
    ]
    rows["blob/idx"] = [int(index) - 1 for index, _, _ in names]
    pixel = numbers("rlnImagePixelSize")
    rows["blob/psize_A"], rows["blob/sign"] = pixel, 1
    rows["blob/shape"] = numbers("rlnImageSize")[:, None]
    rows["ctf/accel_kv"] = numbers("rlnVoltage")
    rows["ctf/cs_mm"] = numbers("rlnSphericalAberration")
    rows["ctf/amp_contrast"] = numbers("rlnAmplitudeContrast")
    rows["ctf/df1_A"], rows["ctf/df2_A"] = numbers("rlnDefocusU"), numbers("rlnDefocusV")
    rows["ctf/df_angle_rad"] = np.radians(numbers("rlnDefocusAngle"))
    rows["ctf/phase_shift_rad"] = np.radians(numbers("rlnPhaseShift"))
    rows["ctf/scale"] = 1
    rows["alignments3D/pose"] = rodrigues(
        np.stack([numbers("rlnAngle" + name) for name in ("Rot", "Tilt", "Psi")], axis=1)
    )
    size = alignment_pixel or pixel
    rows["alignments3D/psize_A"] = size
    for k, axis in enumerate("XY"):
        rows["alignments3D/shift"][:, k] = numbers("rlnOrigin%sAngst" % axis) / size
    rows["alignments3D/split"] = numbers("rlnRandomSubset", 1) - 1
    return rows


def keep(rows, *prefixes):
    """Only the unique ids and the fields of some groups."""
    names = [name for name in rows.dtype.names if name.partition("/")[0] in ("uid", *prefixes)]
    out = np.zeros(len(rows), [(name, rows.dtype[name]) for name in names])
    for name in names:
        out[name] = rows[name]
    return out


def save(path, rows):
    """Write rows as cryoSPARC does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(str(path), "wb") as file:
        np.save(file, rows, allow_pickle=False)
    return path


def write_job(star, project, *, alignment_pixel=None, change=None, seed=0):
    """A refinement job: alignments in its own file, all else inherited, either in its own order."""
    rows = rows_of(star, project, alignment_pixel=alignment_pixel)
    if change is not None:
        rows = change(rows)
    job, rng = Path(project) / "J42", np.random.default_rng(seed)
    save(job / "J42_005_particles.cs", keep(rows, "alignments3D", "alignments3D_multi"))
    inherited = keep(rows, "blob", "ctf", "sym_expand")
    save(job / "J42_passthrough_particles.cs", inherited[rng.permutation(len(rows))])
    return job, rows
