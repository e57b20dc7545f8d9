"""Figures of a finished run, made from its result folder alone; nothing here knows Scipion."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pcainit.output.plots.catalogue import PLOTS, Plot
from pcainit.output.plots.classes import class_shares, difference_matrix
from pcainit.output.plots.latents import batch_scatter, best_pair, latent_scatter
from pcainit.output.plots.results import Result, load_result
from pcainit.output.plots.slices import (
    class_changes,
    class_differences,
    class_slices,
    component_slices,
    strongest,
    variance_slices,
)
from pcainit.output.plots.spectra import number_of_classes, resolution_curves, spectrum

__all__ = [
    "PLOTS",
    "Plot",
    "Result",
    "batch_scatter",
    "best_pair",
    "class_changes",
    "class_differences",
    "class_shares",
    "class_slices",
    "component_slices",
    "difference_matrix",
    "latent_scatter",
    "load_result",
    "number_of_classes",
    "resolution_curves",
    "spectrum",
    "strongest",
    "variance_slices",
]
