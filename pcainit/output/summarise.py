"""From what a route has made to its summary: the one place where summaries are assembled."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import numpy as np

from pcainit import __version__
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.census import warn_of_images
from pcainit.io.map_list import MapFile
from pcainit.output.summary import (
    SCHEMA_VERSION,
    Classes,
    Components,
    Coordinates,
    Findings,
    Images,
    Making,
    Summary,
    VolumeSet,
)
from pcainit.pipeline.prepare_result import PrepareResult
from pcainit.pipeline.results import (
    ClusterResult,
    ConsensusResult,
    LocalSearch,
    ParticleComponents,
    RunResults,
    VolumesResult,
)
from pcainit.pipeline.routes.from_volumes import VolumeAnalysis
from pcainit.pipeline.store import Workspace
from pcainit.settings import Settings

# Scores of poses vary by less than this share of their curvature where the poses were refined on
# the same images: 0.4 on real particles, 0.8 after a search on a grid of 0.9 degrees; true poses
# give 0.96 to 1.06.
MIN_TOLD = 0.88


def summarise_run(workspace: Workspace, making: Making, results: RunResults) -> Summary:
    """Of the methods particles, batches and simple.

    Parameters
    ----------
    workspace : Workspace
    making : Making
    results : RunResults
        Of all stages.
    """
    found, final, clusters = results.components, results.volumes, results.clusters
    assert final is not None and clusters is not None
    particles = found.particles
    search = None if particles is None else particles.search
    tests = None if particles is None else particles.tests
    return Summary(
        making,
        images=describe_images(workspace, results.consensus),
        classes=_classes(final),
        components=_components(results),
        findings=Findings(
            noise_edge=found.noise_edge,
            nuisance=_nuisance(particles, results.consensus),
            surroundings=_surroundings(particles, results),
            copies=[] if final.copies is None else final.copies,
            artefact_share=[] if particles is None else particles.artefact,
            explained_by_view=[] if particles is None else particles.explained,
            artefacts=0 if tests is None else tests.artefacts,
            power=None if particles is None else particles.power,
            detectable=_detectable(search, results.grid),
            local_components=0 if tests is None else int(tests.local.sum()),
            **_supported(clusters, final),
            class_offsets=[
                dict(shift_px=offset[:3], rotation_deg=np.degrees(offset[3:]))
                for offset in (() if final.offsets is None else final.offsets)
            ],
        ),
    )


def summarise_variance(workspace: Workspace, making: Making, results: RunResults) -> Summary:
    """Of a look at the variance."""
    return Summary(
        making,
        images=describe_images(workspace, results.consensus),
        components=_components(results),
    )


def summarise_latents(
    workspace: Workspace, making: Making, results: RunResults, coordinates: Coordinates
) -> Summary:
    """Of volumes from latent coordinates."""
    assert results.volumes is not None
    return Summary(
        making,
        images=describe_images(workspace, results.consensus),
        classes=_classes(results.volumes),
        coordinates=coordinates,
    )


def summarise_volumes(making: Making, analysis: VolumeAnalysis, entries: list[MapFile]) -> Summary:
    """Of the PCA of given volumes."""
    final, found = analysis.results.volumes, analysis.results.components
    assert final is not None and found.volumes is not None
    return Summary(
        making,
        classes=Classes(len(final.volumes), final.weights, analysis.sizes, final.pairwise),
        volume_set=VolumeSet(
            input_volumes=len(entries),
            eigenvalues=found.volumes.variances,
            noise_edge=found.noise_edge,
            greyscale=analysis.gains,
            files=[entry.path for entry in entries],
            weights=[entry.weight for entry in entries],
        ),
    )


# --- the groups ----------------------------------------------------------------------------------


def describe_making(
    settings: Settings,
    grid: Grid,
    threads: int,
    seconds: dict[str, float],
    method: str = "",
    **parameters: Any,
) -> Making:
    """How a result was made.

    Parameters
    ----------
    settings : Settings
    grid : Grid
    threads : int
    seconds : dict
        Time of each stage.
    method : str
        That of the settings by default.
    **parameters
        Those that are no settings.
    """
    return Making(
        program="pcainit",
        version=__version__,
        schema_version=SCHEMA_VERSION,
        method=method or settings.method,
        parameters=dict(settings.as_dict(), **parameters),
        threads=threads,
        seed=settings.seed,
        versions=versions(),
        box=grid.box_px,
        sampling=grid.sampling,
        working_box=grid.box,
        resolution=settings.resolution,
        analysis_resolution=grid.resolution,
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


def describe_images(workspace: Workspace, base: ConsensusResult | None) -> Images:
    """What the prepared images are like, and how many of them no result is made from."""
    slices, meta = workspace.slices(), workspace.get(PrepareResult)
    constant, other = slices.left_out(False if meta.aside is None else meta.aside > 0)
    images = {name: value for name, value in meta.images.items() if name != "masked"}
    masked = meta.images.get("masked", 0)
    note = "" if base is None else base.mask_note
    return Images(
        particles=len(slices),
        constant_images=constant,
        saturated_images=other - masked,
        masked_images=masked,
        set_aside=len(meta.set_aside),
        half_sets_redrawn=meta.redrawn,
        images=images,
        warnings=[*meta.notes, *filter(None, [note]), *warn_of_images(images)],
    )


def _classes(final: VolumesResult) -> Classes:
    sizes = final.class_sizes
    assert sizes is not None
    return Classes(len(final.volumes), final.weights, sizes, final.pairwise)


def _components(results: RunResults) -> Components:
    found = results.components
    particles = found.particles
    tests = None if particles is None else particles.tests
    search = None if particles is None else particles.search
    return Components(
        eigenvalues=[] if found.eigenvalues is None else found.eigenvalues,
        half_set_cosines=[] if tests is None else tests.half_set_cosines,
        null_cosine=None if tests is None else tests.null_cosine,
        significant_components=None if tests is None else int(tests.certified.sum()),
        given=None if particles is None else particles.given,
        regions_tried=0 if search is None else search.tried,
        changing_places=[] if search is None else search.places,
    )


def _nuisance(
    found: ParticleComponents | None, base: ConsensusResult | None
) -> dict[str, Any] | None:
    """Spread of contrast and pose errors, and share of junk; None where they are not measured.

    `shift_told` and `rotation_told` are false where the images cannot say how large errors are.
    """
    if found is None or base is None or base.quality is None:
        return None
    spread, quality = found.model.nuisance, base.quality
    shifts, rotations = quality.pose_information.tolist()
    return dict(
        contrast_sd=spread.contrast,
        shift_px=spread.shift_px,
        rotation_deg=float(np.degrees(spread.rotation)),
        shift_told=shifts > MIN_TOLD,
        rotation_told=rotations > MIN_TOLD,
        junk_share=float(quality.junk.sum() / len(quality.junk)),
    )


def _surroundings(found: ParticleComponents | None, results: RunResults) -> dict[str, Any] | None:
    """What backgrounds and neighbours did; None where it was not looked at.

    `components`: reproducible ones that scrambled residuals have too; `region_score`: the largest
    of any small region in scrambled residuals; `window`: radius of the circle that crowded images
    are seen through (A), 0 for none.
    """
    if found is None or found.tests is None or found.search is None:
        return None
    assert results.consensus is not None and results.consensus.quality is not None
    return dict(
        components=found.tests.surroundings,
        region_score=found.search.scrambled_score,
        window=results.consensus.quality.window * results.grid.voxel,
        mask_grown=found.mask_grown,
    )


def _supported(clusters: ClusterResult, final: VolumesResult) -> dict[str, Any]:
    """Number of classes that the data support, None where that is not asked, and their shares."""
    mixture = clusters.particles
    return dict(
        supported_classes=None if mixture is None else mixture.supported - final.dropped,
        supported_weights=[] if mixture is None else mixture.supported_weights,
        merged_into=[] if mixture is None else mixture.merged,
    )


def _detectable(search: LocalSearch | None, grid: Grid) -> dict[str, float] | None:
    """Smallest share of a loss of given radius that would have been found; None if not known."""
    if search is None or search.detectable_share >= 1:
        return None
    return dict(share=search.detectable_share, radius=search.detectable_radius * grid.voxel)
