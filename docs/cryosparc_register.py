"""Register a result as an external job of cryoSPARC, and start 3D Classification from it.

Needs cryosparc-tools in the version of the server (``pip install "scipion-em-pcainit[cryosparc]"``)
and a login (``python -m cryosparc.tools login``).  Unproven: written from the documentation of
cryosparc-tools 5; no cryoSPARC was at hand to run it.

Example: python docs/cryosparc_register.py initial --project P3 --workspace W1 --job J42
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mrcfile
import numpy as np


def arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, help="folder of the result")
    parser.add_argument("--project", required=True, help="such as P3")
    parser.add_argument("--workspace", required=True, help="such as W1")
    parser.add_argument("--job", required=True, help="job that the particles are of, such as J42")
    parser.add_argument("--output", default="particles", help="its output (default: %(default)s)")
    parser.add_argument("--url", help="of the server (default: CRYOSPARC_BASE_URL)")
    parser.add_argument("--lane", help="queue the 3D Classification there (default: only build it)")
    return parser.parse_args()


def read_classes(folder: Path) -> list[np.ndarray]:
    """Rows of each class that a result has for cryoSPARC."""
    files = sorted((folder / "cryosparc").glob("class_*.cs"))
    return [np.load(str(path), allow_pickle=False, max_header_size=2**20) for path in files]


def add_particles(job: object, classes: list[np.ndarray]) -> None:
    """One output of particles for each class, with class and posterior on the original ids."""
    source = job.load_input("particles", slots=["alignments3D"])
    for k, rows in enumerate(classes):
        ours = {int(uid): i for i, uid in enumerate(rows["uid"])}
        chosen = source.mask(np.array([int(uid) in ours for uid in source["uid"]]))
        if len(chosen) != len(rows):
            sys.exit("The job's output has only %d of %d particles." % (len(chosen), len(rows)))
        place = np.array([ours[int(uid)] for uid in chosen["uid"]])
        for name in ("class", "class_posterior"):
            field = "alignments3D/" + name
            if field not in chosen.fields():
                chosen.add_fields([field], ["u4" if name == "class" else "f4"])
            chosen[field] = rows[field][place]
        name = "class_%d" % (k + 1)
        job.add_output("particle", name, slots=["alignments3D"], passthrough="particles")
        job.save_output(name, chosen)


def add_volumes(job: object, paths: list[Path]) -> None:
    """One output for each volume, uploaded into the job's folder."""
    for k, path in enumerate(paths):
        job.upload(path.name, str(path))
        name = "volume_%d" % (k + 1)
        output = job.add_output("volume", name, slots=["map"], alloc=1)
        with mrcfile.open(str(path), header_only=True) as mrc:
            output["map/psize_A"] = float(mrc.voxel_size.x)
            output["map/shape"] = [int(mrc.header.nz), int(mrc.header.ny), int(mrc.header.nx)]
        output["map/path"] = "%s/%s" % (job.uid, path.name)
        job.save_output(name, output)


def main() -> None:
    """Register, then build the classification."""
    args = arguments()
    classes = read_classes(args.result)
    volumes = sorted((args.result / "volumes").glob("class_*.mrc"))
    if not classes or not volumes:
        sys.exit("%s has no classes for cryoSPARC: give the result of its particles." % args.result)
    try:
        from cryosparc.tools import CryoSPARC
    except ImportError:
        sys.exit("cryosparc-tools is missing: install it in the version of the server.")
    server = CryoSPARC(args.url) if args.url else CryoSPARC()
    project = server.find_project(args.project)
    job = project.create_external_job(args.workspace, title="pcainit: initial volumes and classes")
    job.connect("particles", args.job, args.output, slots=["blob", "ctf", "alignments3D"])
    with job.run():
        add_particles(job, classes)
        add_volumes(job, volumes)
    classify = project.create_job(
        args.workspace,
        "class_3D",
        connections={
            "particles": (args.job, args.output),
            "volume": [(job.uid, "volume_%d" % (k + 1)) for k in range(len(volumes))],
        },
        params={"class3D_init_mode": "input", "class3D_N_K": len(volumes)},
    )
    if args.lane:
        classify.queue(args.lane)
    print("%s: particles and volumes; %s: 3D Classification" % (job.uid, classify.uid))


if __name__ == "__main__":
    main()
