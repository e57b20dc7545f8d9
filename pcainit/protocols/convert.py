"""From Scipion's particles to the engine's STAR file.

The only place that knows Scipion's conventions: `ALIGN_PROJ` matrices take the image to the
specimen (RELION's are their inverse), and shifts are in pixels.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import hashlib
import os
from typing import List, Optional

import numpy as np

from pcainit.errors import InputError
from pcainit.io import columns as relion_columns
from pcainit.io.atomic import replacing
from pcainit.io.fingerprint import file_identity
from pcainit.io.setting_aside import MOST
from pcainit.protocols.read_set import (
    EXTRA,
    ScipionParticles,
    optics_groups,
    read_particles,
    stack_files,
)

OPTICS = ("voltage", "spherical_aberration", "amplitude_contrast")
DEFOCUS = ("defocus_u", "defocus_v", "defocus_angle")


def identity(particles, mask: Optional[str] = None) -> str:
    """Digest that changes when the particles, their image files or the mask do.

    Parameters
    ----------
    particles : SetOfParticles
    mask : str, optional
        Mask file.

    Returns
    -------
    str
        From the set's whole table and the size and times of each image file.
    """
    digest = hashlib.sha256()
    with open(particles.getFileName(), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    digest.update(repr((particles.getPrefix(), particles.getSamplingRate())).encode())
    for path in stack_files(particles) + ([mask] if mask else []):
        digest.update(repr((path, file_identity([path]) if os.path.exists(path) else "")).encode())
    return digest.hexdigest()[:12]


def write_star(particles, path: str, with_ctf: bool = True, most: int = 0) -> np.ndarray:
    """Write the enabled particles of a set as a RELION 3.1 STAR file.

    Parameters
    ----------
    particles : SetOfParticles
        With projection alignment.
    path : str
        File to write; image files in it are relative to the project.
    with_ctf : bool
        Whether the particles carry a CTF that is to be used.
    most : int
        Write about this many of them, evenly spread; 0 for all.

    Returns
    -------
    (n,) int64
        The particles' ids in Scipion, one for each row of the file.

    Raises
    ------
    InputError
        For particles without pose or CTF, or with mirrored poses.
    """
    from pcainit.engine.geometry.poses import euler_from_rotation

    table = read_particles(particles, most)
    _check_table(table, with_ctf)
    sampling, box = particles.getSamplingRate(), particles.getXDim()

    # Scipion: image to specimen; RELION: specimen to image, and the origin is minus its shift.
    inverse = np.linalg.inv(table.matrices)
    angles = euler_from_rotation(inverse[:, :3, :3])
    origins = -inverse[:, :2, 3] * sampling

    number = np.where(np.isfinite(table.values["optics_group"]), table.values["optics_group"], 1.0)
    groups = optics_groups(particles)
    carried = [
        label
        for label in (*relion_columns.CARRIED, *relion_columns.TOMOGRAPHY)
        if any(label in row for row in groups.values())
    ]
    if not carried:
        number = np.ones(len(number))
    optics, group = np.unique(
        np.column_stack([*(table.values[name] for name in OPTICS), number]),
        axis=0,
        return_inverse=True,
    )
    columns = [
        ("rlnImageName", _image_names(table)),
        ("rlnOpticsGroup", (group.ravel() + 1).tolist()),
        ("rlnImageId", table.ids.tolist()),
        ("rlnAngleRot", angles[:, 0]),
        ("rlnAngleTilt", angles[:, 1]),
        ("rlnAnglePsi", angles[:, 2]),
        ("rlnOriginXAngst", origins[:, 0]),
        ("rlnOriginYAngst", origins[:, 1]),
    ]
    if with_ctf:
        columns += [
            ("rlnDefocusU", table.values["defocus_u"]),
            ("rlnDefocusV", table.values["defocus_v"]),
            ("rlnDefocusAngle", table.values["defocus_angle"]),
        ]
        if np.any(np.isfinite(table.values["phase_shift"])):
            columns.append(("rlnPhaseShift", np.nan_to_num(table.values["phase_shift"])))
    for label, default in EXTRA.items():
        values = table.values[label]
        together = relion_columns.MATRIX if label in relion_columns.MATRIX else (label,)
        given = np.isfinite([table.values[name] for name in together])
        if label not in carried and given.any():
            columns.append((label, np.where(np.isfinite(values), values, default)))
    subset = table.values["random_subset"]
    if np.all((subset == 1) | (subset == 2)):
        columns.append(("rlnRandomSubset", subset.astype(int).tolist()))

    optics_columns = [
        ("rlnOpticsGroup", range(1, len(optics) + 1)),
        ("rlnOpticsGroupName", ["opticsGroup%d" % (i + 1) for i in range(len(optics))]),
        ("rlnVoltage", optics[:, 0]),
        ("rlnSphericalAberration", optics[:, 1]),
        ("rlnAmplitudeContrast", optics[:, 2]),
        ("rlnImagePixelSize", [sampling] * len(optics)),
        ("rlnImageSize", [box] * len(optics)),
        ("rlnImageDimensionality", [2] * len(optics)),
    ]
    own = [groups.get("%d" % one, {}) for one in optics[:, 3]]
    optics_columns += [
        (label, [row.get(label, "%g" % EXTRA.get(label, 0.0)) for row in own]) for label in carried
    ]
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        _write_table(file, "optics", optics_columns)
        _write_table(file, "particles", columns)
    return table.ids


def _check_table(table: ScipionParticles, with_ctf: bool) -> None:
    def refuse(bad: np.ndarray, text: str, some: float = 0.0) -> None:
        if bad.mean() > some:
            raise InputError(
                "%d of %d particles %s (the first has id %d)."
                % (np.count_nonzero(bad), len(bad), text, table.ids[np.argmax(bad)])
            )

    refuse(
        ~np.isfinite(table.matrices).all(axis=(1, 2)),
        "have no pose: take the particles of a 3D refinement",
        MOST,
    )
    refuse(
        np.linalg.det(table.matrices[:, :3, :3]) <= 0,
        "have mirrored poses: take them from another refinement",
    )
    if with_ctf:
        none = "have no CTF: assign CTFs, or choose no CTF correction"
        refuse(~np.isfinite([table.values[name] for name in OPTICS]).all(axis=0), none)
        refuse(~np.isfinite([table.values[name] for name in DEFOCUS]).all(axis=0), none, MOST)


def _image_names(table: ScipionParticles) -> List[str]:
    return [
        _star_word("%06d@%s" % (index, name) if index > 0 else name)
        for index, name in zip(table.values["index"].astype(int).tolist(), table.filename)
    ]


def _star_word(text: str) -> str:
    return '"%s"' % text if any(letter.isspace() for letter in text) else text


def _write_table(file, name: str, columns, chunk: int = 20000) -> None:
    file.write("\n# version 30001\n\ndata_%s\n\nloop_\n" % name)
    file.write(
        "".join("_%s #%d\n" % (label, number) for number, (label, _) in enumerate(columns, 1))
    )
    row = " ".join("%.6f" if isinstance(values, np.ndarray) else "%s" for _, values in columns)
    for start in range(0, len(columns[0][1]), chunk):
        part = zip(*(values[start : start + chunk] for _, values in columns))
        file.write("".join(row % cells + "\n" for cells in part))
    file.write("\n")
