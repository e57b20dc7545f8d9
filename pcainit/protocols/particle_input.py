"""Particles as the protocols get them: do they fit, and the latent coordinates they carry."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
from typing import List, Tuple

import numpy as np

from pcainit.errors import InputError, shorten
from pcainit.io import columns
from pcainit.protocols.read_set import flags, stack_files

FEW_FILES = 3  # missing stacks that are named


def unfit(particles, with_ctf: bool) -> List[str]:
    """Why particles cannot be used, one sentence for each reason; empty when they can."""
    errors = []
    if not particles.hasAlignmentProj():
        errors.append(
            "The particles have no projection alignment (theirs is: %s): take the "
            "particles of a 3D refinement." % (particles.getAlignment() or "none")
        )
    if with_ctf:
        # Not every plugin tells the set what its particles have.
        first = particles.getFirstItem()
        if not particles.hasCTF() and not (first is not None and first.hasCTF()):
            errors.append(
                "The particles have no CTF: assign it to them, or say yes to 'Leave the CTF "
                "uncorrected?'."
            )
        if particles.isPhaseFlipped():
            errors.append(
                "The particles are phase flipped: extract them without phase "
                "flipping, or say yes to 'Leave the CTF uncorrected?'."
            )
        if particles.isAmplitudeCorrected():
            errors.append(
                "The particles' amplitudes are CTF corrected: extract them without "
                "correction, or say yes to 'Leave the CTF uncorrected?'."
            )
    errors += [
        "The set of particles %s" % words for words in columns.problems(flags(particles), with_ctf)
    ]
    missing = [path for path in stack_files(particles) if not os.path.exists(path)]
    if missing:
        more = " and %d more" % (len(missing) - FEW_FILES) if len(missing) > FEW_FILES else ""
        errors.append(
            "Image files of the particles are missing: %s%s. Restore them, or "
            "import the particles again." % (", ".join(missing[:FEW_FILES]), more)
        )
    return errors


def extent(particles) -> Tuple[int, int, float]:
    """Number, box (pixels) and sampling rate (A) of a set's particles; 0 for what it lacks."""
    return particles.getSize(), particles.getXDim() or 0, particles.getSamplingRate() or 0


def dimensions(particles) -> int:
    """Number of latent coordinates of a set's particles, as its first one has them.

    Raises
    ------
    InputError
        It has none.
    """
    first = particles.getFirstItem()
    values = _coordinates(first) if first is not None else None
    if values is None or not len(values):
        raise InputError(
            "The particles carry no latent coordinates: give a flexibility set, or a "
            "file of coordinates."
        )
    return len(values)


def _coordinates(particle):
    text = particle._zFlex.get() if hasattr(particle, "_zFlex") else None
    try:
        return np.array([float(word) for word in text.split(",")]) if text else None
    except ValueError:
        raise InputError(
            "The particle with id %s has latent coordinates that are no numbers (%s)."
            % (particle.getObjId(), shorten(text))
        ) from None


def read_coordinates(particles, ids: np.ndarray) -> np.ndarray:
    """Latent coordinates of some particles of a flexibility set, of any plugin.

    Parameters
    ----------
    particles : SetOfParticlesFlex
    ids : (n,) int64
        The particles, in the order that is wanted.

    Returns
    -------
    (n, q) float64

    Raises
    ------
    InputError
        A particle has none, or a different number.
    """
    count = dimensions(particles)
    row = {number: k for k, number in enumerate(ids.tolist())}
    out = np.full((len(ids), count), np.nan)
    for particle in particles.iterItems():
        k = row.get(particle.getObjId())
        if k is None:
            continue
        values = _coordinates(particle)
        if values is None or len(values) != count:
            raise InputError(
                "The particle with id %d has %d latent coordinates, the first has "
                "%d: all need the same."
                % (particle.getObjId(), 0 if values is None else len(values), count)
            )
        out[k] = values
    return out
