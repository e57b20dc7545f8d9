"""pcainit simulate DIR: a small set of particles whose truth is known.

DIR holds particles.star, particles.mrcs and truth/ (truth.csv with the state of each image, the
true maps class00.mrc..., poses.csv with the true poses and contrasts).

Example: pcainit simulate demo --particles 4000 --populations 0.6,0.4 --contrast-sd 0.15
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcainit.cli.folders import locked_folder
from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.atomic import remove_unfinished, replacing
from pcainit.io.ownership import mark_map, refuse_foreign
from pcainit.settings import Settings

if TYPE_CHECKING:
    from pcainit.engine.simulation.simulate import Simulation, Truth

# Tables of the truth, and what their columns are called.
_TABLES = {
    "truth/truth.csv": ("rlnImageName", "class"),
    "truth/poses.csv": ("rlnImageName", "rot", "tilt", "psi", "x_px", "y_px", "contrast"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit simulate``."""
    add = parser.add_argument
    add("output", metavar="DIR", help="folder to make")
    add("--particles", type=int, default=4000, help="number of images (default: %(default)s)")
    add("--box", type=int, default=64, help="box, pixels (default: %(default)s)")
    add("--sampling", type=float, default=5.0, help="A per pixel (default: %(default)s)")
    add(
        "--populations",
        default="0.5,0.3,0.2",
        help="share of each state, or one number for a homogeneous set (default: %(default)s)",
    )
    add(
        "--change",
        default="missing",
        choices=("missing", "moving"),
        help="what differs between states: a missing or a moving domain (default: %(default)s)",
    )
    add(
        "--domain",
        type=float,
        default=0.12,
        help="share of the mass in a changing domain (default: %(default)s)",
    )
    add("--snr", type=float, default=0.1, help="signal-to-noise ratio (default: %(default)s)")
    add("--coloured", action="store_true", help="noise that falls off with frequency")
    add("--contrast-sd", type=float, default=0.0, help="spread of contrast (default: %(default)s)")
    add(
        "--pose-error",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("DEG", "PX"),
        help="errors of the recorded poses per axis, degrees and pixels (default: 0 0)",
    )
    add(
        "--preferred-views",
        type=float,
        default=0.0,
        help="share of particles in preferred views (default: %(default)s)",
    )
    add(
        "--state-views",
        default="",
        metavar="SHARES",
        help="share of each state's particles that are seen within 30 degrees of one axis, such as "
        "0.7,0 (default: views do not depend on the state)",
    )
    add("--junk", type=float, default=0.0, help="share of junk images (default: %(default)s)")
    add(
        "--crowding",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the plane that particles cover, 0.3 to 0.5 on dense grids: neighbours show "
        "in the images (default: %(default)s)",
    )
    add(
        "--background",
        type=float,
        default=0.0,
        metavar="SD",
        help="smooth background of each image, in standard deviations of the noise "
        "(default: %(default)s)",
    )
    add(
        "--normalised",
        action="store_true",
        help="mean and deviation outside the particle taken to 0 and 1 in each image",
    )
    add(
        "--refined",
        action="store_true",
        help="recorded poses that fit each image's own noise, as a refinement leaves them",
    )
    add("--seed", type=int, default=0, help="random seed (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """Simulate and write."""
    from pcainit.engine.simulation.simulate import Simulation, draw_truth

    populations = _numbers("populations", args.populations, "0.5,0.3,0.2")
    state_views = _numbers("state_views", args.state_views, "0.7,0") if args.state_views else ()
    highest = Settings.fields()["seed"]["high"]
    if not 0 <= args.seed <= highest:
        raise InputError(
            "seed is %s: give a whole number from 0 to %d." % (shorten(str(args.seed)), highest)
        )
    simulation = Simulation(
        particles=args.particles,
        box_px=args.box,
        sampling=args.sampling,
        populations=populations,
        change=args.change,
        domain=args.domain,
        snr=args.snr,
        coloured=args.coloured,
        contrast_sd=args.contrast_sd,
        pose_error=tuple(args.pose_error),
        preferred_views=args.preferred_views,
        state_views=state_views,
        junk=args.junk,
        crowding=args.crowding,
        background=args.background,
        normalised=args.normalised,
        refined=args.refined,
        seed=args.seed,
    )
    folder, truth = Path(args.output), draw_truth(simulation)
    refuse_foreign(
        folder,
        ("particles.star", "particles.mrcs", "truth/class[0-9][0-9].mrc", *_TABLES),
        beginnings=[",".join(labels) + "\r\n" for labels in _TABLES.values()],
    )
    with locked_folder(folder):
        remove_unfinished(folder / "truth")
        write_simulation(folder, simulation, truth)
    print(folder / "particles.star")
    return 0


def _numbers(name: str, text: str, example: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InputError(
            "%s is %r: give numbers with commas between them, such as %s."
            % (name, shorten(text), example)
        ) from None


def write_simulation(folder: Path, simulation: Simulation, truth: Truth) -> None:
    """Write stack, STAR file and truth of a simulation.

    Parameters
    ----------
    folder : Path
        Gets the images, the STAR file and the truth.
    simulation : Simulation
        How the images are made.
    truth : Truth
        What is in them.
    """
    import mrcfile

    from pcainit.engine.geometry.poses import euler_from_rotation
    from pcainit.engine.simulation.simulate import simulate_images
    from pcainit.io.atomic import write_text
    from pcainit.io.maps import write_map

    (folder / "truth").mkdir(parents=True, exist_ok=True)
    n, box = simulation.particles, simulation.box_px
    with replacing(folder / "particles.mrcs") as temporary, mrcfile.new_mmap(
        str(temporary), shape=(n, box, box), mrc_mode=2, overwrite=True
    ) as mrc:
        for i, image in enumerate(simulate_images(simulation, truth)):
            mrc.data[i] = image
            if sys.stderr.isatty() and i % 100 == 0:
                sys.stderr.write("\rsimulate %3d %%" % (100 * i // n))
        mrc.voxel_size = simulation.sampling
        mark_map(mrc)
        mrc.set_image_stack()
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    names = ["%06d@particles.mrcs" % (i + 1) for i in range(n)]
    for k, phantom in enumerate(truth.phantoms):
        write_map(
            folder / "truth" / ("class%02d.mrc" % k),
            phantom.volume(box, simulation.sampling) * np.float32(truth.mean_gain),
            simulation.sampling,
        )
    poses = np.column_stack(
        [euler_from_rotation(truth.rotations), truth.shifts_px, truth.seen_contrast]
    )
    for name, values in zip(_TABLES, (truth.state[:, None], poses.round(5))):
        _write_csv(folder / name, names, values)
    write_text(folder / "particles.star", _star_text(truth, names))


def _write_csv(path: Path, names: list[str], values: AnyArray) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(_TABLES["truth/" + path.name])
        writer.writerows([name, *row] for name, row in zip(names, values.tolist()))


_OPTICS = """
# simulated by pcainit

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
_rlnImagePixelSize #7
_rlnImageSize #8
_rlnImageDimensionality #9
simulated 1 {0:.6f} 300.0 2.7 0.1 {0:.6f} {1} 2

data_particles

loop_
"""


def _star_text(truth: Truth, names: list[str]) -> str:
    from pcainit.engine.geometry.poses import euler_from_rotation

    particles = truth.particles
    angles = euler_from_rotation(particles.rotations)
    columns = {
        "rlnDefocusU": truth.ctf.defocus_u,
        "rlnDefocusV": truth.ctf.defocus_v,
        "rlnDefocusAngle": truth.ctf.defocus_angle,
        "rlnAngleRot": angles[:, 0],
        "rlnAngleTilt": angles[:, 1],
        "rlnAnglePsi": angles[:, 2],
        "rlnOriginXAngst": particles.shifts_px[:, 0] * particles.sampling,
        "rlnOriginYAngst": particles.shifts_px[:, 1] * particles.sampling,
    }
    labels = ["rlnImageName", "rlnMicrographName", "rlnOpticsGroup", "rlnRandomSubset", *columns]
    numbers = np.stack(list(columns.values()), axis=1)
    rows = [
        "%s mic%04d.mrc 1 %d %s"
        % (name, micrograph, half, " ".join("%.5f" % value for value in row))
        for name, micrograph, half, row in zip(names, truth.micrograph, particles.half, numbers)
    ]
    return (
        _OPTICS.format(particles.sampling, particles.box_px)
        + "\n".join("_%s #%d" % (label, k + 1) for k, label in enumerate(labels))
        + "\n"
        + "\n".join(rows)
        + "\n\n"
    )
