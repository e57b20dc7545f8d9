"""pcainit latents PARTICLES.star COORDINATES -o DIR: volumes from latent coordinates.

COORDINATES are of any program: an .npy or .npz array or a text table, with one row for each row of
the STAR file in its order, or cryoSPARC's .cs file of 3D Variability.  The rows of a .cs file are
matched by unique ids where the STAR file has them (ucsfUid), else by the images that both files
name; where they name none in common, by their defocus values where these tell the particles apart;
else the order is taken at its word, unless the defocus values contradict it.

The coordinates are clustered by a Gaussian mixture, or cut in even steps along one of them
(--along), and each cluster's particles are back-projected with their shares as weights.  Junk is
not looked for, and contrast and poses are taken as they are recorded: clean the particles before.

Example: pcainit latents particles.star z.npy -o seeds --classes 4
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pcainit.cli.folders import locked_folder
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import Reporter
from pcainit.cli.run import announce


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit latents``."""
    parser.add_argument("particles", help="RELION particle STAR file with poses and CTF")
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
    settings = settings_from(args)
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.engine.geometry.poses import symmetry_matrices
    from pcainit.io.coordinates import match_coordinates
    from pcainit.io.star import ParticleTable
    from pcainit.output.particle_summary import left_out, set_aside
    from pcainit.output.publish import (
        class_sizes,
        record,
        refuse_overwriting,
        same_table,
        write_result,
    )
    from pcainit.output.words.latents import verdict
    from pcainit.pipeline import runner
    from pcainit.pipeline.routes import from_latents
    from pcainit.pipeline.store import Workspace

    output = Path(args.output)
    refuse_overwriting(output, args.particles, args.coordinates, settings.mask)
    coordinates, matched_by = match_coordinates(args.coordinates, ParticleTable(args.particles))
    from_latents.check_axis(args.along, coordinates.shape[1], settings)
    set_threads(args.threads)
    workspace, reporter, done = Workspace(None, scratch=output), Reporter(), []
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
        stages, grid = done[0], slices.grid
        final = stages["volumes"]
        summary: dict[str, Any] = dict(
            record(settings, grid, "latents", args.threads, reporter.seconds, along=args.along),
            particles=len(slices),
            classes=len(final["volumes"]),
            class_weights=final["weights"],
            class_sizes=class_sizes(final),
            pairwise_differences=final["pairwise"],
            **left_out(workspace, stages["reconstruct"]),
            coordinates=args.coordinates,
            matched_by=matched_by,
            verdict=verdict(stages, settings, args.along, matched_by),
        )
        written = write_result(
            output,
            stages,
            grid,
            summary,
            threads=args.threads,
            table=same_table(args.particles, str(workspace.get("prepare")["star_identity"])),
            aside=set_aside(workspace.get("prepare")),
        )
    announce(output, written)
    return 0
