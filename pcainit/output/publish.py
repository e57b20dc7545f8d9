"""From the stages' results to the folder the user gets."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from pcainit import __version__
from pcainit.engine.geometry.grid import Grid
from pcainit.errors import InputError
from pcainit.io.atomic import to_json_types, write_arrays, write_json, write_text
from pcainit.io.ownership import refuse_foreign
from pcainit.io.star import ParticleTable
from pcainit.output.maps import map_writers, maps_at_once
from pcainit.output.particle_summary import (
    left_out,
    set_aside,
    summarise_nuisance,
    summarise_surroundings,
)
from pcainit.output.words.verdict import write_look, write_verdict
from pcainit.pipeline.given import user_files
from pcainit.pipeline.grown_mask import with_grown_mask
from pcainit.pipeline.prepare import prepared_star
from pcainit.pipeline.runner import Arrays
from pcainit.pipeline.store import Workspace, make_folder
from pcainit.settings import Settings

# Arrays of the stages that the viewers and the report show.
_ANALYSIS = {
    "reconstruct": {"mean": "mean", "mask": "mask", "fsc": "consensus_fsc"},
    "components": {
        "components": "components",
        "variance": "variance",
        "eigenvalues": "eigenvalues",
        "spectrum": "spectrum",
        "noise_edge": "noise_edge",
        "half_set_cosines": "half_set_cosines",
        "null_cosine": "null_cosine",
        "significant": "significant",
        "local": "local",
        "artefact": "artefact",
        "explained": "explained",
        "batch_coordinates": "batch_coordinates",
        "contrast": "contrast",
    },
    "cluster": {
        "batch_cluster": "batch_cluster",
        "centres": "centres",
        "covariances": "cluster_covariances",
        "bic": "bic",
        "held_out": "held_out",
        "tried_classes": "tried_classes",
    },
    "volumes": {
        "volumes": "class_volumes",
        "weights": "class_weights",
        "pairwise": "pairwise",
        "class_fsc": "class_fsc",
        "copies": "copies",
    },
}
# Files that a result folder has itself.
_FILES = (
    "particles.star",
    "latents.npz",
    "analysis.npz",
    "coordinates.txt",
    "junk.txt",
    "left_out.txt",
    "report.html",
    "summary.json",
)
# Among them and beside them, what others might call so too.
_MAPS = (
    "volumes/class_*.mrc",
    "components/component_*.mrc",
    *("components/%s.mrc" % name for name in ("mean", "mask", "variance", "changing_places")),
)
_MARKED = ("particles.star", "report.html", "summary.json", *_MAPS)
_LATENTS = ("coordinates", "covariance", "posterior", "label", "junk", "contrast")


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
    folder = Path(output)
    meta, star = workspace.get("prepare"), prepared_star(workspace)
    refuse_overwriting(folder, star, *user_files(settings))
    table = same_table(star, str(meta["star_identity"]))
    stages = {name: workspace.get(name) for name in _ANALYSIS}
    stages["reconstruct"] = with_grown_mask(stages["reconstruct"], stages["components"])
    summary = summarise(workspace, settings, stages, seconds or {}, threads)
    hold(folder)
    return write_result(
        folder,
        stages,
        workspace.slices().grid,
        dict(summary, verdict=write_verdict(summary)),
        threads=threads,
        aside=set_aside(meta),
        table=table,
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
        table = ParticleTable(star)
        if table.identity == identity:
            return table
    raise InputError(
        "The particle STAR file %s has changed since the particles were prepared: "
        "run the step prepare again." % star
    )


def write_result(
    folder: Path,
    stages: dict[str, Arrays],
    grid: Grid,
    summary: dict[str, Any],
    *,
    threads: int = 1,
    table: ParticleTable | None = None,
    aside: Sequence[tuple[int, str]] = (),
) -> dict[str, Any]:
    """Write a result folder from what the stages of any route have made.

    Parameters
    ----------
    folder : Path
    stages : dict
        Arrays of the stages in `_ANALYSIS`; what a route does not make is missing there.
    grid : Grid
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
    make_folder(folder)
    _clear(folder)
    summary = to_json_types(summary)
    with concurrent.futures.ThreadPoolExecutor(maps_at_once(grid, threads)) as pool:
        maps = [pool.submit(write) for write in map_writers(folder, stages, grid)]
        try:
            if table is not None:
                _write_particles(folder, table, stages["volumes"], aside)
            write_arrays(folder / "analysis.npz", _analysis(stages, grid))
            from pcainit.output.report import write_report

            write_report(folder, summary)
            for written in maps:
                written.result()
        finally:
            for waiting in maps:  # who is told to stop does not wait for them
                waiting.cancel()
    summary["seconds"]["write"] = time.perf_counter() - begin
    write_json(folder / "summary.json", summary)  # last: its presence means complete
    return summary


def _clear(folder: Path) -> None:
    """Remove what an earlier run may have left and this one need not replace."""
    (folder / "summary.json").unlink(missing_ok=True)  # its presence means: complete
    for old in (
        *(path for pattern in _MAPS[:2] for path in folder.glob(pattern)),
        folder / "components" / "changing_places.mrc",
        *(folder / name for name in ("report.html", "latents.npz", "junk.txt", "left_out.txt")),
    ):
        old.unlink(missing_ok=True)


def _analysis(stages: dict[str, Arrays], grid: Grid) -> Arrays:
    """What the viewers and the report show of the stages that are there."""
    arrays = {
        shown: stages[stage][name]
        for stage, names in _ANALYSIS.items()
        if stage in stages
        for name, shown in names.items()
        if name in stages[stage]
    }
    return dict(
        arrays,
        voxel=np.array(grid.voxel),
        frequencies=np.arange(grid.n_shells) / (grid.box_px * grid.sampling),
    )


def _write_particles(
    folder: Path, table: ParticleTable, final: Arrays, aside: Sequence[tuple[int, str]]
) -> None:
    table.write_with(folder / "particles.star", {"rlnClassNumber": final["label"] + 1})
    names = table.text("rlnImageName")
    junk = ["%d %s" % (k + 1, names[k]) for k in np.flatnonzero(final["junk"])]
    write_text(folder / "junk.txt", "\n".join(["# row image", *junk]) + "\n")
    if aside:
        lines = ["%d %s: %s" % (k + 1, names[k], reason) for k, reason in aside]
        write_text(folder / "left_out.txt", "\n".join(["# row image: reason", *lines]) + "\n")
    latents = {name: final[name] for name in _LATENTS if name in final}
    latents["class"] = latents.pop("label") + 1
    write_arrays(folder / "latents.npz", latents)


def publish_variance(
    workspace: Workspace,
    settings: Settings,
    output: str | Path,
    *,
    threads: int = 1,
    seconds: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Write the variance map with the mean and the mask, and what they rest on.

    Parameters
    ----------
    workspace : Workspace
        The stages up to components done.
    settings : Settings
    output : str or Path
    threads : int
    seconds : dict, optional
        Time of each stage, for the summary.

    Returns
    -------
    dict
        The summary as written.

    Raises
    ------
    InputError
        The results would replace input, or files of others.
    """
    folder, found = Path(output), workspace.get("components")
    before = with_grown_mask(workspace.get("reconstruct"), found)
    refuse_overwriting(folder, prepared_star(workspace), *user_files(settings))
    grid = workspace.slices().grid
    make_folder(folder)
    _clear(folder)
    stages = {"reconstruct": before, "components": found}
    for write in map_writers(folder, stages, grid):
        write()
    summary = to_json_types(
        dict(
            record(settings, grid, "variance", threads, seconds or {}),
            particles=len(workspace.slices()),
            **left_out(workspace, before),
            **_components(found),
            regions_tried=int(found.get("regions_tried", 0)),
            changing_places=json.loads(str(found.get("places", "[]"))),
        )
    )
    summary["verdict"] = write_look(summary)
    write_arrays(folder / "analysis.npz", _analysis(stages, grid))
    write_json(folder / "summary.json", summary)
    return summary


def refuse_overwriting(folder: str | Path, *inputs: str) -> None:
    """Refuse an output folder whose results would replace the input, or files of others.

    Raises
    ------
    InputError
        One of the input files, or one that is no earlier result, lies where a result goes.
    """
    place = Path(os.path.realpath(str(folder)))
    for given in filter(None, inputs):
        path = Path(os.path.realpath(given))
        if (
            path.parent in (place / "volumes", place / "components")
            or path.parent == place
            and path.name in _FILES
        ):
            raise InputError(
                "The output folder %s holds the input %s, which the results would "
                "replace: choose another folder." % (folder, given)
            )
    refuse_foreign(folder, _MARKED, "summary.json")


def summarise(
    workspace: Workspace,
    settings: Settings,
    stages: dict[str, Arrays],
    seconds: dict[str, float],
    threads: int,
) -> dict[str, Any]:
    """The content of ``summary.json``, without the verdict."""
    slices = workspace.slices()
    found, final = stages["components"], stages["volumes"]
    summary: dict[str, Any] = dict(
        record(settings, slices.grid, settings.method, threads, seconds),
        particles=len(slices),
        classes=len(final["volumes"]),
        class_weights=final["weights"],
        class_sizes=class_sizes(final),
        noise_edge=found.get("noise_edge"),
        **_components(found),
        pairwise_differences=final["pairwise"],
        **left_out(workspace, stages["reconstruct"]),
        nuisance=summarise_nuisance(stages, len(slices)),
        surroundings=summarise_surroundings(stages, slices.grid.voxel),
        copies=final.get("copies", []),
        artefact_share=found.get("artefact", []),
        explained_by_view=found.get("explained", []),
        artefacts=int(found.get("artefacts", 0)),
        power=json.loads(str(found.get("power", "null"))),
        regions_tried=int(found.get("regions_tried", 0)),
        changing_places=json.loads(str(found.get("places", "[]"))),
        detectable=_detectable(found, slices.grid.voxel),
        local_components=int(found["local"].sum()) if "local" in found else 0,
        supported_classes=_supported(stages),
        supported_weights=stages["cluster"].get("supported_weights", []),
        merged_into=stages["cluster"].get("merged", []),
        class_offsets=_offsets(final),
    )
    return to_json_types(summary)


def _supported(stages: dict[str, Arrays]) -> int | None:
    """Number of classes that the data support; None where that is not asked."""
    found = stages["cluster"].get("found")
    return None if found is None else int(found) - int(stages["volumes"].get("dropped", 0))


def class_sizes(final: Arrays) -> np.ndarray:
    """Particles of each class, (K,) int; those set aside have a class in name only."""
    return np.bincount(final["label"][~final["junk"]], minlength=len(final["volumes"]))


def _components(found: Arrays) -> dict[str, Any]:
    """How strong the components are, and what the tests say of them."""
    certified = found.get("significant")
    return dict(
        eigenvalues=found.get("eigenvalues", []),
        half_set_cosines=found.get("half_set_cosines", []),
        null_cosine=found.get("null_cosine"),
        significant_components=int(certified.sum()) if certified is not None else None,
        given=json.loads(str(found.get("given", "null"))),
    )


def record(
    settings: Settings,
    grid: Grid,
    method: str,
    threads: int,
    seconds: dict[str, float],
    **parameters: Any,
) -> dict[str, Any]:
    """What every summary begins with: how the result was made.

    Parameters
    ----------
    settings : Settings
    grid : Grid
    method : str
    threads : int
    seconds : dict
        Time of each stage; that of writing is added when all else is written.
    **parameters
        Those that are no settings.
    """
    return dict(
        program="pcainit",
        version=__version__,
        method=method,
        parameters=dict(settings.as_dict(), **parameters),
        threads=threads,
        seed=settings.seed,
        versions=versions(),
        box=grid.box_px,
        sampling=grid.sampling,
        working_box=grid.box,
        resolution=settings.resolution,
        seconds=seconds,
    )


def versions() -> dict[str, str]:
    """Version of Python and of each package that the results depend on."""
    # Not from the packages: some take long to load.
    packages = dict(
        numpy="numpy", scipy="scipy", sklearn="scikit-learn", numba="numba", mrcfile="mrcfile"
    )
    return dict(
        python=platform.python_version(),
        **{name: metadata.version(full) for name, full in packages.items()},
    )


def _detectable(found: Arrays, voxel: float) -> dict[str, float] | None:
    """Smallest share of a loss of given radius that would have been found; None if not known."""
    share, radius = found.get("detectable", np.ones(2)).tolist()
    return dict(share=share, radius=radius * voxel) if share < 1 else None


def _offsets(final: Arrays) -> list[dict[str, np.ndarray]]:
    """How each class as a whole lies against the consensus."""
    return [
        dict(shift_px=offset[:3], rotation_deg=np.degrees(offset[3:]))
        for offset in final.get("offsets", ())
    ]
