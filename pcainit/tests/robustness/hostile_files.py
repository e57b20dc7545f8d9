"""Hostile files of every kind that the program reads; see `hostile`."""

# SPDX-License-Identifier: GPL-3.0-or-later
import io
import os
import pickle
import struct

import numpy as np

from pcainit.tests.robustness.hostile import Watch, damage_bytes, damage_text

COUNT, BOX = 24, 16  # particles and box of the good files


def good_star(rng, count=COUNT):
    """Text of a good STAR file of `count` images in stack.mrcs."""
    labels = [
        "rlnImageName",
        "rlnMicrographName",
        "rlnOpticsGroup",
        "rlnRandomSubset",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
        "rlnOriginXAngst",
        "rlnOriginYAngst",
    ]
    rows = [
        "%06d@stack.mrcs mic.mrc %d %d %.2f %.2f %.2f %.3f %.3f %.3f %.2f %.2f"
        % (
            k + 1,
            k % 2 + 1,
            k % 2 + 1,
            rng.uniform(5e3, 3e4),
            rng.uniform(5e3, 3e4),
            rng.uniform(0, 180),
            rng.uniform(-180, 180),
            rng.uniform(0, 180),
            rng.uniform(-180, 180),
            rng.uniform(-9, 9),
            rng.uniform(-9, 9),
        )
        for k in range(count)
    ]
    return (
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnVoltage #2\n_rlnSphericalAberration #3\n"
        "_rlnAmplitudeContrast #4\n_rlnImagePixelSize #5\n_rlnImageSize #6\n"
        "1 300 2.7 0.1 4.0 %d\n2 200 2.7 0.1 4.0 %d\n\ndata_particles\n\nloop_\n"
        % (BOX, BOX)
        + "".join("_%s #%d\n" % (label, k + 1) for k, label in enumerate(labels))
        + "\n".join(rows)
        + "\n"
    )


def mrc_file(data, order="<", mode=2, extended=0, sampling=4.0, **fields):
    """Bytes of an MRC file, written here and not by the library that reads them."""
    nz, ny, nx = data.shape
    head = bytearray(1024)
    values = dict(
        nx=nx,
        ny=ny,
        nz=nz,
        mode=mode,
        mx=nx,
        my=ny,
        mz=nz,
        mapc=1,
        mapr=2,
        maps=3,
        ispg=1,
        nsymbt=extended,
        stamp=0,
        flags=0,
    )
    values.update(fields)
    place = dict(
        nx=0,
        ny=4,
        nz=8,
        mode=12,
        mx=28,
        my=32,
        mz=36,
        mapc=64,
        mapr=68,
        maps=72,
        ispg=88,
        nsymbt=92,
        stamp=152,
        flags=156,
    )
    for name, at in place.items():
        struct.pack_into(order + "i", head, at, values[name])
    struct.pack_into(order + "3f", head, 40, nx * sampling, ny * sampling, nz * sampling)
    head[208:216] = b"MAP " + (b"DD\0\0" if order == "<" else b"\x11\x11\0\0")
    kind = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}[mode]
    if values["stamp"]:
        kind = "u1"
    return bytes(head) + bytes(extended) + data.astype(order + kind).tobytes()


def random_mrc(rng, shape):
    """A good MRC file of any mode and byte order, and what it holds (float32)."""
    mode, order = rng.choice([0, 1, 2, 6, 12]), rng.choice("<>")
    unsigned = mode == 0 and rng.random() < 0.5
    high = {0: 255 if unsigned else 127, 12: 1000}.get(mode, 30000)
    low = 0 if unsigned or mode == 6 else -high
    numbers = np.random.default_rng(rng.randrange(2**32))
    data = numbers.integers(low, high, shape, endpoint=True)
    fields = dict(stamp=1146047817) if unsigned else {}
    return mrc_file(data, order, mode, rng.choice([0, 0, 80, 4096]), **fields), data.astype("f4")


def hostile_header(rng):
    """Bytes of an MRC file whose header says one or two absurd things."""
    data = np.zeros((COUNT, BOX, BOX))
    names = ["nx", "ny", "nz", "mode", "mx", "mz", "mapc", "maps", "ispg", "nsymbt"]
    values = [0, -1, 1, 3, 4, 15, 17, 101, 1000, 10**9, 2**31 - 1, -(2**31), 401, 65536, -1024]
    fields = {rng.choice(names): rng.choice(values) for _ in range(rng.randint(1, 2))}
    mode = fields.pop("mode", 2)
    raw = bytearray(mrc_file(data, rng.choice("<>"), 2, **fields))
    struct.pack_into("<i", raw, 12, mode)
    return bytes(raw)


def star_case(rng, folder):
    """A damaged STAR file beside a good stack."""
    from pcainit.io.particle_table import ParticleTable
    from pcainit.io.star import read_particles

    stack = folder / "stack.mrcs"
    if not stack.exists():
        stack.write_bytes(mrc_file(np.random.default_rng(0).normal(size=(COUNT, BOX, BOX))))
    whole = rng.random() < 0.1
    text = good_star(rng)
    (folder / "particles.star").write_bytes(text.encode() if whole else damage_text(text, rng))

    def call():
        with Watch.over(folder):
            table = ParticleTable(folder / "particles.star")
            particles = read_particles(table, rng.choice([None, str(folder)]))
            table.write_with(folder / "out.star", {"rlnClassNumber": np.arange(len(table)) % 3})
        return table, particles, ParticleTable(folder / "out.star")

    def check(found):
        table, particles, again = found
        n = len(particles)
        turned = np.einsum("nij,nkj->nik", particles.rotations, particles.rotations)
        assert np.abs(turned - np.eye(3)).max() < 1e-4
        assert np.isfinite(particles.shifts_px).all() and (np.abs(particles.shifts_px) <= BOX).all()
        assert ((particles.row >= 0) & (particles.row < COUNT)).all()
        assert particles.box_px == BOX and 0.01 <= particles.sampling <= 1000
        assert set(np.unique(particles.half)) <= {1, 2}
        for values in vars(particles.ctf).values():
            assert np.isfinite(values).all() and len(values) == n
        # No cell is lost or moved, whatever its letters.
        assert again.text("rlnImageName") == table.text("rlnImageName")
        assert again.text("rlnClassNumber") == [str(k % 3) for k in range(n)]
        return not whole or n == COUNT

    return call, check


def stack_case(rng, folder):
    """A stack: good in any mode, of an absurd header, or damaged."""
    from pcainit.io.stacks import read_chunks, stack_box

    kind, truth = rng.randrange(3), None
    if kind == 0:
        raw, truth = random_mrc(rng, (COUNT, BOX, BOX))
    elif kind == 1:
        raw = hostile_header(rng)
    else:
        raw = damage_bytes(mrc_file(np.ones((COUNT, BOX, BOX))), rng)
    path = folder / "stack.mrcs"
    path.write_bytes(raw)
    row = np.array([rng.randrange(COUNT) for _ in range(10)])
    stacks, stack = (str(path),), np.zeros(10, np.int32)

    def call():
        with Watch.over(folder):
            box = stack_box(stacks, stack, row)
            images = np.zeros((10, box, box), np.float32)
            for index, read in read_chunks(stacks, stack, row, 3):
                images[index] = read()
        return images

    def check(images):
        return truth is None or np.array_equal(images, truth[row])

    return call, check


def map_case(rng, folder):
    """A map: good in any mode and order of axes, of an absurd header, or damaged."""
    from pcainit.io.maps import read_map

    kind, truth = rng.randrange(3), None
    if kind == 0:
        raw, data = random_mrc(rng, (BOX, BOX, BOX))
        order = rng.sample([1, 2, 3], 3)
        head = bytearray(raw)
        little = struct.unpack_from("<i", raw, 0)[0] == BOX
        struct.pack_into("<3i" if little else ">3i", head, 64, *order)
        raw = bytes(head)
        truth = np.empty_like(data)
        for place in np.ndindex(2, 2, 2):  # a few voxels, each by its own coordinates
            section, line, column = (5 + 7 * k for k in place)
            where = dict(zip(order, (column, line, section)))
            truth[where[3], where[2], where[1]] = data[section, line, column]
    elif kind == 1:
        raw = hostile_header(rng)
    else:
        raw = damage_bytes(mrc_file(np.ones((BOX, BOX, BOX))), rng)
    path = folder / "map.mrc"
    path.write_bytes(raw)

    def call():
        with Watch.over(folder):
            return read_map(path, "mask")

    def check(found):
        volume, sampling = found
        assert volume.dtype == np.float32 and len(set(volume.shape)) == 1
        assert np.isfinite(volume).all() and 0 <= sampling < np.inf
        if truth is None:
            return True
        picked = np.ix_(*[[5, 12]] * 3)
        return np.array_equal(volume[picked], truth[picked]) and abs(sampling - 4) < 1e-4

    return call, check


def list_case(rng, folder):
    """A list of maps."""
    from pcainit.io.map_list import find_maps

    (folder / "a.mrc").write_bytes(b"")
    text = "a.mrc 1 4.0\n\"a.mrc\" 2\n# note\n'a.mrc' 0.5 3\na.mrc\n"
    (folder / "list.txt").write_bytes(damage_text(text, rng))

    def call():
        with Watch.over(folder):
            return find_maps(
                [
                    rng.choice(
                        [
                            str(folder / "list.txt"),
                            str(folder),
                            "/" + "x" * 5000,
                            str(folder / "list.txt") + "/deeper",
                        ]
                    )
                ]
            )

    def check(found):
        return all(
            np.isfinite(one.weight) and one.weight > 0 and os.path.isfile(one.path) for one in found
        )

    return call, check


class Malicious:
    """What a pickle may hold: a call of its own."""

    def __reduce__(self):
        return os.system, ("true",)


class Nameless:
    """Stands in for the table of so many particles of which nothing more is known."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def has(self, label):
        """Whether it has a column."""
        return False

    def text(self, label):
        """Names of images that are nowhere else."""
        return ["%06d@nowhere.mrcs" % (k + 1) for k in range(self.count)]


def coordinates_case(rng, folder):
    """Latent coordinates of any kind: good, of a wrong kind, damaged or malicious."""
    from pcainit.io.coordinates import match_coordinates

    numbers = np.random.default_rng(rng.randrange(2**32))
    values = numbers.normal(size=(COUNT, rng.randint(1, 4))).round(3)
    suffix = rng.choice([".npy", ".npz", ".cs", ".txt", ".csv", ".pkl"])
    good, stream = rng.random() < 0.3, io.BytesIO()
    if suffix == ".pkl":
        stream.write(pickle.dumps(rng.choice([values, Malicious(), [Malicious()]])))
        good = False
    elif suffix in (".txt", ".csv"):
        np.savetxt(stream, values, fmt="%.3f", delimiter="," if suffix == ".csv" else " ")
    else:
        array = values
        if suffix == ".cs":
            array = np.zeros(
                COUNT, [("components_mode_%d/value" % k, "f8") for k in range(values.shape[1])]
            )
            for k, name in enumerate(array.dtype.names):
                array[name] = values[:, k]
        if not good:
            array = rng.choice(
                [
                    array,
                    array,
                    values.astype(str),
                    values + 1j,
                    values[:5],
                    np.full((COUNT, 2), Malicious(), object),
                    values * 1e300,
                    values[:, :0],
                    values.T,
                    np.zeros((COUNT, 3)),
                    values[..., None],
                ]
            )
        (
            np.save(stream, array, allow_pickle=True)
            if suffix != ".npz"
            else np.savez_compressed(stream, coordinates=array)
        )
    raw = stream.getvalue()
    if not good and rng.random() < 0.6:
        text = suffix in (".txt", ".csv")
        raw = damage_text(raw.decode(), rng) if text else damage_bytes(raw, rng)
    if rng.random() < 0.05:
        raw = raw.replace(b"(%d," % COUNT, b"(%d," % 10**12)
        good = False
    path = folder / ("z" + suffix)
    path.write_bytes(raw)

    def call():
        with Watch.over(folder):
            return match_coordinates(path, Nameless(COUNT))[0]

    def check(found):
        assert found.shape[0] == COUNT and np.isfinite(found).all() and found.dtype == np.float64
        return not good or np.array_equal(found, values)

    return call, check


def rows_case(rng, folder):
    """Row numbers of chosen particles."""
    from pcainit.pipeline.routes.chosen import read_rows

    path = folder / "rows.txt"
    path.write_bytes(damage_text("# rows\n1\n2 note\n17\n100\n", rng))

    def call():
        with Watch.over(folder):
            return read_rows(path)

    return call, lambda rows: rows.dtype == np.int64 and rows.ndim == 1


def preview_case(rng, folder):
    """The preview that the wizards draw from."""
    from pcainit.pipeline.routes.preview import read_preview

    stream = io.BytesIO()
    np.savez(
        stream,
        mean=np.zeros((8, 8, 8), np.float32),
        box_px=16,
        sampling=4.0,
        finest=9.0,
        count=5,
        total=5,
    )
    path = folder / "preview.npz"
    path.write_bytes(damage_bytes(stream.getvalue(), rng))

    def call():
        with Watch.over(folder):
            return read_preview(path)

    return call, lambda preview: preview.mean.ndim == 3


READERS = {
    "STAR file": star_case,
    "particle stack": stack_case,
    "map or mask": map_case,
    "list of maps": list_case,
    "latent coordinates": coordinates_case,
    "rows": rows_case,
    "preview": preview_case,
}
