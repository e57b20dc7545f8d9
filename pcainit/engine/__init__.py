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
Threads
    Sums run over a fixed number of blocks in a fixed order: no result depends on the number of
    threads.
"""
# SPDX-License-Identifier: GPL-3.0-or-later
