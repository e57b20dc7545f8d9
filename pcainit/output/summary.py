"""What ``summary.json`` says: its schema; `summarise` makes it for every route.

A summary is made of groups; the keys of those that a route has stand side by side in the file.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Sequence, Union

from pcainit.engine.arrays import AnyArray
from pcainit.io.atomic import to_json_types

Numbers = Union[Sequence[Any], AnyArray]

SCHEMA_VERSION = 1  # higher whenever a key goes or means something else


@dataclass(frozen=True, eq=False)
class Making:
    """How a result was made: what every summary begins with.

    Parameters
    ----------
    program, version : str
    schema_version : int
    method : str
        particles, batches, simple; variance, latents, volumes.
    parameters : dict
        The settings, and options of the route that are none.
    threads, seed : int
    versions : dict
        Of Python and each package that results depend on.
    box, working_box : int
        Pixels of the particles or volumes, and voxels that were worked with.
    sampling, resolution, analysis_resolution : float
        Angstrom per pixel, Angstrom, Angstrom: the last is the finest detail in the result.
    seconds : dict
        Of each stage; that of writing is added when all else is written.
    """

    program: str
    version: str
    schema_version: int
    method: str
    parameters: dict[str, Any]
    threads: int
    seed: int
    versions: dict[str, str]
    box: int
    sampling: float
    working_box: int
    resolution: float
    analysis_resolution: float
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Images:
    """What the images are like, and how many of them no result is made from.

    Parameters
    ----------
    particles, constant_images, saturated_images, masked_images, set_aside : int
    half_sets_redrawn : bool
    images : dict
        See `census.describe_images`.
    warnings : list of str
    """

    particles: int
    constant_images: int
    saturated_images: int
    masked_images: int
    set_aside: int
    half_sets_redrawn: bool
    images: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class Classes:
    """The K volumes.

    Parameters
    ----------
    classes : int
    class_weights, class_sizes : K numbers
    pairwise_differences : K x K numbers
        Root-mean-square differences over their noise.
    """

    classes: int
    class_weights: Numbers
    class_sizes: Numbers
    pairwise_differences: AnyArray


@dataclass(frozen=True, eq=False)
class Components:
    """How strong the components are, and what the tests say of them.

    Parameters
    ----------
    eigenvalues, half_set_cosines : q numbers
    null_cosine : float or None
        What noise reaches.
    significant_components : int or None
        None where they are not tested.
    given : dict or None
        Components of other programs: `use`, `files` and figures of each.
    regions_tried : int
    changing_places : list of dict
        Small places that change; see `local_components.describe_place`.
    """

    eigenvalues: Numbers
    half_set_cosines: Numbers
    null_cosine: float | None
    significant_components: int | None
    given: dict[str, Any] | None
    regions_tried: int
    changing_places: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a whole run says beside its components and classes.

    Parameters
    ----------
    noise_edge : float or None
        Largest eigenvalue to be expected of noise alone.
    nuisance, surroundings : dict or None
        See `_nuisance` and `_surroundings`.
    copies : K bools
        Random subsets, which show no state.
    artefact_share, explained_by_view : q numbers
        Of each component, what pose errors could make and what views and defocus explain.
    artefacts : int
    power : dict or None
        From what share on domains would be found.
    detectable : dict or None
        Smallest `share` of a loss of some `radius` that would have been found.
    local_components : int
    supported_classes : int or None
    supported_weights, merged_into : s numbers
        Of the classes that the data support.
    class_offsets : list of dict
        How each class as a whole lies against the consensus.
    """

    noise_edge: float | None
    nuisance: dict[str, Any] | None
    surroundings: dict[str, Any] | None
    copies: Numbers
    artefact_share: Numbers
    explained_by_view: Numbers
    artefacts: int
    power: dict[str, Any] | None
    detectable: dict[str, float] | None
    local_components: int
    supported_classes: int | None
    supported_weights: Numbers
    merged_into: Numbers
    class_offsets: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Given latent coordinates.

    Parameters
    ----------
    coordinates : str
        Their file.
    matched_by : str
        How their rows were matched to the particles.
    """

    coordinates: str
    matched_by: str


@dataclass(frozen=True, eq=False)
class VolumeSet:
    """Given volumes, and their components.

    Parameters
    ----------
    input_volumes : int
    eigenvalues : q numbers
    noise_edge : float or None
    greyscale, weights : n numbers
        Contrast and weight of each.
    files : list of str
    """

    input_volumes: int
    eigenvalues: AnyArray
    noise_edge: float | None
    greyscale: AnyArray
    files: list[str]
    weights: list[float]


@dataclass(frozen=True, eq=False)
class Summary:
    """The content of ``summary.json``; groups that a route does not make are None.

    Parameters
    ----------
    making : Making
    images : Images, optional
    classes : Classes, optional
    components : Components, optional
    findings : Findings, optional
    coordinates : Coordinates, optional
    volume_set : VolumeSet, optional
    """

    making: Making
    images: Images | None = None
    classes: Classes | None = None
    components: Components | None = None
    findings: Findings | None = None
    coordinates: Coordinates | None = None
    volume_set: VolumeSet | None = None

    def as_dict(self) -> dict[str, Any]:
        """Keys of all groups side by side, as plain values."""
        groups = (getattr(self, group.name) for group in fields(self))
        plain: dict[str, Any] = {}
        for group in groups:
            if group is not None:
                plain.update(to_json_types(asdict(group)))
        return plain
