"""Does a set of settings fit the particles?  One plain sentence for each thing that does not.

Used before any work starts, by the command line and by the Scipion form alike.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pcainit.limits import FINEST, MIN_PARTICLES
from pcainit.settings import Settings

FEW_PER_CLASS = 500


def problems(settings: Settings, count: int, box: int, sampling: float) -> list[str]:
    """Why the run cannot start; empty when it can.

    Parameters
    ----------
    settings : Settings
    count : int
        Number of particles.
    box : int
        Box size of the particles, pixels.
    sampling : float
        Sampling rate of the particles, Angstrom per pixel.

    Returns
    -------
    list of str
        Sentences that name the parameter, its value and the remedy.
    """
    found = []
    if box % 2:
        found.append(
            "The particles' box is odd (%d pixels): crop or pad them to an even box "
            "first, RELION refuses odd boxes too." % box
        )
    if box < 16:
        found.append("The particles' box is only %d pixels: at least 16 are needed." % box)
    if not sampling > 0:
        found.append(
            "The particles' sampling rate is %g A per pixel: correct it in the import." % sampling
        )
        return found
    if settings.resolution < 2 * sampling:
        found.append(
            "resolution is %g A, finer than Nyquist (%g A at %g A per pixel): give %g A "
            "or coarser." % (settings.resolution, 2 * sampling, sampling, 2 * sampling)
        )
    if settings.resolution > box * sampling / 6:
        found.append(
            "resolution is %g A, too coarse for a box of %g A: give %g A or finer."
            % (settings.resolution, box * sampling, box * sampling / 6)
        )
    if settings.resolution < box * sampling / FINEST:
        found.append(
            "resolution is %g A, too fine for a box of %g A: give %g A or coarser."
            % (settings.resolution, box * sampling, box * sampling / FINEST)
        )
    finest = settings.finest(box, sampling)
    if finest < max(2 * sampling, box * sampling / FINEST) and finest < settings.resolution:
        found.append(
            "analysis_resolution is %g A, finer than these particles allow: give %g A or coarser, "
            "or auto." % (finest, max(2 * sampling, box * sampling / FINEST))
        )
    return found + too_few(settings, count)


def too_few(settings: Settings, count: int, total: int = 0) -> list[str]:
    """Why so many particles do not suffice; empty when they do.

    Parameters
    ----------
    settings : Settings
    count : int
        Number of particles, of those that can be used where that is known.
    total : int
        Number of all, where it is known that some of them cannot be used.

    Returns
    -------
    list of str
        As of `problems`.
    """
    known = "%d particles" % count
    if total > count:
        known = "%d usable particles of %d" % (count, total)
    if count < MIN_PARTICLES:
        return ["There are only %s: at least %d are needed." % (known, MIN_PARTICLES)]
    found = []
    if settings.n_classes * 10 > count:
        found.append(
            "classes is %d for only %s: ask for %d or fewer."
            % (settings.n_classes, known, count // 10)
        )
    if settings.method != "particles":
        size = settings.particles_per_reconstruction
        if size > count:
            found.append(
                "particles_per_reconstruction is %d, but there are only %s: give %d or "
                "fewer." % (size, known, max(1, count // 2))
            )
        drawn = size * settings.reconstructions
        if settings.method == "batches" and drawn > 100 * count:
            found.append(
                "%d reconstructions of %d particles draw each of the %s %d times: lower "
                "one of the two numbers so that their product is at most %d."
                % (settings.reconstructions, size, known, drawn // count, 100 * count)
            )
    return found


def cautions(settings: Settings, count: int, box: int, sampling: float) -> list[str]:
    """What the user should know before the run starts; the run is possible all the same.

    Parameters and return value as in `problems`.
    """
    found = []
    if settings.method == "batches":
        drawn = settings.particles_per_reconstruction * settings.reconstructions
        if drawn > count:
            found.append(
                "%d reconstructions of %d particles need %d, but there are %d: particles "
                "are reused in several batches. For batches without overlap use %d "
                "particles per reconstruction."
                % (
                    settings.reconstructions,
                    settings.particles_per_reconstruction,
                    drawn,
                    count,
                    max(1, count // settings.reconstructions),
                )
            )
        found.append(
            "Averages of random batches differ little whatever the particles' "
            "heterogeneity: the method particles finds it on the individual particles."
        )
    if settings.n_classes and count / settings.n_classes < FEW_PER_CLASS:
        found.append(
            "About %d particles per class are few: small differences will not be seen. "
            "Use fewer classes or more particles." % (count // settings.n_classes)
        )
    if settings.resolution < 3 * sampling:
        found.append(
            "resolution is %g A, close to Nyquist (%g A): initial volumes need less, 20 A "
            "is usual and much faster." % (settings.resolution, 2 * sampling)
        )
    return found


def batch_size(settings: Settings, count: int) -> int:
    """Particles per reconstruction that suit a set of `count` particles.

    Batches that share no particles where the set is large enough for batches of 100, which is the
    least that shows more than noise; at most 500 for the batch method. For the simple method an
    equal share for each class, at most 5000.
    """
    if settings.method == "simple":
        return max(1, min(5000, count // max(settings.n_classes, 1)))
    return max(1, min(500, max(100, count // settings.reconstructions), count // 2))


def batch_count(count: int) -> int:
    """Number of reconstructions that suits a set of `count` particles, 10 to 500.

    Batches of about 300 particles; of small sets, of 100 as long as there are 10 to 50 of them that
    share no particles.
    """
    return max(10, min(50, count // 100), min(500, count // 300))
