"""Compiled kernels: only ever run as they are kept, made again when damaged or out of date."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pcainit.engine.compiled import kept
from pcainit.engine.compiled.jit import all_kernels
from pcainit.engine.compiled.kinds import fitting, reads, writes
from pcainit.tests.robustness.accidents import environment, flip

# A kernel that compiles fast; prints what it gave, and whether it was found or compiled here.
USE = """
import numpy as np
from pcainit.engine.compiled import kept
from pcainit.engine.projection.backproject import _back_project
images = np.random.default_rng(0).normal(size=(20, 8, 8)).astype(np.float32)
out = np.empty((5, 20), np.float32)
_back_project.over_blocks(2, images, np.tile(np.eye(3, dtype=np.float32), (20, 1, 1)),
                          np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32), out)
stats = _back_project.compiled.stats
print(out.tobytes().hex(), len(stats.cache_hits), len(stats.cache_misses))
"""
NAME = "pcainit.engine.projection.backproject._back_project"


def use(folder, before="", variable="PCAINIT_CACHE_DIR"):
    """(result, found, compiled here) of a process that uses the kernel."""
    done = subprocess.run(
        [sys.executable, "-c", before + USE],
        stdout=subprocess.PIPE,
        check=True,
        env=environment(**{variable: str(folder)}),
    )
    result, found, compiled = done.stdout.split()
    return result, int(found), int(compiled)


@pytest.fixture(scope="module")
def kept_kernel(tmp_path_factory):
    """Folder with the kernel in it, the kernel's file, and what the first process got."""
    folder = tmp_path_factory.mktemp("kernels")
    first = use(folder)
    files = list(folder.rglob("*._back_project-*.nbc"))
    assert len(files) == 1
    return folder, files[0], first


def test_even_the_first_process_runs_the_kept_code(kept_kernel):
    assert kept_kernel[2][1:] == (1, 0)
    assert use(kept_kernel[0]) == kept_kernel[2]
    assert use(kept_kernel[0], variable="NUMBA_CACHE_DIR") == kept_kernel[2]
    assert not list(kept_kernel[0].rglob(".new-*"))


def test_a_folder_that_cannot_be_written_to_is_used(kept_kernel, tmp_path):
    """Numba gets a copy where it may write; root may write anywhere, so access is what is asked."""
    copy = tmp_path / "shared"
    shutil.copytree(str(kept_kernel[0]), str(copy))
    known = sorted(copy.rglob("*"))
    for path in known:
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = (
        "import os, subprocess\n"
        "os.access = lambda *args, **named: False\n"
        "def refuse(*args, **named): raise OSError('nothing is to be compiled')\n"
        "subprocess.Popen = refuse\n"
    )
    assert use(copy, before) == kept_kernel[2]
    assert sorted(copy.rglob("*")) == known
    for path in known:
        path.chmod(0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_damaged_code_is_made_again(kept_kernel, damage):
    folder, path, first = kept_kernel
    whole = path.stat().st_size
    if damage == "bit":
        flip(path, 4 * whole)
    else:
        os.truncate(str(path), whole // 2 if damage == "cut" else 0)
    assert use(folder) == first
    assert path.stat().st_size >= whole // 2 + 1


def test_code_of_other_sources_is_replaced(kept_kernel):
    folder, path, first = kept_kernel
    current = next(place for place in path.parents if place.parent == folder)
    old = current.with_name(current.name.partition("-")[0] + "-000000000000")
    current.rename(old)
    assert use(folder) == first
    assert path.exists() and not old.exists()


def test_without_a_folder_the_kernel_is_compiled_in_place(tmp_path):
    before = "from pcainit.engine.compiled import kept\nkept._roots = lambda: []\n"
    assert use(tmp_path, before)[1:] in ((0, 1), (0, 0))
    assert not list(tmp_path.iterdir())


def test_others_may_not_put_code_among_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    mine, open_to_all = tmp_path / "mine", tmp_path / "open"
    mine.mkdir(mode=0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert kept._readable(mine) and not kept._readable(open_to_all)


def test_every_kernel_is_compiled_ahead():
    """A kernel that is not in the list would be waited for when it is first called."""
    ahead = {"pcainit.engine." + name for name in kept._ORDER}
    assert ahead <= set(all_kernels())
    assert set(all_kernels()) - ahead <= {"pcainit.engine.model.likelihood._log_likelihoods"}


def test_arguments_are_made_to_fit_or_refused():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    seen = fitting(reads("float32", 2), array.T)
    assert np.array_equal(seen, array.T) and seen.flags.c_contiguous and not seen.flags.writeable
    assert array.flags.writeable and fitting(writes("float32", 2), array) is array
    for kind, value in (
        (reads("float32", 1), array),
        (reads("float64", 2), array),
        (writes("float32", 2), array.T),
    ):
        with pytest.raises(TypeError):
            fitting(kind, value)


def test_warm_up_says_where_the_code_is(monkeypatch, capsys, tmp_path):
    """The command compiles what is missing and nothing else."""
    from pcainit.cli.main import main

    there, asked = set(list(all_kernels())[2:]), []
    monkeypatch.setattr(kept, "writable_root", lambda: tmp_path)
    monkeypatch.setattr(kept, "find", lambda n: tmp_path / "key" / n if n in there else None)
    monkeypatch.setattr(kept, "begin", lambda names: asked.extend(kept.missing(names)))
    monkeypatch.setattr(kept, "finish", lambda: there.update(asked))
    assert main(["warm-up"]) == 0
    assert len(asked) == 2 and str(tmp_path) in capsys.readouterr().out
    there.clear()
    monkeypatch.setattr(kept, "finish", lambda: None)
    assert main(["warm-up"]) == 2 and "PCAINIT_CACHE_DIR" in capsys.readouterr().err


def test_a_compiler_ends_with_who_started_it(tmp_path):
    """Nothing is left behind by a run that is killed."""
    start = (
        "from pcainit.engine.compiled import kept\nkept.begin()\n"
        "print(*[p.pid for p in kept._compilers], flush=True)\nimport os; os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", start],
        stdout=subprocess.PIPE,
        check=True,
        env=environment(PCAINIT_CACHE_DIR=str(tmp_path)),
    )
    numbers = done.stdout.split()
    assert numbers
    import time

    end = time.time() + 60
    while any(_runs(int(number)) for number in numbers) and time.time() < end:
        time.sleep(0.1)
    assert not any(_runs(int(number)) for number in numbers)


def _runs(number):
    try:
        return "Z" not in Path("/proc/%d/stat" % number).read_text().split()[2]
    except OSError:
        return False
