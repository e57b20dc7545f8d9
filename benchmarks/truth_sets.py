"""Particle sets with known truth: what they hold and how they are cut to size.

A set is a folder with `particles.star`, its stack, `truth/truth.csv` (rlnImageName, class; -1 is
junk), the true maps `truth/class00.mrc`... on the data's greyscale and, if known,
`truth/poses.csv` (true poses and contrasts).  `pcainit simulate` makes such folders.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pcainit.engine.geometry.poses import euler_from_rotation, rotation_from_euler
from pcainit.io.maps import read_map
from pcainit.io.particle_table import ParticleTable

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")


@dataclass(frozen=True, eq=False)
class TruthSet:
    """One set.

    Parameters
    ----------
    name : str
    star : Path
        The particles to run on.
    root : Path
        Folder that image paths start from.
    states : (n,) int
        True state of each row; -1 is junk.
    maps : (c, box, box, box) float32
    sampling : float
        Angstrom per pixel.
    nuisance : dict
        True `contrast_sd`, `shift_px`, `rotation_deg` per axis, as far as they are known.
    """

    name: str
    star: Path
    root: Path
    states: np.ndarray
    maps: np.ndarray
    sampling: float
    nuisance: dict[str, float]

    @property
    def populations(self) -> np.ndarray:
        """Share of each state among the particles that are no junk."""
        counts = np.bincount(self.states[self.states >= 0], minlength=len(self.maps))
        return counts / counts.sum()


def load_set(
    folder: str | Path,
    star: str = "particles.star",
    first: int | None = None,
    work: Path | None = None,
) -> TruthSet:
    """Read a set; with `first`, its first rows only, as a STAR file of their own in `work`."""
    folder = Path(folder).resolve()
    path, name = folder / star, folder.name
    if star != "particles.star":
        name += ", " + star
    root = data_root(path)
    if first:
        short = Path(work) / ("%s_%s_first%d.star" % (folder.name, path.stem, first))
        cut_star(path, short, first)
        path, name = short, "%s, first %d" % (name, first)
    table = ParticleTable(path)
    images = table.text("rlnImageName")
    with open(folder / "truth" / "truth.csv", newline="") as file:
        state_of = {row["rlnImageName"]: int(row["class"]) for row in csv.DictReader(file)}
    maps = [read_map(p, "true map")[0] for p in sorted((folder / "truth").glob("class*.mrc"))]
    return TruthSet(
        name,
        path,
        root,
        np.array([state_of[image] for image in images]),
        np.array(maps),
        float(table.numbers("rlnImagePixelSize")[0]),
        true_nuisance(folder, table),
    )


def data_root(star: Path) -> Path:
    """The STAR file's folder, or the nearest one above it, from which its first image is found."""
    stack = ParticleTable(star).text("rlnImageName")[0].split("@")[-1]
    for folder in star.parents:
        if (folder / stack).is_file():
            return folder
    raise SystemExit("The images of %s are not found in its folder or above it." % star)


def cut_star(source: Path, target: Path, count: int) -> None:
    """Copy a particle STAR file with its first `count` particles."""
    seen = 0
    with open(source) as lines, open(target, "w") as out:
        for line in lines:
            seen += "@" in line
            if "@" not in line or seen <= count:
                out.write(line)


def disturb_poses(
    source: Path, target: Path, error: tuple[float, float], seed: int
) -> dict[str, float]:
    """Write a STAR file of the same images whose poses are off at random.

    Parameters
    ----------
    source, target : Path
    error : tuple of float
        Degrees and pixels per axis.
    seed : int

    Returns
    -------
    dict
        How far they are off the source's: `rotation_deg` and `shift_px` per axis.
    """
    table = ParticleTable(source)
    rotations, shifts = _poses(table)
    rng, sampling = np.random.default_rng([seed, 11]), table.numbers("rlnImagePixelSize")
    off = Rotation.from_rotvec(np.radians(rng.normal(0, error[0], (len(rotations), 3))))
    moved = shifts + rng.normal(0, error[1], shifts.shape)
    angles = euler_from_rotation(off.as_matrix() @ rotations)
    columns = {label: ["%.6f" % v for v in values] for label, values in zip(ANGLES, angles.T)}
    for axis, values in zip("XY", (moved * sampling[:, None]).T):
        columns["rlnOrigin%sAngst" % axis] = ["%.6f" % v for v in values]
    table.write_with(target, columns)
    return dict(
        rotation_deg=rotation_error(off.as_matrix() @ rotations, rotations),
        shift_px=float(np.sqrt(np.mean((moved - shifts) ** 2))),
    )


def true_nuisance(folder: Path, table: ParticleTable) -> dict[str, float]:
    """Spread of contrast, and how far recorded poses are off, per axis, as far as it is known."""
    rotations, shifts = _poses(table)
    images = table.text("rlnImageName")
    known: dict[str, float] = {}
    if (folder / "truth" / "poses.csv").is_file():
        with open(folder / "truth" / "poses.csv", newline="") as file:
            row_of = {row["rlnImageName"]: row for row in csv.DictReader(file)}
        rows = [row_of[image] for image in images]
        column = {
            name: np.array([float(row[name]) for row in rows])
            for name in ("rot", "tilt", "psi", "x_px", "y_px", "contrast")
        }
        true = rotation_from_euler(column["rot"], column["tilt"], column["psi"])
        shift = np.stack([column["x_px"], column["y_px"]], axis=1)
        known["contrast_sd"] = float(column["contrast"].std() / column["contrast"].mean())
    else:  # the set's own STAR file has the exact poses
        exact = ParticleTable(folder / "particles.star")
        row = {image: k for k, image in enumerate(exact.text("rlnImageName"))}
        same = table.path == exact.path  # whose images may come again with other poses
        order = np.array([k if same else row[image] for k, image in enumerate(images)])
        true, shift = (values[order] for values in _poses(exact))
        known["contrast_sd"] = 0.0
    known["shift_px"] = float(np.sqrt(np.mean((shifts - shift) ** 2)))
    known["rotation_deg"] = rotation_error(rotations, true)
    return known


def _poses(table: ParticleTable) -> tuple[np.ndarray, np.ndarray]:
    sampling = table.numbers("rlnImagePixelSize")
    shifts = [table.numbers("rlnOrigin%sAngst" % axis, 0.0) / sampling for axis in "XY"]
    return rotation_from_euler(*map(table.numbers, ANGLES)), np.stack(shifts, axis=1)


def rotation_error(one: np.ndarray, two: np.ndarray) -> float:
    """Root-mean-square angle per axis between two sets of rotations, degrees."""
    squares = ((one - two) ** 2).sum(axis=(1, 2)) / 2  # 4 sin^2(angle / 2)
    angle = 2 * np.arcsin(np.sqrt(np.clip(squares / 4, 0, 1)))
    return float(np.degrees(np.sqrt(np.mean(angle**2) / 3)))
