"""Optics groups of two pixel sizes and boxes, one of them stretched by 2 %, against one group.

A homogeneous set has to have no certified component, and two states have to be told apart as
well as in images of one kind: within 0.01 of the adjusted Rand index, in the median over some
seeds.  Particles, poses and states of a seed are the same in all kinds, the noise is not.  The
images are made exactly, from RELION's definitions alone (`pcainit.tests.optics_examples`).

Beside it stands what the images can tell at all: the likelihood ratio of the two true states, up
to the resolution of the analysis.  The noise of a set decides about a per cent of its particles
more or less, and decides them alike for both; so the difference to that is what a method loses.

Usage: python benchmarks/optics_groups.py FOLDER [--particles 3000] [--noise 5] [--seeds 3]
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import json
from pathlib import Path

import mrcfile
import numpy as np
from sklearn.metrics import adjusted_rand_score

from pcainit.cli.main import main as pcainit
from pcainit.io.particle_table import ParticleTable
from pcainit.tests.optics_examples import balls, image, write_set

STRETCHED = np.array([[1.01, 0.004], [0.004, 0.99]])
KINDS = {
    "one kind": [(64, 4.0, np.eye(2))],
    "two kinds": [(64, 4.0, np.eye(2)), (50, 5.0, STRETCHED)],
    "two kinds, unsaid": [(64, 4.0, np.eye(2)), (64, 4.0, 1.02 * np.eye(2))],
}
RESOLUTION = 20.0  # Angstrom
LOST = 4  # balls that the second state lacks


def run(
    folder: Path, groups: list, count: int, states: bool, hide: bool, noise: float, seed: int
) -> dict:
    """Simulate and analyse one set; components certified, classes, ARI."""
    folder.mkdir(parents=True, exist_ok=True)
    # The group goes by turns: states must not.
    state = np.random.default_rng([seed, 3]).permutation(count) < count // 2
    weights = np.ones((count, len(balls())))
    if states:
        weights[np.ix_(state, np.argsort(balls()[:, 0])[-LOST:])] = 0
    made = write_set(folder, groups, count, noise=noise, weights=weights, seed=seed)
    if hide:  # the matrices are left out, to see what they are worth
        text = made["path"].read_text().replace("rlnMagMat", "rlnUnknown")
        made["path"].write_text(text)
    out = folder / "out"
    words = ["run", str(made["path"]), "-o", str(out), "--threads", "1", "--seed", "1"]
    if pcainit(words):
        raise SystemExit("the run failed")
    summary = json.loads((out / "summary.json").read_text())
    label = ParticleTable(out / "particles.star").numbers("rlnClassNumber")
    return dict(
        components=summary["significant_components"],
        classes=summary["classes"],
        ari=round(adjusted_rand_score(state, label), 4) if states else None,
        best=round(best_ari(folder, groups, made, state, weights), 4) if states else None,
        with_group=round(adjusted_rand_score(made["group"], label), 4),
    )


def best_ari(
    folder: Path, groups: list, made: dict, state: np.ndarray, weights: np.ndarray
) -> float:
    """ARI of classes by the likelihood ratio of the true states, at `RESOLUTION`."""
    likely = np.zeros(len(state), bool)
    both = weights[np.argmin(state)], weights[np.argmax(state)]
    for g, (box, sampling, matrix) in enumerate(groups):
        mine = np.flatnonzero(made["group"] == g)
        seen = mrcfile.read(str(folder / ("g%d.mrcs" % g)))
        f = np.fft.fftfreq(box, sampling)
        kept = np.hypot(*np.meshgrid(f, f)) < 1 / RESOLUTION
        for one, k in zip(seen, mine):
            places = balls() @ made["rotations"][k, :2].T
            first, second = (
                np.fft.fft2(
                    made["greys"][g]
                    * image(places, box, sampling, matrix, made["origin"][k], made["defocus"][k], w)
                )
                for w in both
            )
            rest = np.fft.fft2(one) - (first + second) / 2
            likely[k] = np.vdot((second - first)[kept], rest[kept]).real > 0
    return float(adjusted_rand_score(state, likely))


def main() -> None:
    """Run all sets and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--particles", type=int, default=3000)
    parser.add_argument(
        "--noise", type=float, default=5.0, help="standard deviation over the images' own"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--unsaid", action="store_true", help="also with the magnification left out of the file"
    )
    args = parser.parse_args()
    kinds = [name for name in KINDS if "unsaid" not in name or args.unsaid]
    agreement: dict = {name: [] for name in kinds}
    for seed in range(1, args.seeds + 1):
        for name in kinds:
            for states in (True, False):
                what = "two states" if states else "homogeneous"
                words = "%s %s %d" % (name.replace(",", ""), what, seed)
                found = run(
                    args.folder / words.replace(" ", "_"),
                    KINDS[name],
                    args.particles,
                    states,
                    "unsaid" in name,
                    args.noise,
                    seed,
                )
                if states:
                    agreement[name].append((found["ari"], found["best"]))
                print("%-18s %-12s seed %d %s" % (name, what, seed, json.dumps(found)), flush=True)
    one, two = (np.array(agreement[name]) for name in ("one kind", "two kinds"))
    print(
        "ARI, median of %d seeds: one kind %.4f, two kinds %.4f; lost of the best one %.4f, %.4f"
        % (
            len(one),
            *(np.median(kind[:, 0]) for kind in (one, two)),
            *(np.median(kind[:, 1] - kind[:, 0]) for kind in (one, two)),
        )
    )


if __name__ == "__main__":
    main()
