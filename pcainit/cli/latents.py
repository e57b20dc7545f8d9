"""pcainit latents PARTICLES.star COORDINATES -o DIR: volumes from latent coordinates.

COORDINATES are of any program: an .npy or .npz array or a text table, with one row for each row of
the STAR file in its order, or cryoSPARC's .cs file of 3D Variability.  The rows of a .cs file are
matched by unique ids where the STAR file has them (ucsfUid), else by the images that both files
name; where they name none in common, by their defocus values where these tell the particles apart;
else the order of the rows is trusted, unless the defocus values contradict it.

The coordinates are clustered by a Gaussian mixture, or cut in even steps along one of them
(--along), and each cluster's particles are back-projected with their shares as weights.  Junk is
not looked for, and contrast and poses are taken as they are recorded: clean the particles before.

Example: pcainit latents particles.star z.npy -o seeds --classes 4
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path

from pcainit.cli.folders import locked_folder
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import Reporter
from pcainit.cli.run import announce


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit latents``."""
    parser.add_argument(
        "particles",
        help="particles with poses and CTF: a RELION STAR file, or cryoSPARC's .cs, .csg or "
        "job folder",
    )
    parser.add_argument("coordinates", help="latent coordinates, one row for each particle")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="folder for the volumes, classes and report",
    )
    parser.add_argument(
        "--along",
        type=int,
        default=0,
        metavar="AXIS",
        help="volumes at even steps along this coordinate, counted from 1, in place of a mixture",
    )
    parser.add_argument("--data-dir", metavar="ROOT", help="folder that image paths start from")
    add_settings(parser, "latents")


def main(args: argparse.Namespace) -> int:
    """Cluster, reconstruct, write."""
    settings = settings_from(args).at_one_resolution()
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.engine.geometry.poses import symmetry_matrices
    from pcainit.io.coordinates import match_coordinates
    from pcainit.io.cryosparc_particles import open_particles
    from pcainit.output.publish import same_table, write_result
    from pcainit.output.result_folder import ResultFolder
    from pcainit.output.summarise import describe_making, summarise_latents
    from pcainit.output.summary import Coordinates
    from pcainit.output.words.latents import verdict
    from pcainit.pipeline import runner
    from pcainit.pipeline.prepare_result import PrepareResult
    from pcainit.pipeline.results import RunResults
    from pcainit.pipeline.routes import from_latents
    from pcainit.pipeline.store import Workspace

    output = Path(args.output)
    folder = ResultFolder(output)
    folder.refuse_overwriting(args.particles, args.coordinates, settings.mask)
    coordinates, matched_by = match_coordinates(args.coordinates, open_particles(args.particles))
    from_latents.check_axis(args.along, coordinates.shape[1], settings)
    set_threads(args.threads)
    kept.begin()
    workspace, reporter = Workspace(None, scratch=output), Reporter()
    done: list[RunResults] = []
    with locked_folder(output):
        reporter.run(
            "prepare",
            lambda progress: runner.prepare(
                workspace, args.particles, args.data_dir, settings, args.threads, progress
            ),
        )
        slices = workspace.slices()
        reporter.run(
            "volumes",
            lambda progress: done.append(
                from_latents.reconstruct(
                    slices,
                    coordinates,
                    settings,
                    symmetry_matrices(settings.symmetry),
                    args.along,
                    progress,
                )
            ),
        )
        (results,) = done
        making = describe_making(
            settings, slices.grid, args.threads, reporter.seconds, "latents", along=args.along
        )
        given = Coordinates(args.coordinates, matched_by)
        summary = summarise_latents(workspace, making, results, given).as_dict()
        summary["verdict"] = verdict(results, settings, args.along, matched_by)
        written = write_result(
            folder,
            results,
            summary,
            threads=args.threads,
            table=same_table(args.particles, workspace.get(PrepareResult).star_identity),
            aside=workspace.get(PrepareResult).set_aside,
        )
    announce(output, written)
    return 0
