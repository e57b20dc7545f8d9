"""A finished run as the figures need it, loaded from its result folder."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from pcainit.engine.arrays import AnyArray, BoolArray, FloatArray, IntArray
from pcainit.engine.components.rules import RULES
from pcainit.output.result_folder import ANALYSIS, LATENTS, ResultFolder
from pcainit.settings import FIXED

_OF_PARTICLES = {
    "coordinates": "coordinates",
    "junk": "junk",
    "class": "labels",
    "posterior": "posterior",
    "contrast": "particle_contrast",
    "defocus": "defocus",
    "view": "view",
}


@dataclass(frozen=True, eq=False)
class Result:
    """Arrays and summary of one run; what its method does not make is None.

    Parameters
    ----------
    folder : Path
    summary : dict
        Content of ``summary.json``.
    coordinates : (n, q) float32
        Latent coordinates of the particles.
    labels : (n,) int
        Class of each particle, from 1; 0 for none.
    junk : (n,) bool
        Particles set aside.
    posterior : (n, K) float32
        Of each class.
    particle_contrast, defocus : (n,) float
        Contrast as fitted, and mean defocus, Angstrom.
    view : (n, 2) float
        Rotation and tilt of the recorded pose, degrees.
    mean, mask, variance : (b, b, b) float32
        In the working box, as all volumes here.
    class_volumes : (K, b, b, b) float32
    components : (q, b, b, b) float32
        Eigenvolumes, strongest first.
    eigenvalues : (q,) float64
    spectrum : (r,) float64
        All eigenvalues that were computed, of which `eigenvalues` are the first.
    noise_edge : () float64
        Largest eigenvalue to be expected from noise alone.
    half_set_cosines : (q,) float64
    null_cosine : () float64
        Largest cosine to be expected from noise alone.
    significant : (q,) bool
    artefact : (q,) float64
        Share of each component that contrast and pose errors of the consensus could make.
    centres, cluster_covariances : (k, p), (k, p, p) float64
        Gaussian mixture of the first k classes in the first p components.
    class_weights : (K,) float64
    pairwise : (K, K) float64
        Root-mean-square differences over their noise.
    class_fsc, consensus_fsc : (k, s), (s,) float64
    frequencies : (s,) float64
        1 / Angstrom.
    voxel : () float64
        Of the working box, Angstrom.
    batch_coordinates, batch_cluster : (N, C) float64, (N,) int
        Of the reconstructions, from 0.
    copies : (K,) bool
        Classes beyond what the data support: random subsets of the particles.
    tried_classes, bic, held_out : (t,) int, (t,) float64, (t,) float64
        How well each number of classes explains the data.
    """

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    coordinates: FloatArray | None = None
    labels: IntArray | None = None
    junk: BoolArray | None = None
    posterior: FloatArray | None = None
    particle_contrast: FloatArray | None = None
    defocus: FloatArray | None = None
    view: FloatArray | None = None
    mean: FloatArray | None = None
    mask: FloatArray | None = None
    variance: FloatArray | None = None
    class_volumes: FloatArray | None = None
    components: FloatArray | None = None
    eigenvalues: FloatArray | None = None
    spectrum: FloatArray | None = None
    noise_edge: FloatArray | None = None
    half_set_cosines: FloatArray | None = None
    null_cosine: FloatArray | None = None
    significant: BoolArray | None = None
    artefact: FloatArray | None = None
    centres: FloatArray | None = None
    cluster_covariances: FloatArray | None = None
    class_weights: FloatArray | None = None
    pairwise: FloatArray | None = None
    class_fsc: FloatArray | None = None
    consensus_fsc: FloatArray | None = None
    frequencies: FloatArray | None = None
    voxel: FloatArray | None = None
    batch_coordinates: FloatArray | None = None
    batch_cluster: IntArray | None = None
    copies: BoolArray | None = None
    tried_classes: AnyArray | None = None
    bic: AnyArray | None = None
    held_out: AnyArray | None = None

    @property
    def kind(self) -> str:
        """What the result is of: the method, or "given" for components taken at their word."""
        given = self.summary.get("given") or {}
        return "given" if given.get("use") == FIXED else str(self.summary.get("method"))

    @property
    def n_classes(self) -> int:
        """Number of volumes made."""
        for array in (self.class_weights, self.class_volumes, self.pairwise):
            if array is not None:
                return len(array)
        return int(self.summary.get("classes") or 0)

    @property
    def n_components(self) -> int:
        """Number of components computed."""
        for array in (self.eigenvalues, self.components):
            if array is not None:
                return len(array)
        return 0 if self.coordinates is None else self.coordinates.shape[1]

    @property
    def kept(self) -> AnyArray | None:
        """(n,) bool: particles that were not set aside."""
        if self.labels is None:
            return None
        return np.ones(len(self.labels), bool) if self.junk is None else ~self.junk

    @property
    def class_sizes(self) -> AnyArray:
        """(K,) int: particles of each class, those set aside not counted."""
        if self.labels is None:
            return np.zeros(self.n_classes, int)
        kept = self.labels[self.kept]
        return np.bincount(kept, minlength=self.n_classes + 1)[1:]

    @property
    def spare(self) -> AnyArray:
        """(K,) bool: classes that show no state but a random subset of the particles."""
        return np.zeros(self.n_classes, bool) if self.copies is None else self.copies

    def standing(self, component: int) -> str:
        """What the tests say of a component (from 0): real, artefact, noise, or untested."""
        if self.significant is not None:
            if not self.significant[component]:
                return "noise"
            flagged = self.artefact is not None and self.artefact[component] > RULES.max_nuisance
            return "artefact" if flagged else "real"
        if (
            self.eigenvalues is not None
            and self.noise_edge is not None
            and np.isfinite(self.noise_edge)
        ):
            above = self.eigenvalues[component] > self.noise_edge
            return "above noise edge" if above else "noise"
        return "untested"


def load_result(folder: str | Path, summary: Mapping[str, Any] | None = None) -> Result:
    """Load what is there of a result folder.

    Parameters
    ----------
    folder : str or Path
        As ``-o`` names it, or ``extra/result`` of a run in Scipion.
    summary : dict, optional
        In place of ``summary.json``, which is written last.

    Returns
    -------
    Result

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from pcainit.output.plots import load_result
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "summary.json").write_text(json.dumps({"class_weights": [0.6, 0.4]}))
    >>> load_result(folder).summary["class_weights"]
    [0.6, 0.4]
    """
    folder = Path(folder)
    if summary is None:
        summary = ResultFolder(folder).load_summary()
    names = {f.name for f in fields(Result)}
    arrays = _load(folder / ANALYSIS, {name: name for name in names})
    arrays.update(_load(folder / LATENTS, _OF_PARTICLES))
    arrays = _consistent(arrays)
    if "variance" not in arrays and {"components", "eigenvalues"} <= set(arrays):
        arrays["variance"] = np.einsum(
            "c,czyx->zyx", arrays["eigenvalues"], arrays["components"] ** 2
        )
    return Result(folder, dict(summary), **arrays)


def _load(path: Path, names: Mapping[str, str]) -> dict[str, AnyArray]:
    """Arrays of an ``.npz`` file that the figures use, under their names here."""
    try:
        with np.load(str(path), allow_pickle=False) as data:
            return {names[name]: data[name] for name in data.files if name in names}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}


def _consistent(arrays: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """Leave out arrays that are empty or whose length contradicts the others."""
    arrays = {name: value for name, value in arrays.items() if value.size}
    if "labels" in arrays:
        arrays["labels"] = arrays["labels"].astype(np.int64)
    for leader, followers in (
        ("labels", tuple(name for name in _OF_PARTICLES.values() if name != "labels")),
        ("eigenvalues", ("components", "half_set_cosines", "significant", "artefact")),
        ("class_weights", ("class_volumes", "pairwise", "copies")),
        ("centres", ("cluster_covariances",)),
        ("batch_cluster", ("batch_coordinates",)),
        ("frequencies", ("consensus_fsc",)),
        ("tried_classes", ("bic", "held_out")),
    ):
        for name in followers:
            if leader in arrays and name in arrays and len(arrays[name]) != len(arrays[leader]):
                del arrays[name]
    if len(arrays.get("pairwise", ())) == 1:
        del arrays["pairwise"]
    for name in ("centres", "cluster_covariances", "class_fsc"):
        if len(arrays.get(name, ())) > len(arrays.get("class_weights", ())):
            del arrays[name]
    for name in ("junk", "significant", "copies"):
        if name in arrays:
            arrays[name] = arrays[name].astype(bool)
    return arrays
