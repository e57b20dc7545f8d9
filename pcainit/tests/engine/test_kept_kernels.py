"""Compiled kernels: only ever run as they are kept, made again when damaged or out of date."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
import subprocess
import sys

import pytest

from pcainit.tests.robustness.accidents import environment, flip

# A kernel that compiles fast; prints what it gave, and whether it was found or compiled here.
USE = """
import numpy as np
from pcainit.engine.compiled.jit import kernel
from pcainit.engine.projection.slices import block_starts
from pcainit.engine.projection.backproject import _back_project
images = np.random.default_rng(0).normal(size=(20, 8, 8)).astype(np.float32)
out = np.empty((5, 20), np.float32)
_back_project(images, np.tile(np.eye(3, dtype=np.float32), (20, 1, 1)),
              np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32), out)
stats = _back_project.stats
print(out.tobytes().hex(), len(stats.cache_hits), len(stats.cache_misses))
"""


def use(folder):
    """(result, found, compiled here) of a process that uses the kernel."""
    done = subprocess.run(
        [sys.executable, "-c", USE],
        stdout=subprocess.PIPE,
        check=True,
        env=environment(NUMBA_CACHE_DIR=str(folder)),
    )
    result, found, compiled = done.stdout.split()
    return result, int(found), int(compiled)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder with the kernel in it, the kernel's file, and what the first process got."""
    folder = tmp_path_factory.mktemp("kernels")
    first = use(folder)
    files = list(folder.rglob("*._back_project-*.nbc"))
    assert len(files) == 1
    return folder, files[0], first


def test_even_the_first_process_runs_the_kept_code(kept):
    assert kept[2][1:] == (1, 0)
    assert use(kept[0]) == kept[2]
    assert not list(kept[0].rglob("*.nbi"))


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_damaged_code_is_made_again(kept, damage):
    folder, path, first = kept
    whole = path.stat().st_size
    if damage == "bit":
        flip(path, 4 * whole)
    else:
        os.truncate(str(path), whole // 2 if damage == "cut" else 0)
    assert use(folder) == first
    assert path.stat().st_size >= whole // 2 + 1


def test_code_of_other_sources_is_replaced(kept):
    folder, path, first = kept
    old = path.with_name(path.name.replace(path.name.split(".")[3], "00000000"))
    path.rename(old)
    assert use(folder) == first
    assert path.exists() and not old.exists()


def test_without_a_folder_the_kernel_is_compiled_in_place(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import pcainit.engine.compiled.jit as k\n"
            "k.FunctionCache.__init__ = "
            "lambda self, function: (_ for _ in ()).throw(RuntimeError('no locator'))\n" + USE,
        ],
        stdout=subprocess.PIPE,
        check=True,
        env=environment(),
    )
    assert done.stdout.split()[1:] == [b"0", b"1"]
