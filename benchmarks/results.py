"""One run on a set with known truth, as figures; and the ceiling it is measured against."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict

import numpy as np
import scores
from truth_sets import TruthSet

from pcainit.engine.compiled.threads import set_threads
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.class_model import ClassModel, class_round, score_classes
from pcainit.io.maps import read_map
from pcainit.pipeline import runner
from pcainit.pipeline.analysed_particles import AnalysedParticles
from pcainit.pipeline.results import ConsensusResult
from pcainit.pipeline.store import Workspace
from pcainit.settings import Settings

Figures = Dict[str, Any]


def score_volumes(
    truth: TruthSet,
    resolution: float,
    volumes: np.ndarray,
    weights: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    wanted: int,
) -> Figures:
    """Figures that volumes and classes have in common, whoever made them.

    Parameters
    ----------
    truth : TruthSet
    resolution : float
        The true maps are low-passed there.
    volumes : (k, box, box, box)
    weights : (k,)
    labels : (n,) int
    mask : (box, box, box)
    wanted : int
        Number of classes that the mean correlation is over.
    """
    grid = Grid(truth.maps.shape[-1], truth.sampling, resolution)
    maps = scores.low_pass(truth.maps, grid.cutoff)
    figures: Figures = dict(ari=scores.agreement(truth.states, labels))
    if len(maps) < 2:
        return figures
    true, found = scores.differences(maps, truth.populations), scores.differences(volumes, weights)
    for place, weight in (("whole", None), ("mask", mask)):
        table = scores.correlations(found, true, weight)
        match = scores.best_match(table)
        figures["corr_" + place] = [
            float(table[match[c], c]) if c in match else None for c in range(len(maps))
        ]
        figures["corr_mean_" + place] = scores.mean_of_matches(table, wanted)
    figures["fsc"] = [
        scores.fsc_crossing(found[match[c]] * mask, true[c] * mask, truth.sampling, grid.cutoff)
        if c in match
        else None
        for c in range(len(maps))
    ]
    spread = scores.diversity(true[sorted(match)], mask)
    figures["diversity"] = scores.diversity(found[list(match.values())], mask) / max(spread, 1e-30)
    if wanted == len(maps):
        recall, precision = scores.recall_and_precision(truth.states, labels)
        rare = int(truth.populations.argmin())
        figures.update(
            rare=rare, recall=recall[rare], precision=precision[rare], recalls=list(recall.values())
        )
    return figures


def score_run(truth: TruthSet, output: Path, summary: dict, wanted: int) -> Figures:
    """Figures of a finished run."""
    volumes = np.array([read_map(p)[0] for p in sorted((output / "volumes").glob("class_*.mrc"))])
    mask = np.clip(read_map(output / "components" / "mask.mrc")[0], 0, 1)
    latents = np.load(output / "latents.npz")
    figures = score_volumes(
        truth,
        summary["resolution"],
        volumes,
        summary["class_weights"],
        latents["class"],
        mask,
        wanted,
    )
    copies = np.asarray(summary["copies"], bool)
    figures.update(
        classes=len(volumes) - int(copies.sum()),
        weights=summary["class_weights"],
        verdict=summary["verdict"],
        noise_diversity=_over_noise(summary),
        null=summary["null_cosine"],
        significant=summary["significant_components"],
    )
    if summary["method"] == "particles":
        count = summary["significant_components"]
        figures.update(
            artefact=summary["artefact_share"][:count], cosines=summary["half_set_cosines"]
        )
        figures.update(summary["nuisance"])
        _score_junk(figures, truth.states, latents["junk"])
    if len(truth.maps) > 1:
        figures["captured"] = _captured(truth, output, summary)
    return figures


def _score_junk(figures: Figures, states: np.ndarray, junk: np.ndarray) -> None:
    good = states >= 0
    figures["good_lost"] = float(junk[good].mean())
    if not good.all():
        figures["junk_found"] = float(junk[~good].mean())


def _over_noise(summary: dict) -> list | None:
    pairs = np.asarray(summary["pairwise_differences"], float)
    if len(pairs) < 2:
        return None
    values = pairs[np.triu_indices(len(pairs), 1)]
    return [float(values.min()), float(np.median(values)), float(values.max())]


def _captured(truth: TruthSet, output: Path, summary: dict) -> float | None:
    """Inside the mask, up to the resolution of the analysis; of `particles` the certified alone."""
    analysis = np.load(output / "analysis.npz")
    if "components" not in analysis:
        return None
    components = analysis["components"]
    if "significant" in analysis:
        components = components[analysis["significant"].astype(bool)]
    grid = Grid(summary["box"], summary["sampling"], summary["analysis_resolution"])
    maps = np.array([grid.from_particle_box(m) for m in truth.maps])
    true = scores.differences(maps, truth.populations) * analysis["mask"]
    return scores.captured_share(components, true, truth.populations)


def merged_maps(truth: TruthSet, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """True maps to start from; neighbouring states are averaged when fewer are asked for."""
    populations = truth.populations
    if classes >= len(truth.maps):
        return truth.maps, populations
    groups = np.array_split(np.arange(len(truth.maps)), classes)
    maps = [np.average(truth.maps[g], axis=0, weights=populations[g]) for g in groups]
    return np.array(maps, np.float32), np.array([populations[g].sum() for g in groups])


def ceiling(
    truth: TruthSet,
    resolution: float,
    wanted: int,
    threads: int,
    nuisance: dict | None = None,
    rounds: int = 10,
) -> tuple[Figures, Figures]:
    """The same EM without alignment on the same images, started from the true volumes.

    Parameters
    ----------
    truth : TruthSet
    resolution : float
    wanted : int
        Number of classes.
    threads : int
    nuisance : dict, optional
        Spreads that a run has measured; those of the first look at the particles otherwise.
    rounds : int

    Returns
    -------
    dict
        Figures of the true volumes before any round: what a particle's own information allows.
    dict
        Figures after the rounds.
    """
    set_threads(threads)
    settings = Settings(resolution=resolution).at_one_resolution()
    workspace = Workspace(None)

    def quiet(share: float) -> None:
        pass

    runner.prepare(workspace, str(truth.star), str(truth.root), settings, threads, quiet)
    runner.reconstruct(workspace, settings, quiet)
    slices, base = workspace.slices(), workspace.get(ConsensusResult)
    particles = AnalysedParticles.of(slices, base, settings, windowed=False)
    background, spread = particles.background, particles.spread
    slices, grid, mask = particles.slices, particles.grid, particles.mask
    if nuisance:
        spread = dataclasses.replace(
            spread,
            contrast=nuisance["contrast_sd"],
            shift_px=nuisance["shift_px"],
            rotation=float(np.radians(nuisance["rotation_deg"])),
        )
    maps, populations = merged_maps(truth, wanted)
    start = np.array([grid.from_particle_box(m) for m in maps])
    start = scores.differences(start, populations) * mask
    model = ClassModel(start.astype(np.float32), populations)
    kept, everyone = particles.everyone, np.arange(len(slices))
    large_mask = np.clip(grid.to_particle_box(mask), 0, 1)
    results = []
    for count in (0, rounds):
        for _ in range(count):
            model, _, _ = class_round(background, mask, model, kept, spread)
        labels = score_classes(background, model, everyone, spread)[0].argmax(axis=1)
        volumes = np.array(
            [grid.to_particle_box(particles.consensus.mean + d) for d in model.differences]
        )
        figures = score_volumes(
            truth, resolution, volumes, model.weights, labels, large_mask, wanted
        )
        results.append(dict(figures, classes=len(volumes), weights=model.weights.tolist()))
    return results[0], results[1]
