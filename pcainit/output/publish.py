"""From the stages' results to the folder the user gets."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import concurrent.futures
import contextlib
import time
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError
from pcainit.io.atomic import to_json_types, write_arrays, write_json
from pcainit.io.cryosparc_particles import open_particles
from pcainit.io.particle_table import ParticleTable
from pcainit.output.maps import map_writers, maps_at_once
from pcainit.output.result_folder import ANALYSIS, SUMMARY, ResultFolder
from pcainit.output.states import write_particles
from pcainit.output.summarise import describe_making, summarise_run, summarise_variance
from pcainit.output.words.headline import write_headline
from pcainit.output.words.verdict import write_look, write_verdict
from pcainit.pipeline.given import user_files
from pcainit.pipeline.prepare import prepared_star
from pcainit.pipeline.prepare_result import PrepareResult
from pcainit.pipeline.results import (
    ClusterResult,
    ComponentsResult,
    ConsensusResult,
    RunResults,
    VolumesResult,
)
from pcainit.pipeline.store import Workspace, make_folder
from pcainit.settings import Settings


def publish(
    workspace: Workspace,
    settings: Settings,
    output: str | Path,
    *,
    threads: int = 1,
    seconds: dict[str, float] | None = None,
    hold: Callable[[Path], object] = lambda folder: None,
) -> dict[str, Any]:
    """Write volumes, components, particles, arrays, summary and report; each file whole.

    Parameters
    ----------
    workspace : Workspace
        All stages done.
    settings : Settings
    output : str or Path
    threads : int
    seconds : dict, optional
        Time of each stage, for the summary.
    hold : callable(folder), optional
        Called before anything is written.

    Returns
    -------
    dict
        The summary as written.
    """
    folder, star = ResultFolder(output), prepared_star(workspace)
    folder.refuse_overwriting(star, *user_files(settings))
    table = same_table(star, workspace.get(PrepareResult).star_identity)
    results = _results(workspace, finished=True)
    making = describe_making(settings, results.grid, threads, seconds or {})
    summary = summarise_run(workspace, making, results).as_dict()
    hold(folder.path)
    return write_result(
        folder,
        results,
        dict(summary, verdict=write_verdict(summary)),
        threads=threads,
        table=table,
        aside=workspace.get(PrepareResult).set_aside,
    )


def _results(workspace: Workspace, finished: bool) -> RunResults:
    """What the stages have made; up to the components where the run is not finished."""
    base, found = workspace.get(ConsensusResult), workspace.get(ComponentsResult)
    if found.particles is not None:
        base = found.particles.consensus_of(base)
    return RunResults(
        base.grid,
        base.consensus.mean,
        base.mask,
        base,
        found,
        workspace.get(ClusterResult) if finished else None,
        workspace.get(VolumesResult) if finished else None,
    )


def same_table(star: str, identity: str) -> ParticleTable:
    """The rows of a particle STAR file, as they were prepared.

    Parameters
    ----------
    star : str
    identity : str
        What the stage prepare has recorded.

    Returns
    -------
    ParticleTable

    Raises
    ------
    InputError
        The file has changed.
    """
    with contextlib.suppress(InputError):
        table = open_particles(star)
        if table.identity == identity:
            return table
    raise InputError(
        "The particle STAR file %s has changed since the particles were prepared: "
        "run the step prepare again." % star
    )


def write_result(
    folder: ResultFolder,
    results: RunResults,
    summary: dict[str, Any],
    *,
    threads: int = 1,
    table: ParticleTable | None = None,
    aside: Sequence[tuple[int, str]] = (),
) -> dict[str, Any]:
    """Write a result folder from what the stages of any route have made.

    Parameters
    ----------
    folder : ResultFolder
    results : RunResults
    summary : dict
        With the verdict.
    threads : int
    table : ParticleTable, optional
        Of the particles; none when the route has no particles.
    aside : sequence of (row, reason)
        Particles that were left out for what their rows say.

    Returns
    -------
    dict
        The summary as written.
    """
    begin = time.perf_counter()
    make_folder(folder.path)
    folder.clear()
    summary = to_json_types(summary)
    summary["headline"] = write_headline(summary)
    with concurrent.futures.ThreadPoolExecutor(maps_at_once(results.grid, threads)) as pool:
        maps = [pool.submit(write) for write in map_writers(folder, results, summary["resolution"])]
        try:
            if table is not None and results.volumes is not None:
                write_particles(folder, table, results.volumes, aside)
            write_arrays(folder / ANALYSIS, _analysis(results))
            from pcainit.output.report import write_report

            write_report(folder.path, summary)
            for written in maps:
                written.result()
        finally:
            for waiting in maps:  # who is told to stop does not wait for them
                waiting.cancel()
    summary["seconds"]["write"] = time.perf_counter() - begin
    write_json(folder / SUMMARY, summary)  # last: its presence means complete
    return summary


def _analysis(results: RunResults) -> dict[str, AnyArray]:
    """Arrays that the viewers and the report show; what the route does not make is left out."""
    grid, found, base = results.grid, results.components, results.consensus
    particles, volumes = found.particles, found.volumes
    shown: dict[str, Any] = dict(
        mean=results.mean,
        mask=results.mask,
        consensus_fsc=None if base is None else base.consensus.fsc,
        components=found.components,
        variance=found.variance,
        eigenvalues=found.eigenvalues,
        spectrum=None if volumes is None else volumes.spectrum,
        noise_edge=found.noise_edge,
        batch_coordinates=None if volumes is None else volumes.coordinates,
    )
    if particles is not None:
        shown.update(artefact=particles.artefact, explained=particles.explained)
        tests = particles.tests
        if tests is not None:
            shown.update(
                half_set_cosines=tests.half_set_cosines,
                null_cosine=tests.null_cosine,
                significant=tests.certified,
                local=tests.local,
            )
    clusters, final = results.clusters, results.volumes
    if clusters is not None:
        shown.update(
            batch_cluster=clusters.label,
            centres=clusters.centres,
            cluster_covariances=clusters.covariances,
            bic=clusters.bic,
            held_out=clusters.held_out,
            tried_classes=clusters.tried,
        )
    if final is not None:
        shown.update(
            class_volumes=final.volumes,
            class_weights=final.weights,
            pairwise=final.pairwise,
            class_fsc=final.class_fsc,
            copies=final.copies,
        )
    shown.update(
        voxel=grid.voxel, frequencies=np.arange(grid.n_shells) / (grid.box_px * grid.sampling)
    )
    return {name: np.asarray(value) for name, value in shown.items() if value is not None}


def publish_variance(
    workspace: Workspace,
    settings: Settings,
    output: str | Path,
    *,
    threads: int = 1,
    seconds: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Write the variance map with the mean and the mask, and what they rest on.

    The stages up to components are done; parameters and value are those of `publish`.

    Raises
    ------
    InputError
        The results would replace input, or files of others.
    """
    folder, results = ResultFolder(output), _results(workspace, finished=False)
    folder.refuse_overwriting(prepared_star(workspace), *user_files(settings))
    make_folder(folder.path)
    folder.clear()
    for write in map_writers(folder, results, settings.resolution):
        write()
    making = describe_making(settings, results.grid, threads, seconds or {}, "variance")
    summary = summarise_variance(workspace, making, results).as_dict()
    summary["verdict"] = write_look(summary)
    summary["headline"] = write_headline(summary)
    write_arrays(folder / ANALYSIS, _analysis(results))
    write_json(folder / SUMMARY, summary)
    return summary
