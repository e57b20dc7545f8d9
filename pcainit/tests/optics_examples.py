"""A particle of Gaussian balls, imaged exactly: any box, pixel size and magnification.

Written from RELION's definitions alone (metadata labels of 3.1): an image of magnification M holds
at its frequency k what the specimen has at M k, and so it is stretched by the transpose of M.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import mrcfile
import numpy as np

WIDTH = 6.0  # Angstrom, standard deviation of a ball


def balls(count=25, radius=50.0, seed=0):
    """Places of the balls, (count, 3) Angstrom."""
    rng = np.random.default_rng([seed, 5])
    points = rng.normal(size=(9 * count, 3)) * np.array([1.0, 0.7, 0.5]) * radius / 1.5
    return points[np.linalg.norm(points, axis=1) < radius][:count]


def euler(rot, tilt, psi):
    """RELION's matrix: specimen to image, (n, 3, 3)."""
    a, b, c = np.radians([rot, tilt, psi])
    zero, one = np.zeros_like(a), np.ones_like(a)

    def about_z(t):
        rows = [[np.cos(t), np.sin(t), zero], [-np.sin(t), np.cos(t), zero], [zero, zero, one]]
        return np.array(rows).transpose(2, 0, 1)

    about_y = [[np.cos(b), zero, -np.sin(b)], [zero, one, zero], [np.sin(b), zero, np.cos(b)]]
    return about_z(c) @ np.array(about_y).transpose(2, 0, 1) @ about_z(a)


def transfer(fx, fy, u, v, angle):
    """CTF at 300 kV, 2.7 mm and amplitude contrast 0.1, from its two-wave form."""
    wave = 0.0196875
    across = np.cos(2 * (np.arctan2(fy, fx) - np.radians(angle)))
    defocus = (u + v) / 2 + (u - v) / 2 * across
    square = fx**2 + fy**2
    chi = np.pi * wave * defocus * square - np.pi / 2 * 2.7e7 * wave**3 * square**2
    return np.sqrt(1 - 0.01) * np.sin(chi) + 0.1 * np.cos(chi)


def projection(gx, gy, places, weights=1.0):
    """Fourier transform of the projection of balls at (x, y) places, at frequencies in 1/A."""
    phase = np.exp(-2j * np.pi * (gx[..., None] * places[:, 0] + gy[..., None] * places[:, 1]))
    size = 2 * np.pi * WIDTH**2 * np.exp(-2 * (np.pi * WIDTH) ** 2 * (gx**2 + gy**2))
    return size * (phase * weights).sum(axis=-1)


def image(places, box, sampling, matrix, origin, defocus, weights=1.0, ctf=True):
    """One image (box, box): the projection through CTF and magnification, moved by -origin."""
    f = np.fft.fftfreq(box, sampling)
    fy, fx = np.meshgrid(f, f, indexing="ij")
    gx, gy = np.einsum("ij,jyx->iyx", matrix, [fx, fy])
    values = projection(gx, gy, places, weights) * np.abs(np.linalg.det(matrix))
    if ctf:
        values = values * transfer(gx, gy, *defocus)
    values = values * np.exp(2j * np.pi * (fx * origin[0] + fy * origin[1]))
    values *= np.exp(-2j * np.pi * (fx + fy) * sampling * (box // 2))
    return np.fft.ifft2(values).real / sampling**2


def multiplied(picture, sampling, matrix, defocus):
    """An image (box, box) times its CTF, all of it."""
    f = np.fft.fftfreq(len(picture), sampling)
    fy, fx = np.meshgrid(f, f, indexing="ij")
    gx, gy = np.einsum("ij,jyx->iyx", matrix, [fx, fy])
    return np.fft.ifft2(np.fft.fft2(picture) * transfer(gx, gy, *defocus)).real


def write_set(
    folder,
    groups,
    count,
    *,
    noise=0.0,
    seed=0,
    weights=None,
    per_row=False,
    tag="",
    premultiplied=(),
    around=0,
):
    """STAR file and stacks of particles that take turns in some optics groups.

    Parameters
    ----------
    folder : Path
    groups : list of (box, sampling, matrix)
    count : int
    noise : float
        Standard deviation of the noise over that of the first group's images.
    weights : (count, balls), optional
        Of each ball in each particle.
    per_row : bool
        Magnifications in the rows, not in the optics table.
    premultiplied : sequence of int
        Groups whose images are multiplied by their CTF.
    around : int
        Pixels on each side that are cut off after that; 0 keeps the box that it was done in.

    Returns
    -------
    dict
        Path of the STAR file; rotations, defocus, group and origin of each particle; factor on the
        images of each group.
    """
    rng = np.random.default_rng([seed, 6])
    points = balls()
    angles = np.stack(
        [
            rng.uniform(-180, 180, count),
            np.degrees(np.arccos(rng.uniform(-1, 1, count))),
            rng.uniform(-180, 180, count),
        ]
    ).round(4)
    turned = euler(*angles)
    origin = rng.normal(0, 3, (count, 2)).round(4)
    u = rng.uniform(6000, 12000, count).round(2)
    defocus = np.stack([u, u - 300, rng.uniform(0, 180, count).round(2)], axis=1)
    group = np.arange(count) % len(groups)
    rows = ["%d@g%d.mrcs" % (k // len(groups) + 1, group[k]) for k in range(count)]
    unit, greys = 1.0, []
    for g, (box, sampling, matrix) in enumerate(groups):
        mine = np.flatnonzero(group == g)
        stack = np.array(
            [
                image(
                    points @ turned[k, :2].T,
                    box + 2 * around,
                    sampling,
                    np.asarray(matrix, float),
                    origin[k],
                    defocus[k],
                    1.0 if weights is None else weights[k],
                )
                for k in mine
            ]
        )
        unit = stack.std() if g == 0 else unit
        # The dose of a pixel goes with its area; the specimen is one in all groups.
        greys.append(sampling / (noise * unit * groups[0][1]) if noise else 1.0)
        if noise:
            stack *= greys[g]
            stack += np.random.default_rng([seed, 7, g]).normal(size=stack.shape)
        if g in premultiplied:
            stack = [multiplied(one, sampling, matrix, defocus[k]) for one, k in zip(stack, mine)]
        stack = np.array(stack)[:, around : around + box, around : around + box]
        with mrcfile.new(str(folder / ("g%d.mrcs" % g)), overwrite=True) as mrc:
            mrc.set_data(stack.astype(np.float32))
            mrc.set_image_stack()
            mrc.voxel_size = sampling
    names = "".join("_rlnMagMat%s\n" % name for name in ("00", "01", "10", "11"))
    text = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n_rlnSphericalAberration\n"
    text += "_rlnAmplitudeContrast\n_rlnImagePixelSize\n_rlnImageSize\n"
    text += "_rlnCtfDataAreCtfPremultiplied\n" if premultiplied else ""
    text += "" if per_row else names
    matrices = [" ".join("%.9f" % x for x in np.ravel(matrix)) for _, _, matrix in groups]
    for g, (box, sampling, _) in enumerate(groups):
        text += "%d 300 2.7 0.1 %.6f %d %s %s\n" % (
            g + 1,
            sampling,
            box,
            int(g in premultiplied) if premultiplied else "",
            "" if per_row else matrices[g],
        )
    text += "\ndata_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnAngleRot\n"
    text += "_rlnAngleTilt\n_rlnAnglePsi\n_rlnOriginXAngst\n_rlnOriginYAngst\n_rlnDefocusU\n"
    text += "_rlnDefocusV\n_rlnDefocusAngle\n" + (names if per_row else "")
    for k in range(count):
        numbers = [*angles[:, k], *origin[k], *defocus[k]]
        text += "%s %d %s %s\n" % (
            rows[k],
            group[k] + 1,
            " ".join("%.4f" % x for x in numbers),
            matrices[group[k]] if per_row else "",
        )
    path = folder / ("particles%s.star" % tag)
    path.write_text(text)
    return dict(
        path=path, rotations=turned, defocus=defocus, group=group, origin=origin, greys=greys
    )
