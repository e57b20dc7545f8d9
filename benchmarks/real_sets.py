"""Sets with known truth made from real particles of one homogeneous molecule.

python benchmarks/real_sets.py FOLDER SET given|random|expanded|add|twin [...]

FOLDER holds `particles.star` (poses and CTF), its stack and `consensus.mrc`, their reconstruction
on the images' greyscale.  Real particles have what no simulation has all of: neighbours, uneven
background, real noise, poses refined against that noise.  As they are, they answer whether a run
finds something where nothing is; with a density added to some of them, whether it finds that; and
a simulated twin with the same poses, CTF and places tells which of their traits is at fault.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence, Tuple

import mrcfile
import numpy as np
from densities import Projector, make_density, solid_of
from scipy.spatial.transform import Rotation
from truth_sets import ANGLES, data_root

from pcainit.engine.geometry.grid import radial_distance
from pcainit.engine.geometry.poses import euler_from_rotation, symmetry_matrices
from pcainit.engine.images.particles import Particles, image_numbers
from pcainit.io.maps import read_map, write_map
from pcainit.io.particle_table import ParticleTable
from pcainit.io.stacks import read_chunks
from pcainit.io.star import read_particles

BACKGROUND = 0.375  # of the box: radius beyond which images are normalised
PART = 256  # images at a time
Density = Tuple[str, float, float]  # kind, kDa, share of the particles


@dataclass(frozen=True, eq=False)
class RealSet:
    """The particles that sets are made from.

    Parameters
    ----------
    table : ParticleTable
    particles : Particles
    consensus : (box, box, box) float32
        Their reconstruction, on the images' greyscale.
    """

    table: ParticleTable
    particles: Particles
    consensus: np.ndarray

    @property
    def sampling(self) -> float:
        """Angstrom per pixel."""
        return self.particles.sampling

    def images(self) -> np.ndarray:
        """All images in the order of the rows, (n, box, box) float32."""
        box = self.particles.box_px
        out = np.empty((len(self.particles), box, box), np.float32)
        for index, read in read_chunks(
            self.particles.stacks, self.particles.stack, self.particles.row, PART
        ):
            out[index] = read()
        return out


def read_real(
    folder: Path, star: str = "particles.star", consensus: str = "consensus.mrc"
) -> RealSet:
    """The particles of a folder; image paths start from it or above it."""
    path = Path(folder).resolve() / star
    table = ParticleTable(path)
    particles = read_particles(table, str(data_root(path)))
    volume, _ = read_map(path.parent / consensus, "consensus")
    if len(volume) != particles.box_px:
        raise SystemExit(
            "%s has %d pixels, the images %d: they must be equal."
            % (consensus, len(volume), particles.box_px)
        )
    return RealSet(table, particles, volume)


# ------------------------------- Poses ---------------------------------------


def random_poses(particles: Particles, group: str, rng: np.random.Generator) -> np.ndarray:
    """Each particle at one of its symmetry-related poses, (n, 3, 3)."""
    symmetry = symmetry_matrices(group)
    return particles.rotations @ symmetry[rng.integers(0, len(symmetry), len(particles))]


def make_given(real: RealSet, folder: Path) -> None:
    """A set of the particles as they are."""
    write_set(folder, real, [real.consensus], images=real.images())


def make_random(real: RealSet, folder: Path, group: str, seed: int) -> None:
    """A set with each particle at a random one of its equivalent poses.

    Refined poses lie in one asymmetric unit: without the symmetry, half of all views are missing.
    """
    rotations = random_poses(real.particles, group, np.random.default_rng(seed))
    write_set(folder, real, [real.consensus], images=real.images(), rotations=rotations)


def make_expanded(real: RealSet, folder: Path, group: str) -> None:
    """A set with each image at all of its equivalent poses."""
    symmetry = symmetry_matrices(group)
    rotations = (real.particles.rotations[:, None] @ symmetry).reshape(-1, 3, 3)
    write_set(
        folder,
        real,
        [real.consensus],
        images=real.images(),
        rotations=rotations,
        copies=len(symmetry),
    )


# ------------------------------- Positives -----------------------------------


def make_positive(
    real: RealSet, folder: Path, densities: Sequence[Density], mass: float, group: str, seed: int
) -> None:
    """A set in which densities are added to some of the images, each to others (classes 1, 2...).

    Poses are drawn among the equivalent ones, or the place would be the same on all copies.
    """
    rng, particles = np.random.default_rng(seed), real.particles
    rotations, images = random_poses(particles, group, rng), real.images()
    solid, level = solid_of(real.consensus, real.sampling, mass)
    bounds = np.cumsum([share for _, _, share in densities])
    states = (np.searchsorted(bounds, rng.random(len(images)), side="right") + 1) % (
        len(densities) + 1
    )
    maps = [real.consensus]
    for state, (kind, kda, _) in enumerate(densities, 1):
        density = make_density(kind, kda, solid, level, real.sampling, rng)
        mine = np.flatnonzero(states == state)
        images[mine] += Projector(density, real.sampling).images(
            particles.ctf and particles.ctf.take(mine), rotations[mine], particles.shifts_px[mine]
        )
        maps.append(real.consensus + density)
    write_set(folder, real, maps, states=states, images=images, rotations=rotations)


# ------------------------------- Twins ---------------------------------------


def make_twin(
    real: RealSet,
    folder: Path,
    neighbours: bool = False,
    contrast: float = 0.0,
    pose_error: tuple[float, float] = (0.0, 0.0),
    noise: float = 0.95,
    seed: int = 0,
) -> None:
    """A simulated set: the consensus at the same poses, CTF and places, in white noise.

    Parameters
    ----------
    real : RealSet
    folder : Path
    neighbours : bool
        The other particles of a micrograph are seen in the image where they reach into it.
    contrast : float
        Standard deviation of its logarithm.
    pose_error : tuple of float
        How far the recorded poses are off, degrees and pixels per axis.
    noise : float
        Standard deviation, before images are normalised by their backgrounds.
    seed : int
    """
    rng, particles, box = np.random.default_rng(seed), real.particles, real.particles.box_px
    n, margin = len(particles), box // 2
    off = Rotation.from_rotvec(np.radians(rng.normal(0, pose_error[0], (n, 3)))).as_matrix()
    rotations = particles.rotations @ off
    shifts = particles.shifts_px + rng.normal(0, pose_error[1], (n, 2)).astype(np.float32)
    strength = np.exp(rng.normal(0, contrast, n)).astype(np.float32)
    # In twice the box: what the CTF spreads beyond an image reaches into the neighbours'.
    wide = Projector(np.pad(real.consensus - np.median(real.consensus[0]), margin), real.sampling)
    images, places = np.empty((n, box, box), np.float32), centres(real)
    for mine in micrographs(real) if neighbours else np.array_split(np.arange(n), n // 100 + 1):
        ctf = particles.ctf and particles.ctf.take(mine)
        seen = wide.images(ctf, rotations[mine], shifts[mine]) * strength[mine, None, None]
        if not neighbours:
            images[mine] = seen[:, margin : margin + box, margin : margin + box]
            continue
        corner = places[mine] - places[mine].min(axis=0)
        micrograph = np.zeros(corner.max(axis=0)[::-1] + 2 * box, np.float32)
        for (x, y), image in zip(corner, seen):
            micrograph[y : y + 2 * box, x : x + 2 * box] += image
        for k, (x, y) in zip(mine, corner + margin):
            images[k] = micrograph[y : y + box, x : x + box]
    images += noise * rng.standard_normal(images.shape, dtype=np.float32)
    outside = images[:, radial_distance(box)[box // 2] > BACKGROUND * box]
    images -= outside.mean(axis=1)[:, None, None]
    images /= outside.std(axis=1)[:, None, None]
    true = np.column_stack([euler_from_rotation(rotations), shifts, strength])
    write_set(folder, real, [real.consensus], images=images, true=true)


def centres(real: RealSet) -> np.ndarray:
    """Where the images were cut from, (x, y) in their own pixels, (n, 2) int."""
    table = real.table
    pixel = table.numbers("rlnMicrographOriginalPixelSize", real.sampling)
    both = [table.numbers("rlnCoordinate" + axis, 0.0) * pixel / real.sampling for axis in "XY"]
    return np.rint(np.stack(both, axis=1)).astype(int)


def micrographs(real: RealSet) -> list[np.ndarray]:
    """The particles of each micrograph."""
    missing = [
        label
        for label in ("rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY")
        if not real.table.has(label)
    ]
    if missing:
        raise SystemExit(
            "%s does not say where its particles lie (%s): neighbours are not known."
            % (real.table.path, ", ".join(missing))
        )
    _, number = np.unique(real.table.text("rlnMicrographName"), return_inverse=True)
    return np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])


# ------------------------------- Files ---------------------------------------


def write_set(
    folder: Path,
    real: RealSet,
    maps: Sequence[np.ndarray],
    images: np.ndarray,
    states: np.ndarray | None = None,
    rotations: np.ndarray | None = None,
    copies: int = 1,
    true: np.ndarray | None = None,
) -> None:
    """Write a set as benchmarks/README.md describes it.

    Parameters
    ----------
    folder : Path
    real : RealSet
        Whose rows are kept, with new image names.
    maps : list of (box, box, box)
        The true ones.
    images : (n, box, box) float32
    states : (n,) int, optional
        All 0 by default.
    rotations : (n * copies, 3, 3), optional
        Recorded poses; those of the particles by default.
    copies : int
        How often each row comes, one after the other.
    true : (n, 6), optional
        True rot, tilt, psi, x and y (pixels) and contrast, where they are not the recorded ones.
    """
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    with mrcfile.new(folder / "particles.mrcs", images, overwrite=True) as file:
        file.set_image_stack()
        file.voxel_size = real.sampling
    for number, volume in enumerate(maps):
        write_map(folder / "truth" / ("class%02d.mrc" % number), volume, real.sampling)
    # An image that comes several times with poses of its own stays one image.
    image = image_numbers(real.particles.stack, real.particles.row)
    first = np.unique(image, return_index=True)[1][image]
    names = [
        "%06d@particles.mrcs" % (k + 1)
        for k in (first if states is None and true is None else range(len(images)))
    ]
    states = np.zeros(len(images), int) if states is None else states
    _write_table(folder / "truth" / "truth.csv", ("rlnImageName", "class"), zip(names, states))
    if true is not None:
        _write_table(
            folder / "truth" / "poses.csv",
            ("rlnImageName", "rot", "tilt", "psi", "x_px", "y_px", "contrast"),
            ((name, *row) for name, row in zip(names, true.tolist())),
        )
    columns: dict[str, list[str]] = {"rlnImageName": list(np.repeat(names, copies))}
    if rotations is not None:
        for label, values in zip(ANGLES, euler_from_rotation(rotations).T):
            columns[label] = ["%.6f" % value for value in values]
    table, star = real.table, folder / "particles.star"
    if copies > 1:
        with open(table.path) as lines, open(star, "w") as out:
            out.writelines(line * (copies if "@" in line else 1) for line in lines)
        table = ParticleTable(star)
    else:
        table = ParticleTable(table.path)  # `write_with` changes it
    table.write_with(star, columns)


def _write_table(path: Path, head: tuple[str, ...], rows: object) -> None:
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows(rows)


def main() -> None:
    """Make the set that was asked for."""
    args = _arguments()
    real, rest = read_real(args.folder, args.star), (args.symmetry, args.seed)
    if args.kind == "given":
        make_given(real, args.set)
    elif args.kind == "random":
        make_random(real, args.set, *rest)
    elif args.kind == "expanded":
        make_expanded(real, args.set, args.symmetry)
    elif args.kind == "add":
        make_positive(
            real, args.set, [parse_density(word) for word in args.density], args.mass, *rest
        )
    else:
        make_twin(
            real,
            args.set,
            args.neighbours,
            args.contrast,
            tuple(args.pose_error),
            args.noise,
            args.seed,
        )
    print("made", args.set, flush=True)


def parse_density(word: str) -> Density:
    """`kind:kDa:share` as a density."""
    try:
        kind, kda, share = word.split(":")
        return kind, float(kda), float(share)
    except ValueError:
        raise SystemExit(
            "--density is %r: give kind:kDa:share, as in outside:60:0.4." % word
        ) from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="particles.star, its stack, consensus.mrc")
    parser.add_argument("set", type=Path, metavar="SET", help="folder to write")
    parser.add_argument("kind", choices=("given", "random", "expanded", "add", "twin"))
    parser.add_argument("--star", default="particles.star", help="which STAR file of the folder")
    parser.add_argument("--symmetry", default="c1", help="of the particles (random, expanded, add)")
    parser.add_argument(
        "--density",
        nargs="+",
        default=["outside:60:0.4"],
        metavar="KIND:KDA:SHARE",
        help="add: outside, cavity or subunit (taken away); one for each class",
    )
    parser.add_argument("--mass", type=float, default=480.0, help="add: of the particle, kDa")
    parser.add_argument("--neighbours", action="store_true", help="twin: all of the micrograph's")
    parser.add_argument("--contrast", type=float, default=0.0, help="twin: standard deviation")
    parser.add_argument(
        "--pose-error",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("DEGREES", "PIXELS"),
        help="twin: of the recorded poses, per axis",
    )
    parser.add_argument("--noise", type=float, default=0.95, help="twin: standard deviation")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
