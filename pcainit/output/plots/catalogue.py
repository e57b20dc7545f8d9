"""Every figure by name, with what it needs: the report and the viewer choose from here."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping

from matplotlib.figure import Figure

from pcainit.output.plots.classes import class_shares, difference_matrix
from pcainit.output.plots.latents import batch_scatter, latent_scatter
from pcainit.output.plots.results import Result
from pcainit.output.plots.slices import (
    class_changes,
    class_differences,
    class_slices,
    component_slices,
    variance_slices,
)
from pcainit.output.plots.spectra import number_of_classes, resolution_curves, spectrum


@dataclass(frozen=True)
class Plot:
    """One kind of figure.

    Parameters
    ----------
    title : str
    caption : str
        One sentence: what is seen and how to read it.
    draw : callable
        From a `Result` to a `Figure`.
    needs : tuple of str
        Arrays of the `Result` without which it cannot be drawn.
    other : dict of str to (str, str)
        Title and caption where the points or volumes are others, by `Result.kind`.
    """

    title: str
    caption: str
    draw: Callable[..., Figure]
    needs: tuple[str, ...]
    other: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def words(self, result: Result) -> tuple[str, str]:
        """Title and caption for this result."""
        return self.other.get(result.kind, (self.title, self.caption))

    def available(self, result: Result) -> bool:
        """Whether the result holds what the figure needs."""
        return all(getattr(result, name) is not None for name in self.needs)


_EDGE = (
    "Components above the noise edge vary more than noise would that is independent from one "
    "volume to the next. Whether they are real cannot be told from the volumes."
)
_SPREAD = (
    "Root-mean-square difference of two volumes in units of what the spread within their "
    "classes gives: 1 means that they differ by no more than that."
)

PLOTS: dict[str, Plot] = {
    "particles": Plot(
        "Particles in the latent space",
        "Each point is one particle in the plane of two components, coloured by its class; "
        "numbers mark the classes, with ellipses of two standard deviations.",
        latent_scatter,
        ("coordinates", "labels"),
        {
            "latents": (
                "Particles in latent space",
                "Each point is one particle in the plane of two of the coordinates that were "
                "given, coloured by its class; numbers mark the classes, with ellipses of two "
                "standard deviations.",
            )
        },
    ),
    "batches": Plot(
        "Reconstructions of batches",
        "Each point is the reconstruction of one random batch, in the plane of two components, "
        "coloured by its cluster; one round cloud means that the clusters only cut noise in "
        "pieces.",
        batch_scatter,
        ("batch_coordinates", "batch_cluster"),
        {
            "volumes": (
                "Input volumes as points",
                "Each point is one of the volumes given, in the plane of two components, "
                "coloured by its class; one round cloud means that the classes only cut it in "
                "pieces.",
            )
        },
    ),
    "spectrum": Plot(
        "Components",
        "Components above the noise edge that two halves of the data agree on are real; the "
        "others are noise or artefacts.",
        spectrum,
        ("eigenvalues",),
        {
            "volumes": ("Components", _EDGE),
            "batches": ("Components", _EDGE),
            "given": (
                "Strength of the given components",
                "How much the particles vary along each direction in the space of the given "
                "components. No half-set test was made of them.",
            ),
        },
    ),
    "shares": Plot(
        "Size of the classes",
        "Share of each class; hatched ones show no state but a random subset.",
        class_shares,
        ("class_weights",),
        {
            kind: ("Size of the classes", "Share of each class.")
            for kind in ("volumes", "latents", "batches", "simple")
        },
    ),
    "pairwise": Plot(
        "How much the volumes differ",
        "Root-mean-square difference of two volumes in units of their noise: 1 means that "
        "they differ by noise alone.",
        difference_matrix,
        ("pairwise",),
        {
            "volumes": ("How much the volumes differ", _SPREAD),
            "given": (
                "How much the volumes differ",
                "Root-mean-square difference of two volumes in units of their noise along the "
                "given components; what they do not hold is left out of both.",
            ),
        },
    ),
    "volumes": Plot(
        "Volumes",
        "Central sections of the volumes on one grey scale.",
        class_slices,
        ("class_volumes",),
    ),
    "differences": Plot(
        "Differences from the consensus",
        "Red is more density than in the consensus, blue is less, on one scale for all classes; "
        "the sections meet where the classes differ most, the line outlines the consensus.",
        class_differences,
        ("class_volumes",),
        {
            "volumes": (
                "Differences from the mean",
                "Red is more density than in the mean of the input volumes, blue is less, on "
                "one scale for all classes; the sections meet where the classes differ most, "
                "the line outlines the mean.",
            )
        },
    ),
    "changes": Plot(
        "Differences in projection",
        "The strongest difference from the consensus along each line of sight: red is more "
        "density, blue is less, on one scale for all classes.",
        class_changes,
        ("class_volumes",),
        {
            "volumes": (
                "Differences in projection",
                "The strongest difference from the mean of the input volumes along each line "
                "of sight: red is more density, blue is less, on one scale for all "
                "classes.",
            )
        },
    ),
    "components": Plot(
        "Eigenvolumes",
        "What changes along each component: red and blue parts come and go in opposite "
        "directions; the line outlines the consensus.",
        component_slices,
        ("components",),
        {
            "volumes": (
                "Eigenvolumes",
                "What changes along each component: red and blue parts come and go in "
                "opposite directions; the line outlines the mean of the input volumes.",
            ),
            "given": (
                "Given components",
                "Principal directions of the particles in the space of the given components, "
                "strongest first: red and blue parts come and go in opposite directions; the "
                "line outlines the consensus.",
            ),
        },
    ),
    "variance": Plot(
        "Where the structure varies",
        "Sections of the variance map, as standard deviation, through its strongest place; the "
        "line outlines the consensus.",
        variance_slices,
        ("variance",),
        {
            "volumes": (
                "Where the volumes vary",
                "Sections of the variance map of the input volumes, noise included, as "
                "standard deviation, through its strongest place; the line outlines their "
                "mean.",
            ),
            "latents": (
                "Where the volumes differ",
                "Sections of the variance of the class volumes by their shares, noise "
                "included, as standard deviation, through its strongest place; the line "
                "outlines the consensus.",
            ),
            "given": (
                "Where the structure varies",
                "Sections of the variance map, as standard deviation along the given "
                "components, through its strongest place; the line outlines the "
                "consensus.",
            ),
        },
    ),
    "fsc": Plot(
        "Resolution",
        "Fourier shell correlation between half-sets, of the consensus and of each class's "
        "difference from it: noise dominates from where a curve falls below 0.143.",
        resolution_curves,
        ("frequencies", "consensus_fsc"),
        {
            kind: (
                "Resolution",
                "Fourier shell correlation between half-sets of the consensus: noise "
                "dominates from where it falls below 0.143.",
            )
            for kind in ("variance", "given")
        },
    ),
    "number": Plot(
        "Number of classes",
        "How well each number of classes explains the data, less the best: by BIC, and by the "
        "likelihood of particles that it was not made from; the large dot is the number used.",
        number_of_classes,
        ("tried_classes",),
        {
            kind: (
                "Number of classes",
                "How well each number of classes explains the coordinates, less the best, by BIC; "
                "the large dot is the number used.",
            )
            for kind in ("volumes", "latents")
        },
    ),
}
