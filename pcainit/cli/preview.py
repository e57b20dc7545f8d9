"""pcainit preview PARTICLES.star -o DIR: a look at the consensus before a run.

Reconstructs some of the particles and writes DIR/preview.png, which shows the consensus at several
resolutions with the automatic mask, and DIR/preview.npz, from which Scipion's wizards draw.

The parameters are those of run, so that its options can be given as they are.  Of them only
--resolution, --no-ctf, --invert-contrast, --normalise, --seed and those of the automatic mask
(--mask-threshold, --mask-near, --mask-far) change the preview.

Example: pcainit preview particles.star -o look --at 12,20,30
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
from pathlib import Path

from pcainit.cli.folders import locked_folder
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import Reporter
from pcainit.errors import InputError, shorten

DEFAULT = (10.0, 15.0, 20.0, 30.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``pcainit preview``."""
    parser.add_argument(
        "particles",
        help="particles with poses and CTF: a RELION STAR file, or cryoSPARC's .cs, .csg or "
        "job folder",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for the two files"
    )
    parser.add_argument(
        "--at",
        default="",
        metavar="A,A,...",
        help="resolutions to show, Angstrom (default: 10,15,20,30 and the one of "
        "--resolution, as far as the particles allow)",
    )
    parser.add_argument(
        "--most", type=int, default=1000, help="particles to use at most (default: %(default)s)"
    )
    parser.add_argument(
        "--total",
        type=int,
        default=0,
        help="particles of the whole set, when the "
        "STAR file holds only some (default: those in the file)",
    )
    parser.add_argument("--data-dir", metavar="ROOT", help="folder that image paths start from")
    add_settings(parser)


def main(args: argparse.Namespace) -> int:
    """Make the preview and its picture."""
    settings = settings_from(args)
    wanted = _numbers(args.at)
    if args.most < 50:
        raise InputError("most is %d: give at least 50." % args.most)
    if not 0 <= args.total <= 10**12:
        raise InputError("total is %d: give the number of particles of the whole set." % args.total)
    from pcainit.engine.compiled import kept
    from pcainit.engine.compiled.threads import set_threads
    from pcainit.io.atomic import replacing
    from pcainit.io.ownership import MARK, refuse_foreign
    from pcainit.output.drawing import prepare_drawing
    from pcainit.pipeline.routes.preview import Preview, make_preview, write_preview

    folder = Path(args.output)
    refuse_foreign(folder, ("preview.png", "preview.npz"))
    set_threads(args.threads)
    kept.begin()
    found: list[Preview] = []
    Reporter().run(
        "preview",
        lambda progress: found.append(
            make_preview(
                args.particles,
                args.data_dir,
                settings,
                total=args.total,
                most=args.most,
                threads=args.threads,
                progress=progress,
            )
        ),
    )
    (preview,) = found
    shown = sorted(
        value
        for value in set(wanted or (*DEFAULT, settings.resolution))
        if preview.finest <= value <= preview.coarsest
    )
    shown = shown or [preview.finest]
    volumes = [("%g Å" % value, preview.low_passed(value)) for value in shown]
    mask = preview.mask(
        preview.low_passed(min(max(settings.resolution, preview.finest), preview.coarsest)),
        settings.mask_threshold,
        settings.mask_near,
        settings.mask_far,
    )
    with locked_folder(folder):
        prepare_drawing(folder)
        from pcainit.output.plots.preview import resolution_figure

        figure = resolution_figure(volumes, preview.grid.voxel, mask)
        write_preview(preview, folder / "preview.npz")
        with replacing(folder / "preview.png") as temporary:
            figure.savefig(temporary, format="png", dpi=100, metadata={"Software": MARK})
    print(
        "Consensus of %d particles; the cropped images of all %d take %.0f MB at %g A."
        % (
            preview.count,
            preview.total,
            preview.megabytes(settings.resolution),
            settings.resolution,
        )
    )
    print(folder / "preview.png")
    return 0


def _numbers(text: str) -> list[float]:
    try:
        values = [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        values = [0.0]
    if any(not 0 < value < 1e6 for value in values):
        raise InputError(
            "at is %r: give resolutions in Angstrom, for instance 12,20,30." % shorten(text)
        )
    return values
