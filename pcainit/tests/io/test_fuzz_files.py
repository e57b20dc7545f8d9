"""Thousands of damaged, contradictory and malicious files; short runs of `benchmarks/fuzz.py`."""

# SPDX-License-Identifier: GPL-3.0-or-later
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pcainit.errors import InputError
from pcainit.io.coordinates import match_coordinates
from pcainit.io.maps import read_map
from pcainit.io.particle_table import ParticleTable
from pcainit.io.stacks import stack_box
from pcainit.io.star import read_particles
from pcainit.tests.robustness import hostile, hostile_files
from pcainit.tests.robustness.hostile_files import BOX, COUNT, Nameless, good_star, mrc_file

MIN_RESULTS = {"preview": 0}  # most damage to a small zip archive is fatal
QUICK = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize("name", list(hostile_files.READERS))
def test_a_result_or_one_sentence(name, tmp_path):
    found = hostile.run_cases(hostile_files.READERS[name], 250, 1, tmp_path)
    assert found["broken"] == []
    assert found["result"] >= MIN_RESULTS.get(name, 25) and found["refusal"] >= 25


def write_star(folder, text=None, change=lambda text: text):
    """A good STAR file with a change, beside its stack."""
    (folder / "stack.mrcs").write_bytes(
        mrc_file(np.random.default_rng(0).normal(size=(COUNT, BOX, BOX)))
    )
    text = change(good_star(random.Random(0))) if text is None else text
    path = folder / "particles.star"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def column(label, values):
    """A change of a STAR file's text that puts values into a column."""

    def change(text):
        head, body = text.split("data_particles")
        lines = body.split("\n")
        labels = [line.split()[0][1:] for line in lines if line.startswith("_")]
        rows = [k for k, line in enumerate(lines) if "@" in line]
        if label not in labels:
            last = max(k for k, line in enumerate(lines) if line.startswith("_"))
            lines[last] += "\n_%s #%d" % (label, len(labels) + 1)
        for place, k in enumerate(rows):
            words = lines[k].split()
            value = str(values[place % len(values)])
            if label in labels:
                words[labels.index(label)] = value
            else:
                words.append(value)
            lines[k] = " ".join(words)
        return head + "data_particles" + "\n".join(lines)

    return change


# What a user could hand in without noticing, and a word of the sentence that says so.
WRONG = {
    "voltage in V": (column("rlnVoltage", [300000]), "kV"),
    "voltage 0": (column("rlnVoltage", [0]), "kV"),
    "defocus in micrometres": (column("rlnDefocusU", [1.2, 1.5]), "micrometres"),
    "defocus in metres": (column("rlnDefocusU", ["1e300"]), "Angstrom"),
    "angles in radians": (
        lambda text: column("rlnAngleRot", np.linspace(-3, 3, COUNT))(
            column("rlnAngleTilt", np.linspace(0, 3, COUNT))(
                column("rlnAnglePsi", np.linspace(3, -3, COUNT))(text)
            )
        ),
        "radians",
    ),
    "an angle that is none": (column("rlnAnglePsi", ["1e300"]), "degrees"),
    "aberration in Angstrom": (column("rlnSphericalAberration", [2.7e7]), "mm"),
    "shift beyond the image": (column("rlnOriginXAngst", [0, 4000]), "more than the box"),
    "shift that float32 cannot hold": (column("rlnOriginXAngst", ["1e300"]), "more than the box"),
    "B-factor": (column("rlnCtfBfactor", [-1e6]), "rlnCtfBfactor"),
    "scale 0": (column("rlnCtfScalefactor", [0]), "positive factor"),
    "another box": (lambda text: text.replace("4.0 16", "4.0 32"), "rlnImageSize"),
    "pixel size": (lambda text: text.replace("4.0 16", "1e-300 16"), "pixel size"),
    "a group twice": (lambda text: text.replace("\n2 200", "\n1 200"), "twice"),
    "a particle twice": (
        lambda text: text.rstrip("\n") + "\n" + text.rstrip("\n").split("\n")[-1] + "\n",
        "twice, with the same image and pose",
    ),
    "a column twice": (lambda text: text.replace("_rlnDefocusV", "_rlnDefocusU"), "duplicate"),
    "Python's own numbers": (column("rlnDefocusU", ["1_0000"]), "not a number"),
    "huge image number": (column("rlnImageName", ["9" * 30 + "@stack.mrcs"]), "start at 1"),
    "endless image number": (column("rlnImageName", ["9" * 5000 + "@stack.mrcs"]), "start at 1"),
    "another alphabet's digits": (column("rlnImageName", ["\u0663@stack.mrcs"]), "start at 1"),
    "endless name": (column("rlnImageName", ["1@" + "a" * 5000]), "not found"),
    "a system file": (column("rlnImageName", ["1@/etc/passwd"]), "cannot be read as MRC"),
    "a device": (column("rlnImageName", ["1@/dev/zero"]), "not found"),
    "many blocks": (lambda text: text + "".join("data_%d\n" % k for k in range(5000)), "blocks"),
}


@pytest.mark.parametrize("change, words", WRONG.values(), ids=list(WRONG))
def test_wrong_in_silence(tmp_path, change, words):
    with pytest.raises(InputError, match=words) as caught:
        read_particles(ParticleTable(write_star(tmp_path, change=change)))
    assert hostile.sentence(str(caught.value))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
def test_other_encodings_are_read_and_kept(tmp_path, encoding):
    text = column("rlnMicrographName", ["m\u00edc\u00fa.mrc"])(good_star(random.Random(0)))
    data = text.encode(encoding)
    path = write_star(tmp_path, b"\xfe\xff" + data if encoding == "utf-16-be" else data)
    table = ParticleTable(path)
    assert len(read_particles(table)) == COUNT
    table.write_with(tmp_path / "out.star", {"rlnClassNumber": np.ones(COUNT, int)})
    name = "m\u00edc\u00fa.mrc".encode("latin-1" if encoding == "latin-1" else "utf-8")
    assert (tmp_path / "out.star").read_bytes().count(name) == COUNT


def test_copies_of_an_image_stay_in_one_half_set(tmp_path):
    """Expanded symmetry: halves that share an image would agree on its noise."""

    def change(text):
        lines = text.rstrip("\n").split("\n")
        more = []
        for line in lines:
            if "@" in line:
                words = line.split()
                words[7] = "%.3f" % (float(words[7]) / 2 + 90)
                more.append(
                    " ".join(
                        [*words[:3], "3" if words[3] == "?" else str(3 - int(words[3])), *words[4:]]
                    )
                )  # the other half-set
        return "\n".join(lines + more) + "\n"

    particles = read_particles(ParticleTable(write_star(tmp_path, change=change)))
    assert len(particles) == 2 * COUNT
    assert np.array_equal(particles.half[:COUNT], particles.half[COUNT:])
    assert (particles.half == 1).sum() == COUNT


@QUICK
@given(some.lists(some.floats(-36000, 36000), min_size=COUNT, max_size=COUNT))
def test_numbers_arrive_as_they_are(values):
    with tempfile.TemporaryDirectory() as name:
        path = write_star(Path(name), change=column("rlnAngleRot", values))
        assert np.array_equal(ParticleTable(path).numbers("rlnAngleRot"), np.array(values))


@QUICK
@given(some.binary(max_size=3000))
def test_any_bytes(data):
    """A file of any content, whatever it is taken for."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "file"
        path.write_bytes(data)
        for read in (
            lambda: read_particles(ParticleTable(path)),
            lambda: read_map(path),
            lambda: stack_box((str(path),), np.zeros(3, int), np.arange(3)),
            lambda: match_coordinates(path, Nameless(7)),
        ):
            assert hostile.outcome(read, lambda found: True) in ("result", "refusal")


def test_unsigned_bytes_of_imod(tmp_path):
    """Mode 0 is signed by the standard, unsigned in IMOD's older files, which say so."""
    data = np.full((BOX,) * 3, 200)
    (tmp_path / "a.mrc").write_bytes(mrc_file(data, mode=0, stamp=1146047817))
    assert (read_map(tmp_path / "a.mrc")[0] == 200).all()
    (tmp_path / "b.mrc").write_bytes(mrc_file(data - 256, mode=0))
    assert (read_map(tmp_path / "b.mrc")[0] == -56).all()


@pytest.mark.parametrize(
    "fields",
    [
        dict(nz=10**9),
        dict(extended=0, nsymbt=2**31 - 1),
        dict(nx=2**31 - 1, ny=2**31 - 1, nz=2**31 - 1),
    ],
)
def test_a_header_that_promises_much_takes_no_memory(tmp_path, fields):
    import resource

    (tmp_path / "a.mrcs").write_bytes(mrc_file(np.zeros((COUNT, BOX, BOX)), **fields))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (
        lambda: read_map(tmp_path / "a.mrcs"),
        lambda: stack_box((str(tmp_path / "a.mrcs"),), np.zeros(3, int), np.arange(3)),
    ):
        with pytest.raises(InputError, match="truncated"):
            read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50e3  # kilobytes


def test_arrays_that_promise_much_are_not_read(tmp_path):
    np.savez_compressed(str(tmp_path / "a.npz"), coordinates=np.zeros((COUNT, 3 * 10**6), "i1"))
    with pytest.raises(InputError, match="its shape is"):
        match_coordinates(tmp_path / "a.npz", Nameless(COUNT))
    np.save(str(tmp_path / "a.npy"), np.zeros((COUNT, 2)))
    raw = (tmp_path / "a.npy").read_bytes().replace(b"(%d, 2)" % COUNT, b"(%d, 2)" % 10**12)
    (tmp_path / "a.npy").write_bytes(raw)
    with pytest.raises(InputError, match="1000000000000 rows for"):
        match_coordinates(tmp_path / "a.npy", Nameless(COUNT))


@pytest.mark.parametrize(
    "content, words", [(b"\x1f\x8b\x08" + bytes(2000), "gzip"), (b"BZh9" + bytes(2000), "bzip2")]
)
def test_compressed_maps_are_named(tmp_path, content, words):
    (tmp_path / "mask.mrc").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_map(tmp_path / "mask.mrc")


def test_maps_that_are_several_or_stretched(tmp_path):
    data = np.ones((BOX,) * 3)
    (tmp_path / "a.mrc").write_bytes(mrc_file(data, ispg=401, mz=4))
    with pytest.raises(InputError, match="several volumes"):
        read_map(tmp_path / "a.mrc")
    (tmp_path / "a.mrc").write_bytes(mrc_file(data, mz=8))
    with pytest.raises(InputError, match="4 x 4 x 8 A"):
        read_map(tmp_path / "a.mrc")
