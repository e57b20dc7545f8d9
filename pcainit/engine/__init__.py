"""The numerical engine: particles and maps in, initial volumes out.  It knows no Scipion.

Conventions, each defined once
------------------------------
Arrays
    Volumes are indexed ``[z, y, x]``, vectors are ``(x, y, z)``, the origin is the pixel
    ``box // 2`` of each axis.
Fourier data (`grid`)
    An image is a list of *p* samples ``(kx, ky)`` inside the resolution circle, each Friedel
    pair once, the zero frequency first.  Values are the unnormalised transform divided by the
    particles' box, so that white noise of unit variance per pixel has ``E|value|^2 = 1``.
Pose (`poses`)
    ``rotation`` takes specimen to image coordinates (RELION's matrix): the central slice of an
    image at ``(kx, ky)`` lies at ``rotation.T @ (kx, ky, 0)``.  ``shift`` in pixels is what
    RELION calls the origin: shifting the image by it centres the particle.
CTF (`ctf`)
    Underfocus positive, **plus** the amplitude contrast at zero frequency, particles white.
Units
    Lengths in Angstrom, angles in degrees at the borders and matrices inside, voltage in kV,
    Cs in mm; what is in pixels ends in ``_px``.
Randomness
    Only from a seed that is passed in.
Notation
    A whitened particle is ``y = C P (mu + U z) + N w + noise``, ``r = y - C P mu`` its residual.

    =========  ==========================================================================
    C, P       CTF and central slice of the particle; its values and CTF are `Slices`
    mu         consensus, ``mean``
    U, z       components and latent coordinates; ``scaled`` is U times the coordinates' sd
    N, w       nuisance columns and coefficients: contrast, shift x y, rotation x y z, fall-off
    q, K, n    number of components, of classes, of particles; t = q + 7 coefficients
    G, b       ``A' A`` and ``A' r`` of the columns A = [C P U, N]: ``grams``, ``scores``
    D          prior precision of the coefficients, ``precision``
    1 + d      contrast of a particle; d is the first nuisance
    offsets    nuisance coefficients that the slices have been corrected by
    whitening  one over the noise's standard deviation, sample by sample
    =========  ==========================================================================

    *Responsibilities* are a particle's posterior probabilities of the classes; *half-sets* are
    two independent halves of the particles; a component is *certified* when both find it and no
    artefact makes it (`components.rules`).
Threads
    Sums run over a fixed number of blocks in a fixed order: no result depends on the number of
    threads.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
