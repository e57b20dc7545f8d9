"""How well every particle is shown: each one's class volume beside its own true state.

One-to-one matches of volumes and states say little where there are many states (16, or 60 steps of
a movement): here each image counts.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import numpy as np
import scores
from results import Figures
from truth_sets import TruthSet

from pcainit.io.maps import read_map
from pcainit.io.particle_table import ParticleTable

BALL = 0.45  # of the box: radius within which volumes are compared
CHANGING = 0.1  # of the largest standard deviation between the true states
SHOWN = 0.7  # correlation from which a volume shows a state


def score_movement(truth: TruthSet, output: Path, summary: dict) -> Figures:
    """Figures of a run's class volumes, each image by its own true state.

    All maps are low-passed at the volumes' resolution, and of each kind the mean, weighted by the
    particles, is subtracted (the consensus).  Correlations are Pearson's.

    Parameters
    ----------
    truth : TruthSet
    output : Path
        Folder of the result.
    summary : dict

    Returns
    -------
    dict
        `own`: mean over the images of the correlation of (class volume - consensus) with (own true
        state - consensus) in a ball of 0.45 of the box.  `own_changing`: the same where the true
        states differ: standard deviation over a tenth of the largest.  `own_fine`: as `own` for the
        volumes at the analysis' resolution, if there are any.  `shown`: true states with a volume
        that correlates by over 0.7; `shown_apart`: the same, no volume for two states.
    """
    labels = ParticleTable(output / "particles.star").numbers("rlnClassNumber").astype(int) - 1
    figures: Figures = {}
    for folder, suffix, resolution in (
        ("volumes", "", summary["resolution"]),
        ("fine_volumes", "_fine", summary["analysis_resolution"]),
    ):
        paths = sorted((output / folder).glob("class_*.mrc"))
        if len(paths) < 2:
            if not suffix:
                figures = dict(own=0.0, own_changing=0.0, shown=0, shown_apart=0)
            continue
        volumes = np.array([read_map(path)[0] for path in paths])
        tables = correlation_tables(truth, volumes, labels, resolution)
        figures["own" + suffix] = own_correlation(tables[0], labels, truth.states)
        if not suffix:
            figures["own_changing"] = own_correlation(tables[1], labels, truth.states)
            figures.update(count_shown(tables[0]))
    return figures


def correlation_tables(
    truth: TruthSet, volumes: np.ndarray, labels: np.ndarray, resolution: float
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of each class volume with each true state, both less their consensus.

    Parameters
    ----------
    truth : TruthSet
    volumes : (k, box, box, box)
    labels : (n,) int
        Class of each particle, from 0.
    resolution : float
        Angstrom; everything is low-passed there.

    Returns
    -------
    in_ball, in_changing_places : (k, c)
    """
    box = truth.maps.shape[-1]
    cutoff = box * truth.sampling / resolution
    axis = np.arange(box) - box // 2
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < (BALL * box) ** 2
    found, true = (
        np.array([scores.low_pass(m[None], cutoff)[0][ball] for m in maps], np.float32)
        for maps in (volumes, truth.maps)
    )
    sizes = np.bincount(labels[labels >= 0], minlength=len(found))
    found = found - np.average(found, axis=0, weights=sizes)
    true = true - np.average(true, axis=0, weights=truth.populations)
    spread = np.sqrt(np.average(true.astype(float) ** 2, axis=0, weights=truth.populations))
    changing = spread > CHANGING * spread.max()
    return pearson(found, true), pearson(found[:, changing], true[:, changing])


def pearson(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row of one with each row of the other; 0 for flat rows."""
    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in (found, true))
    size = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return np.where(size > 0, a @ b.T / np.maximum(size, 1e-300), 0)


def own_correlation(table: np.ndarray, labels: np.ndarray, states: np.ndarray) -> float:
    """Mean over the images of the entry of their class and true state; junk left out."""
    real = (states >= 0) & (labels >= 0)
    return float(table[labels[real], states[real]].mean())


def count_shown(table: np.ndarray) -> dict[str, int]:
    """True states that a volume shows, and the same with a volume of their own each."""
    match = scores.best_match(table)
    return dict(
        shown=int((table.max(axis=0) > SHOWN).sum()),
        shown_apart=sum(bool(table[row, column] > SHOWN) for column, row in match.items()),
    )
