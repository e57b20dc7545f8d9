"""Particle stacks, maps, atomic writes and the workspace."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os

import mrcfile
import numpy as np
import pytest

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.images.particles import Slices
from pcainit.errors import InputError
from pcainit.io import stacks as module
from pcainit.io.atomic import (
    read_arrays,
    replacing,
    to_json_types,
    write_arrays,
    write_json,
    write_text,
)
from pcainit.io.maps import read_map, write_blocks, write_map
from pcainit.io.stacks import read_chunks, stack_box
from pcainit.pipeline.results import ClusterResult, ComponentsResult
from pcainit.pipeline.store import Workspace, make_folder
from pcainit.tests.pipeline.test_store import prepared

BOX = 16


def write_stack(path, count=10, mode=np.float32, seed=0, shape=(BOX, BOX)):
    """A stack of whole numbers, which every mode holds exactly."""
    data = np.random.default_rng(seed).integers(0, 100, (count,) + shape).astype(mode)
    with mrcfile.new(str(path), overwrite=True) as mrc:
        mrc.set_data(data)
        mrc.set_image_stack()
    return data


def collect(stacks, stack, row, chunk):
    """All images by particle number, and how often each came."""
    images, times = {}, np.zeros(len(row), int)
    for index, read in read_chunks(tuple(map(str, stacks)), np.array(stack), np.array(row), chunk):
        part = read()
        assert part.dtype == np.float32 and part.flags.writeable
        assert len(index) <= chunk
        for i, image in zip(index, part):
            images[int(i)], times[i] = image.copy(), times[i] + 1
    return images, times


@pytest.mark.parametrize("mode", [np.float32, np.float16, np.int8, np.int16, np.uint16])
@pytest.mark.parametrize("name", ["s.mrcs", "s.mrc", "s.stk"])
def test_modes_and_suffixes(tmp_path, mode, name):
    data = write_stack(tmp_path / name, mode=mode)
    images, times = collect([tmp_path / name], [0] * 10, range(10), 4)
    assert (times == 1).all()
    for i in range(10):
        assert np.array_equal(images[i], data[i].astype(np.float32))


def test_big_endian_and_extended_header(tmp_path):
    path = tmp_path / "s.mrcs"
    with mrcfile.new(str(path)) as mrc:
        data = np.random.default_rng(0).normal(size=(3, BOX, BOX)).astype(">f4")
        mrc.set_data(data)
        mrc.set_extended_header(np.zeros(200, "V1"))
    images, _ = collect([path], [0] * 3, range(3), 2)
    assert all(np.array_equal(images[i], data[i]) for i in range(3))


def test_a_map_file_counts_as_a_stack(tmp_path):
    """Old stacks are marked as volumes; RELION reads them all the same."""
    data = np.random.default_rng(0).normal(size=(5, BOX, BOX)).astype(np.float32)
    with mrcfile.new(str(tmp_path / "s.mrc")) as mrc:
        mrc.set_data(data)
        mrc.set_volume()
    assert stack_box((str(tmp_path / "s.mrc"),), np.zeros(5, int), np.arange(5)) == BOX


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_rows_in_any_order_from_many_stacks_with_repeats(tmp_path, chunk):
    """Gaps and repeated images too: symmetry expansion names each image several times."""
    data = [write_stack(tmp_path / ("s%d.mrcs" % k), seed=k) for k in range(3)]
    rng = np.random.default_rng(5)
    stack, row = rng.integers(0, 3, 60), rng.integers(0, 10, 60)
    images, times = collect([tmp_path / ("s%d.mrcs" % k) for k in range(3)], stack, row, chunk)
    assert (times == 1).all()
    for i in range(60):
        assert np.array_equal(images[i], data[stack[i]][row[i]])


def test_repeat_beside_a_gap(tmp_path):
    """Rows 0, 0, 2 are three long like a run from 0 to 2."""
    data = write_stack(tmp_path / "s.mrcs")
    images, _ = collect([tmp_path / "s.mrcs"], [0, 0, 0], [0, 0, 2], 10)
    assert [np.array_equal(images[i], data[r]) for i, r in enumerate((0, 0, 2))] == [True] * 3


def test_each_image_is_read_once_and_in_disk_order(tmp_path, monkeypatch):
    for k in range(2):
        write_stack(tmp_path / ("s%d.mrcs" % k))
    asked = []
    original = module._read_images
    monkeypatch.setattr(
        module,
        "_read_images",
        lambda stacks, stack, row, room: (
            asked.extend(zip(stack.tolist(), row.tolist())),
            original(stacks, stack, row, room),
        )[1],
    )
    order = np.random.default_rng(0).permutation(20)
    collect([tmp_path / "s0.mrcs", tmp_path / "s1.mrcs"], order // 10, order % 10, 6)
    assert asked == [(k // 10, k % 10) for k in range(20)]


def expect_fault(path, words, rows=10):
    with pytest.raises(InputError, match=words) as caught:
        stack_box((str(path),), np.zeros(rows, int), np.arange(rows))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_faults_of_a_stack_are_named(tmp_path):
    path = tmp_path / "s.mrcs"
    write_stack(path)
    expect_fault(path, "Image 11 .* has 10", rows=11)
    with open(str(path), "r+b") as handle:
        handle.truncate(1024 + 3 * 4 * BOX * BOX + 17)
    expect_fault(path, "truncated: 3 of its 10 images")
    with open(str(path), "r+b") as handle:
        handle.truncate(500)
    expect_fault(path, "cannot be read as MRC")
    path.write_bytes(b"")
    expect_fault(path, "cannot be read as MRC")
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    expect_fault(path, "cannot be read|no images|truncated|square")
    write_stack(path, shape=(BOX, BOX + 2))
    expect_fault(path, "18 x 16 pixels: they must be square")
    with mrcfile.new(str(path), overwrite=True) as mrc:
        mrc.set_data(np.zeros((3, BOX, BOX), np.complex64))
    expect_fault(path, "complex values")


def test_stacks_of_different_boxes(tmp_path):
    write_stack(tmp_path / "a.mrcs")
    write_stack(tmp_path / "b.mrcs", shape=(20, 20))
    with pytest.raises(InputError, match="different boxes .16 and 20 pixels"):
        stack_box(
            (str(tmp_path / "a.mrcs"), str(tmp_path / "b.mrcs")), np.array([0, 1]), np.array([0, 0])
        )


def test_file_that_is_cut_short_while_it_is_read(tmp_path):
    write_stack(tmp_path / "s.mrcs")
    chunks = read_chunks((str(tmp_path / "s.mrcs"),), np.zeros(10, int), np.arange(10), 2)
    next(chunks)[1]()
    os.truncate(str(tmp_path / "s.mrcs"), 1024)
    with pytest.raises(InputError, match="truncated"):
        next(chunks)[1]()


# --- maps ---------------------------------------------------------------------------------------


def test_map_written_block_by_block(tmp_path):
    volume = np.random.default_rng(1).normal(3, 2, size=(10, 6, 8)).astype(np.float32)
    write_blocks(
        tmp_path / "b.mrc", (volume[k : k + 3] for k in range(0, 10, 3)), volume.shape, 2.5
    )
    with mrcfile.open(str(tmp_path / "b.mrc")) as mrc:
        assert np.array_equal(mrc.data, volume) and mrc.is_volume()
        assert mrc.voxel_size.tolist() == pytest.approx((2.5,) * 3)
        header = [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    assert header == pytest.approx(
        [volume.min(), volume.max(), volume.mean(), volume.std()], rel=1e-5
    )
    assert mrcfile.validate(str(tmp_path / "b.mrc"))


def test_map_whose_making_fails_is_not_there(tmp_path):
    def blocks():
        yield np.zeros((2, 4, 4), np.float32)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_blocks(tmp_path / "b.mrc", blocks(), (4, 4, 4), 1.0)
    assert not list(tmp_path.iterdir())


def test_map_round_trip_and_header(tmp_path):
    volume = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    write_map(tmp_path / "deep" / "v.mrc", volume, 1.234)
    back, sampling = read_map(tmp_path / "deep" / "v.mrc")
    assert np.array_equal(back, volume) and sampling == pytest.approx(1.234, rel=1e-6)
    with mrcfile.open(str(tmp_path / "deep" / "v.mrc")) as mrc:
        assert mrc.is_volume() and not mrc.is_image_stack()
        assert mrc.header.mode == 2 and mrc.header.ispg == 1
        assert (mrc.header.mx, mrc.header.my, mrc.header.mz) == (12, 12, 12)
        assert mrc.header.dmax == volume.max()
    assert mrcfile.validate(str(tmp_path / "deep" / "v.mrc"))


def test_map_statistics(tmp_path):
    volume = np.random.default_rng(0).normal(5, 0.1, (20, 20, 20)).astype(np.float32)
    write_map(tmp_path / "map.mrc", volume, 1.0)
    with mrcfile.open(tmp_path / "map.mrc") as mrc:
        found = [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    plain = volume.astype(np.float64)
    assert found == pytest.approx([plain.min(), plain.max(), plain.mean(), plain.std()], rel=1e-3)
    assert mrcfile.validate(str(tmp_path / "map.mrc"))


def test_map_without_sampling(tmp_path):
    with mrcfile.new(str(tmp_path / "v.mrc")) as mrc:
        mrc.set_data(np.zeros((4, 4, 4), np.float32))
        mrc.header.cella = (0, 0, 0)
    assert read_map(tmp_path / "v.mrc")[1] == 0.0


@pytest.mark.parametrize(
    "data, words",
    [
        (np.zeros((4, 4, 5), np.float32), "not a cube"),
        (np.zeros((4, 4), np.float32), "not a cube"),
        (np.full((4, 4, 4), np.nan, np.float32), "not finite"),
    ],
)
def test_faults_of_a_map(tmp_path, data, words):
    mrcfile.write(str(tmp_path / "v.mrc"), data)
    with pytest.raises(InputError, match="mask .*v.mrc .*" + words):
        read_map(tmp_path / "v.mrc", "mask")


def test_files_that_are_no_map(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_map(tmp_path / "none.mrc", "mask")
    for content in (b"", b"text", np.random.default_rng(0).bytes(4000)):
        (tmp_path / "v.mrc").write_bytes(content)
        with pytest.raises(InputError, match="mask"):
            read_map(tmp_path / "v.mrc", "mask")
    write_map(tmp_path / "cut.mrc", np.zeros((8, 8, 8)), 1.0)
    os.truncate(str(tmp_path / "cut.mrc"), 1500)
    with pytest.raises(InputError, match="cannot be read"):
        read_map(tmp_path / "cut.mrc", "mask")


# --- whole files or none ------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_new_files_have_the_usual_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "text")
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_json_is_plain(tmp_path):
    value = {
        "a": np.float32(1.5),
        "b": np.arange(3),
        "c": [np.nan, np.inf, np.int64(2)],
        3: (True, None, np.bool_(False)),
        "d": np.array([[1.0, np.nan]]),
    }
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "a": 1.5,
        "b": [0, 1, 2],
        "c": [None, None, 2],
        "3": [True, None, False],
        "d": [[1.0, None]],
    }
    assert to_json_types("x") == "x"


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(str(tmp_path / "a.npz"), x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(tmp_path / "a.npz")


def test_arrays_round_trip(tmp_path):
    write_arrays(tmp_path / "a.npz", {"x": np.arange(5), "name": np.array("text")})
    back = read_arrays(tmp_path / "a.npz")
    assert back["x"].tolist() == [0, 1, 2, 3, 4] and str(back["name"]) == "text"


# --- what stages leave for each other -----------------------------------------------------------


def test_workspace_knows_what_a_result_was_made_with(tmp_path):
    work = Workspace(tmp_path / "work")
    work.put(ClusterResult(label=np.arange(3)), "abc")
    again = Workspace(tmp_path / "work")
    assert again.has(ClusterResult, "abc") and not again.has(ClusterResult, "abd")
    assert again.expect(ClusterResult, "abc").label.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="made with other parameters"):
        again.expect(ClusterResult, "abd")
    with pytest.raises(InputError, match="step components is missing"):
        again.expect(ComponentsResult, "abc")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
def test_damaged_results_are_named(tmp_path, content):
    (tmp_path / "components.npz").write_bytes(content)
    work = Workspace(tmp_path)
    assert not work.has(ComponentsResult, "abc")
    with pytest.raises(InputError, match="damaged: run that step again"):
        work.get(ComponentsResult)


def keep_slices(work, grid, n=5):
    p = len(grid.frequencies)
    values, ctf = (
        work.allocate("values", (n, p), np.complex64),
        work.allocate("ctf", (n, p), np.float32),
    )
    values[:], ctf[:] = np.arange(n)[:, None] * 1j, 2
    slices = Slices(
        values,
        ctf,
        np.tile(np.eye(3, dtype=np.float32), (n, 1, 1)),
        np.ones(n, np.int8),
        np.ones(n, bool),
        grid,
    )
    work.put(prepared(slices, work.keep_slices(slices)), "abc")


def test_slices_come_back_from_the_folder(tmp_path):
    grid = Grid(32, 2.0, 8.0)
    keep_slices(Workspace(tmp_path), grid)
    slices = Workspace(tmp_path).slices()
    assert slices.grid == grid and len(slices) == 5
    assert (slices.values[3] == 3j).all() and (slices.ctf == 2).all()
    assert not list(tmp_path.glob("*.part"))
    for name in ("values.npy", "ctf.npy"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:200])
        with pytest.raises(InputError, match="missing or damaged"):
            Workspace(tmp_path).slices()
        (tmp_path / name).unlink()
        with pytest.raises(InputError, match="missing or damaged"):
            Workspace(tmp_path).slices()
        (tmp_path / name).write_bytes(whole)


def test_unfinished_files_can_be_discarded(tmp_path):
    work = Workspace(tmp_path)
    work.allocate("values", (3, 4), np.complex64)
    assert list(tmp_path.iterdir())
    work.discard_unfinished()
    assert not list(tmp_path.iterdir())


def test_large_slices_go_to_an_unnamed_file(tmp_path, monkeypatch):
    monkeypatch.setattr("pcainit.pipeline.store.IN_MEMORY_BYTES", 1000)
    work = Workspace(None, scratch=tmp_path)
    array = work.allocate("values", (50, 40), np.complex64)
    assert isinstance(array, np.memmap)
    array[:] = 1
    assert not list(tmp_path.iterdir())
    small = work.allocate("values", (5, 4), np.complex64)
    assert not isinstance(small, np.memmap)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InputError, match="cannot be written to"):
            make_folder(path)
