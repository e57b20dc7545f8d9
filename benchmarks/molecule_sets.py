"""Sets of other molecules with the defects of real data, projected by RELION's own program.

python benchmarks/molecule_sets.py WORK [SET ...] --ribosome 4V5A.mmtf --cftr 6msm.pdb

Needs gemmi, mmtf-python and `relion_project` on the PATH.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import csv
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import mrcfile
import numpy as np
from molecules import Atoms, channel, density, large_subunit, ratchet, small_subunit, swivel
from scipy.spatial.transform import Rotation

ANGLES = "ZYZ"  # RELION's Euler angles
CONTRAST_SD, POSE_ERROR, SHIFT_ERROR = 0.15, 1.5, 0.7  # -, degrees and pixels per axis
JUNK, VIEWS, VIEW_SPREAD = 0.03, 0.5, 25.0  # shares of all particles; degrees about a view
GROUP = 100  # particles of one micrograph
# Beside those with --harsh: share of images with a neighbour, how far away (of the box), standard
# deviations of the recorded defocus (A) and of a micrograph's noise.
NEIGHBOURS, FAR, DEFOCUS_ERROR, NOISE_SPREAD = 0.4, (0.55, 0.75), 300.0, 0.15


@dataclass(frozen=True)
class Recipe:
    """One set: its states, from which file, their particles, the images' box, pixel (A) and SNR."""

    states: Callable[[str], list[Atoms]]
    source: str
    counts: tuple[int, ...]
    box: int
    pixel: float
    snr: float
    seed: int
    belt: bool = False


RECIPES: dict[str, Recipe] = {
    "F": Recipe(small_subunit, "ribosome", (11000, 6000, 3000), 96, 3.5, 0.05, 6001),
    "G": Recipe(ratchet, "ribosome", (8000, 5000, 2000), 96, 4.0, 0.1, 7001),
    "H": Recipe(large_subunit, "ribosome", (10000,), 96, 3.5, 0.1, 8001),
    "I": Recipe(channel, "cftr", (12000, 8000), 96, 2.0, 0.03, 9001, belt=True),
    "J": Recipe(swivel, "ribosome", (7000, 5000, 3000), 100, 3.6, 0.07, 10001),
}


# ------------------------------- Particles -----------------------------------


def poses(rng: np.random.Generator, count: int) -> Rotation:
    """Half of the particles anywhere, half within some 25 degrees of one of two views."""
    anywhere = Rotation.random(count, random_state=rng)
    views = Rotation.random(2, random_state=rng)[rng.integers(0, 2, count)]
    spin = Rotation.from_euler("z", rng.uniform(-180, 180, (count, 1)), degrees=True)
    near = Rotation.from_rotvec(np.radians(rng.normal(0, VIEW_SPREAD, (count, 3)))) * views * spin
    chosen = rng.random(count) < VIEWS
    both = np.where(chosen[:, None], near.as_quat(), anywhere.as_quat())
    return Rotation.from_quat(both)


HEAD = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnMicrographOriginalPixelSize #7
_rlnImageSize #8
_rlnImageDimensionality #9
group1 1 300.0 2.7 0.1 %(pixel).6f %(pixel).6f %(box)d 2

data_particles

loop_
"""
COLUMNS = (
    "rlnImageName",
    "rlnMicrographName",
    "rlnOpticsGroup",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
)


def write_star(path: Path, recipe: Recipe, rows: list[tuple]) -> None:
    """A particle file of RELION 3.1."""
    with open(path, "w") as file:
        file.write(HEAD % dict(pixel=recipe.pixel, box=recipe.box))
        for number, name in enumerate(COLUMNS, 1):
            file.write("_%s #%d\n" % (name, number))
        for row in rows:
            file.write(" ".join("%.6f" % v if isinstance(v, float) else str(v) for v in row) + "\n")


def project(volume: Path, star: Path, stem: Path) -> np.ndarray:
    """Noiseless images with their CTF, by RELION."""
    subprocess.run(
        ["relion_project", "--i", str(volume), "--o", str(stem), "--ang", str(star), "--ctf"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return mrcfile.read(stem.with_suffix(".mrcs"))


def coloured(rng: np.random.Generator, count: int, box: int) -> np.ndarray:
    """Noise of unit variance, three times as strong at low as at high frequencies."""
    frequency = np.hypot(np.fft.fftfreq(box)[:, None], np.fft.rfftfreq(box))
    gain = np.sqrt(1 + 8 / (1 + (frequency / 0.05) ** 2))
    noise = rng.standard_normal((count, box, box), dtype=np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(noise) * gain, s=(box, box)).astype(np.float32)
    return noise / noise.std()


def junk(rng: np.random.Generator, box: int, power: float) -> np.ndarray:
    """No particle: ice, or a few blobs at random places."""
    image = np.zeros((box, box), np.float32)
    y, x = np.indices((box, box))
    for _ in range(rng.choice([0, 3, 6])):
        middle, size = rng.uniform(0.25, 0.75, 2) * box, rng.uniform(0.03, 0.12) * box
        image -= np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / (2 * size**2))
    return image * np.sqrt(power / image.var()) if image.any() else image


def add_neighbours(rng: np.random.Generator, stack: np.ndarray) -> None:
    """Parts of other particles at the edges of images, in place."""
    count, box = len(stack), stack.shape[1]
    chosen = np.flatnonzero(rng.random(count) < NEIGHBOURS)
    other, angle = rng.integers(0, count, len(chosen)), rng.uniform(0, 2 * np.pi, len(chosen))
    away = box * rng.uniform(*FAR, len(chosen)) * [np.sin(angle), np.cos(angle)]
    images = stack[other]
    for k, image, (down, right) in zip(chosen, images, np.rint(away.T).astype(int)):
        rows, columns = (
            slice(max(down, 0), box + min(down, 0)),
            slice(max(right, 0), box + min(right, 0)),
        )
        stack[k, rows, columns] += image[
            max(-down, 0) : box - max(down, 0), max(-right, 0) : box - max(right, 0)
        ]


def normalise(images: np.ndarray) -> None:
    """Mean 0 and variance 1 outside the circle that fits into the box, in place."""
    box = images.shape[1]
    y, x = np.indices((box, box)) - box // 2
    outside = images[:, np.hypot(x, y) > 0.45 * box]
    images -= outside.mean(axis=1)[:, None, None]
    images /= outside.std(axis=1)[:, None, None]


def make(name: str, recipe: Recipe, work: Path, source: str, harsh: bool = False) -> None:
    """One set's folder, as benchmarks/README.md describes it."""
    folder, rng = work / name, np.random.default_rng(recipe.seed)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    maps = [
        density(atoms, recipe.box, recipe.pixel, recipe.belt) for atoms in recipe.states(source)
    ]
    count = sum(recipe.counts)
    states = rng.permutation(np.repeat(np.arange(len(maps)), recipe.counts))
    true, shifts = poses(rng, count), rng.normal(0, 1.0, (count, 2))
    micrograph = np.arange(count) // GROUP
    mean = rng.uniform(8000, 25000, micrograph[-1] + 1)[micrograph] + rng.normal(0, 150, count)
    split = rng.uniform(0, 400, micrograph[-1] + 1)[micrograph]
    angle = rng.uniform(0, 180, micrograph[-1] + 1)[micrograph]
    euler = true.as_euler(ANGLES, degrees=True)

    def row(k: int, image: str, angles: np.ndarray, shift: np.ndarray) -> tuple:
        return (
            image,
            "mic%04d.mrc" % micrograph[k],
            1,
            mean[k] + split[k] / 2,
            mean[k] - split[k] / 2,
            angle[k],
            *angles,
            *(float(s) for s in shift * recipe.pixel),
        )

    stack, scale = np.empty((count, recipe.box, recipe.box), np.float32), None
    for state in np.argsort(recipe.counts)[::-1]:
        chosen, path = np.flatnonzero(states == state), folder / "truth" / ("class%02d.mrc" % state)
        star, stem = folder / "in.star", folder / "clean"
        write_star(
            star,
            recipe,
            [row(k, "%06d@none.mrcs" % (n + 1), euler[k], shifts[k]) for n, k in enumerate(chosen)],
        )
        _write_map(path, maps[state], recipe.pixel)
        clean = project(path, star, stem)
        if scale is None:  # the most populated state sets the greyscale
            scale = np.sqrt(recipe.snr / np.mean([image.var() for image in clean]))
        stack[chosen] = clean * scale
        _write_map(path, maps[state] * scale, recipe.pixel)
        for path in (star, stem.with_suffix(".mrcs"), stem.with_suffix(".star")):
            path.unlink()
    contrast = np.clip(rng.normal(1, CONTRAST_SD, count), 0.3, 2).astype(np.float32)
    stack *= contrast[:, None, None]
    bad = rng.random(count) < JUNK
    for k in np.flatnonzero(bad):
        stack[k] = junk(rng, recipe.box, recipe.snr)
    states = np.where(bad, -1, states)
    strength = np.ones(count, np.float32)
    if harsh:
        add_neighbours(rng, stack)
        strength = np.exp(rng.normal(0, NOISE_SPREAD, micrograph[-1] + 1))[micrograph]
        mean = mean + rng.normal(0, DEFOCUS_ERROR, count)
    for first in range(0, count, 1000):
        part = stack[first : first + 1000]
        part += coloured(rng, len(part), recipe.box) * strength[
            first : first + 1000, None, None
        ].astype(np.float32)
        if harsh:
            normalise(part)
    with mrcfile.new(folder / "particles.mrcs", stack, overwrite=True) as file:
        file.set_image_stack()
        file.voxel_size = recipe.pixel
    off = Rotation.from_rotvec(np.radians(rng.normal(0, POSE_ERROR, (count, 3))))
    recorded = (true * off).as_euler(ANGLES, degrees=True)
    moved = shifts + rng.normal(0, SHIFT_ERROR, (count, 2))
    images = ["%06d@particles.mrcs" % (k + 1) for k in range(count)]
    write_star(
        folder / "particles.star",
        recipe,
        [row(k, images[k], recorded[k], moved[k]) for k in range(count)],
    )
    _write_table(folder / "truth" / "truth.csv", ("rlnImageName", "class"), zip(images, states))
    _write_table(
        folder / "truth" / "poses.csv",
        ("rlnImageName", "rot", "tilt", "psi", "x_px", "y_px", "contrast"),
        zip(images, *euler.T, *shifts.T, contrast),
    )


def _write_map(path: Path, volume: np.ndarray, pixel: float) -> None:
    with mrcfile.new(path, volume.astype(np.float32), overwrite=True) as file:
        file.voxel_size = pixel


def _write_table(path: Path, head: tuple[str, ...], rows: object) -> None:
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows(rows)


def main() -> None:
    """Make the sets that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("sets", nargs="*", default=list(RECIPES))
    parser.add_argument("--ribosome", help="PDB 4V5A as MMTF")
    parser.add_argument("--cftr", help="PDB 6MSM")
    parser.add_argument(
        "--harsh",
        action="store_true",
        help="also neighbours at the edges, wrong "
        "defocus, and noise and greyscale that differ between images",
    )
    args = parser.parse_args()
    for name in args.sets:
        make(name, RECIPES[name], args.work, getattr(args, RECIPES[name].source), args.harsh)
        print("made", args.work / name, flush=True)


if __name__ == "__main__":
    main()
