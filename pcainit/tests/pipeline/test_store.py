"""What stages leave for each other: damage is noticed, space is reserved, nothing is half there."""

# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import os
import zipfile

import numpy as np
import pytest

from pcainit import buffers as scratch
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.particles import Slices
from pcainit.errors import DamagedResult, InputError
from pcainit.io import atomic
from pcainit.pipeline.prepare_result import PrepareResult
from pcainit.pipeline.store import ROWS, Workspace, checksums
from pcainit.tests.robustness.accidents import flip

GRID = Grid(16, 6.0, 30.0)
COUNT = ROWS + 50  # two checksums


def prepared(slices, sums):
    """The result of the stage prepare for these slices."""
    return PrepareResult(
        grid=slices.grid,
        rotations=slices.rotations,
        half=slices.half,
        usable=slices.usable,
        redrawn=False,
        images={},
        star="particles.star",
        star_near="",
        identity="one",
        star_identity="two",
        sums=sums,
    )


def fill(folder):
    """A workspace with prepared particles, and what they were."""
    workspace, rng, p = Workspace(folder), np.random.default_rng(0), len(GRID.frequencies)
    values = workspace.allocate("values", (COUNT, p), np.complex64)
    ctf = workspace.allocate("ctf", (COUNT, p), np.float32)
    values[:] = rng.normal(size=values.shape)
    ctf[:] = rng.normal(size=ctf.shape)
    slices = Slices(
        values,
        ctf,
        np.tile(np.eye(3, dtype=np.float32), (COUNT, 1, 1)),
        np.ones(COUNT, np.int8),
        np.ones(COUNT, bool),
        GRID,
    )
    workspace.put(prepared(slices, workspace.keep_slices(slices)), "abc")
    return values.copy()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder, content of its files and values."""
    folder = tmp_path_factory.mktemp("work")
    values = fill(folder)
    return folder, {path: path.read_bytes() for path in folder.iterdir()}, values


@pytest.fixture
def folder(kept):
    """The folder, made whole again afterwards."""
    yield kept[0]
    for path, content in kept[1].items():
        path.write_bytes(content)


def test_undamaged(folder, kept):
    assert Workspace(folder).has(PrepareResult, "abc")
    assert np.array_equal(Workspace(folder).slices().values, kept[2])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.9999])
@pytest.mark.parametrize("name", ["values.npy", "ctf.npy"])
def test_a_flipped_bit_in_the_particles_is_noticed(folder, name, share):
    path = folder / name
    flip(path, int(8 * share * path.stat().st_size))
    with pytest.raises(DamagedResult, match=name) as caught:
        Workspace(folder).slices()
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["values.npy", "ctf.npy", "prepare.npz"])
@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_file_cut_short_is_noticed(folder, name, share):
    path = folder / name
    os.truncate(str(path), int(share * path.stat().st_size))
    with pytest.raises(InputError, match="damaged"):
        Workspace(folder).slices()


def test_no_flipped_bit_in_a_result_passes_for_another(folder, kept):
    """Any bit of the lists at both ends, and some in between: noticed, or without effect."""
    path = folder / "prepare.npz"
    whole, right = path.read_bytes(), Workspace(folder).get(PrepareResult)
    places = [
        *range(0, 300, 3),
        *range(300, len(whole) - 900, 997),
        *range(len(whole) - 900, len(whole)),
    ]
    noticed = 0
    for k, place in enumerate(places):
        flip(path, 8 * place + k % 8)
        try:
            read = Workspace(folder).get(PrepareResult)
            assert (read.grid, read.identity) == (right.grid, right.identity)
            for name in ("rotations", "half", "usable"):
                assert np.array_equal(getattr(read, name), getattr(right, name))
        except DamagedResult:
            noticed += 1
            assert not Workspace(folder).has(PrepareResult, "abc")
        path.write_bytes(whole)
    assert noticed > 100


def test_a_list_of_contents_that_is_short_is_noticed(folder):
    path = folder / "prepare.npz"
    with zipfile.ZipFile(str(path)) as data:
        members = {name: data.read(name) for name in data.namelist()}
    del members["half.npy"]
    with zipfile.ZipFile(str(path), "w") as data:
        for name, content in members.items():
            data.writestr(name, content)
    with pytest.raises(DamagedResult):
        Workspace(folder).get(PrepareResult)


def test_checksums_of_rows():
    array = np.zeros((2 * ROWS + 1, 3), np.float32)
    before = checksums(array)
    array[ROWS, 2] = 1
    assert len(before) == 3 and (checksums(array) != before).tolist() == [False, True, False]


@pytest.mark.parametrize("scratch_only", [False, True])
def test_no_room(tmp_path, monkeypatch, scratch_only):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr("pcainit.pipeline.store.IN_MEMORY_BYTES", 0)
    workspace = Workspace(None, tmp_path) if scratch_only else Workspace(tmp_path)
    with pytest.raises(InputError, match="no room for the 0.4 MB"):
        workspace.allocate("values", (1000, 100), np.float32)
    assert os.listdir(str(tmp_path)) == []


def test_file_system_that_cannot_reserve(tmp_path, monkeypatch):
    def unknown(*args):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    monkeypatch.setattr(scratch, "_BLOCK", 1000)
    with open(str(tmp_path / "file"), "wb") as file:
        scratch.reserve(file.fileno(), 4321)
    assert (tmp_path / "file").read_bytes() == bytes(4321)
    fill(tmp_path / "work")
    assert len(Workspace(tmp_path / "work").slices()) == COUNT


@pytest.mark.parametrize("in_memory", [0, 2**30])
def test_file_system_without_maps(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr("pcainit.pipeline.store.IN_MEMORY_BYTES", in_memory)

    class Refused(np.memmap):
        def __new__(cls, *args, **options):
            raise OSError(errno.ENODEV, "No such device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "memmap", Refused)
        values = fill(tmp_path)
        assert np.array_equal(Workspace(tmp_path).slices().values, values)
    assert np.array_equal(Workspace(tmp_path).slices().values, values)


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error"),
        MemoryError(),
    ],
)
def test_what_is_no_fault_of_the_file_is_no_damage(folder, monkeypatch, error):
    def fail(*args, **options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("pcainit.pipeline.store.read_arrays", fail)
        with pytest.raises(type(error)):
            Workspace(folder).has(PrepareResult, "abc")
    workspace = Workspace(folder)
    workspace.get(PrepareResult)
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(type(error)):
        workspace.slices()


def test_a_full_disk_is_one_error(tmp_path, capfd):
    import gc

    class Full:
        closed = False

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    patient = atomic._Patient(Full())
    np.savez(patient, values=np.zeros(1000))
    gc.collect()
    assert patient.error.errno == errno.ENOSPC
    assert capfd.readouterr().err == ""
