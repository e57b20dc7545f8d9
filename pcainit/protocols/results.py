"""From the engine's result folder to Scipion's objects, particles matched by their ids."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
from typing import Any, Dict, List, Optional

import numpy as np
from pwem.objects import Float, Integer, ParticleFlex, SetOfParticlesFlex, Volume, VolumeMask

from pcainit.errors import InputError
from pcainit.output.result_folder import COMPONENTS, LATENTS, SUMMARY, ResultFolder

# Single maps that later runs ask for: output, its class, its file.
MAPS = (
    ("outputVarianceMap", Volume, "variance"),
    ("outputConsensus", Volume, "mean"),
    ("outputMask", VolumeMask, "mask"),
    ("outputChangingPlaces", VolumeMask, "changing_places"),
)
PROGRAM = "pcainit"  # names the latent space in flexibility objects


class EngineResult:
    """What one run of the engine left in its result folder.

    Parameters
    ----------
    folder : str
    ids : (n,) int64, optional
        Scipion's ids of the particles in the order of the engine's input.
    """

    def __init__(self, folder: str, ids: Optional[np.ndarray] = None) -> None:
        self.folder = folder
        self.ids = ids
        self.summary = read_summary(folder)
        if not self.summary:
            raise InputError("The result folder %s has no readable %s." % (folder, SUMMARY))
        self.arrays: Dict[str, np.ndarray] = {}  # none where no particles were classified
        if os.path.exists(os.path.join(folder, LATENTS)):
            with np.load(os.path.join(folder, LATENTS), allow_pickle=False) as arrays:
                self.arrays = {name: arrays[name] for name in arrays.files}
        if ids is not None and len(self.arrays["class"]) != len(ids):
            raise InputError(
                "The result is of %d particles, the input of %d: start again."
                % (len(self.arrays["class"]), len(ids))
            )

    @property
    def volumes(self) -> List[str]:
        """Files of the class volumes, class 1 first."""
        return [str(path) for path in ResultFolder(self.folder).class_maps]

    @property
    def components(self) -> List[str]:
        """Files of the eigenvolumes, strongest first."""
        return [str(path) for path in ResultFolder(self.folder).component_maps]

    @property
    def variance(self) -> Optional[str]:
        """File of the variance map."""
        return self.map("variance")

    def map(self, name: str) -> Optional[str]:
        """File of one of `MAPS`; None where the run has not made it."""
        path = os.path.join(self.folder, COMPONENTS, name + ".mrc")
        return path if os.path.exists(path) else None

    def rows(self) -> Dict[int, int]:
        """Scipion id -> row of the arrays."""
        return {particle: row for row, particle in enumerate(self.ids.tolist())}


def forget(protocol) -> None:
    """Delete the outputs of an earlier run of a protocol."""
    for _, output in list(protocol.iterOutputAttributes()):
        protocol.deleteOutput(output)


def register(protocol, pointers, **outputs) -> None:
    """Define the outputs of a protocol, each made from what `pointers` point at."""
    protocol._defineOutputs(**outputs)
    for output in outputs.values():
        for pointer in pointers:
            if pointer.get() is not None:
                protocol._defineSourceRelation(pointer, output)


def read_summary(folder: str) -> Dict[str, Any]:
    """The engine's ``summary.json``; empty when it is missing or unreadable."""
    try:
        summary = ResultFolder(folder).load_summary()
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def fill_volumes(volumes, result: EngineResult, sampling: float):
    """Fill a new SetOfVolumes with the class volumes; ids and class ids are 1 to K."""
    volumes.setSamplingRate(sampling)
    sizes = result.summary["class_sizes"]
    what, total = "particles" if "class" in result.arrays else "volumes", max(sum(sizes), 1)
    for number, path in enumerate(result.volumes, 1):
        volume = make_volume(path, sampling)
        volume.setObjId(number)
        volume.setClassId(number)
        volume.setObjLabel("class %d" % number)
        volume.setObjComment(
            "%d %s (%.1f %%)" % (sizes[number - 1], what, 100 * sizes[number - 1] / total)
        )
        volumes.append(volume)
    return volumes


def fill_components(components, result: EngineResult, sampling: float):
    """Fill a new SetOfVolumes with the eigenvolumes, strongest first."""
    components.setSamplingRate(sampling)
    eigenvalues = result.summary.get("eigenvalues") or []
    cosines = result.summary.get("half_set_cosines") or []
    for number, path in enumerate(result.components, 1):
        volume = make_volume(path, sampling)
        volume.setObjId(number)
        volume.setObjLabel("component %d" % number)
        words = [
            text % values[number - 1]
            for text, values in (
                ("eigenvalue %.3g", eigenvalues),
                ("half-set cosine %.2f", cosines),
            )
            if number <= len(values) and values[number - 1] is not None
        ]
        volume.setObjComment(", ".join(words))
        components.append(volume)
    return components


def single_maps(result: EngineResult, sampling: float) -> Dict[str, Volume]:
    """Those of `MAPS` that a result has, as Scipion's objects by the name of the output."""
    found = {}
    for output, kind, name in MAPS:
        path = result.map(name)
        if path is not None:
            found[output] = kind(location=path)
            found[output].setSamplingRate(sampling)
    return found


def make_volume(path: str, sampling: float) -> Volume:
    """A Volume of one file."""
    volume = Volume(location=path)
    volume.setSamplingRate(sampling)
    return volume


def fill_classes(classes, result: EngineResult, sampling: float):
    """Distribute the input particles over a new SetOfClasses3D.

    Each particle carries the probability of its class and whether it looks like junk;
    particles without a class (0) are left out.
    """
    rows = result.rows()
    assigned = result.arrays["class"].astype(int).tolist()
    best, junk = _best_posterior(result), _junk(result)

    def update_particle(particle, _):
        row = rows.get(particle.getObjId())
        particle.setClassId(assigned[row] if row is not None else 0)
        if row is not None:
            particle._pcainitPosterior = Float(best[row])
            particle._pcainitJunk = Integer(junk[row])

    def update_class(class_item):
        path = result.volumes[class_item.getObjId() - 1]
        class_item.setAlignmentProj()
        class_item.getRepresentative().setLocation(path)
        class_item.getRepresentative().setSamplingRate(sampling)

    classes.classifyItems(
        updateItemCallback=update_particle, updateClassCallback=update_class, doClone=False
    )
    return classes


def fill_latents(latents: SetOfParticlesFlex, particles, result: EngineResult):
    """Copy the input particles with their latent coordinates into a new SetOfParticlesFlex."""
    coordinates = result.arrays["coordinates"].astype(float).tolist()
    rows = result.rows()
    assigned = result.arrays["class"].astype(int).tolist()
    best, junk = _best_posterior(result), _junk(result)
    latents.copyInfo(particles)
    latents.setHasCTF(particles.hasCTF())
    latents.getFlexInfo().setProgName(PROGRAM)
    latents.getFlexInfo().setAttr("pcainitResult", result.folder)
    flexible = ParticleFlex(progName=PROGRAM)
    for particle in particles.iterItems():
        row = rows.get(particle.getObjId())
        if row is None or not particle.isEnabled():
            continue
        flexible.copyInfo(particle)
        flexible.setObjId(particle.getObjId())
        flexible.setClassId(assigned[row])
        flexible.setZFlex(["%.6g" % value for value in coordinates[row]])
        flexible._pcainitPosterior = Float(best[row])
        flexible._pcainitJunk = Integer(junk[row])
        latents.append(flexible)
    return latents


def _best_posterior(result: EngineResult) -> List[float]:
    posterior = result.arrays.get("posterior")
    if posterior is None or posterior.ndim != 2:
        return [1.0] * len(result.arrays["class"])
    return posterior.max(axis=1).astype(float).tolist()


def _junk(result: EngineResult) -> List[int]:
    junk = result.arrays.get("junk", np.zeros(len(result.arrays["class"]), bool))
    return junk.astype(int).tolist()
