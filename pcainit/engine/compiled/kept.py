"""Where compiled kernels are kept between runs, and the processes that compile them.

Each kernel has a folder, made whole or not at all: numba's own cache of one function, and the
checksums of its files.  What is damaged is made again.  The folders' own folder is named after all
that machine code depends on: Python, numba and LLVM, the processor, and every file with kernels,
for they share parts.  They are looked for, and made, in

- the folder that the environment variable ``PCAINIT_CACHE_DIR`` names, or ``NUMBA_CACHE_DIR``;
- without either: ``__pycache__`` beside this file, else the user's cache folder;
- a folder of the user's among temporary files, where none of these can be written to.

Found kernels are used wherever they lie, in places that cannot be written to as well.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import llvmlite
import llvmlite.binding
import numba

VARIABLE = "PCAINIT_CACHE_DIR"
_SUMS = "checksums.json"
_CONTENT_STAMPS = (0, 68)  # numba that knows a source by its content, not by its time
_ABANDONED = 3600  # seconds: folders of compilers that were killed
_MOST = 4  # compilers side by side
# In the order in which a run asks for them; others come last.
_ORDER = [
    "images.census._measure",
    "projection.slices._insert",
    "projection.slices._residual_power",
    "projection.slices._extract",
    "model.e_step_kernels.measure_particles",
    "model.posterior.moments",
    "model.e_step_kernels.expect_classes",
    "model.e_step_kernels.gather",
    "model.m_step._add_weights",
    "model.e_step_kernels.expect_components",
    "model.m_step.solve_voxels",
    "model.e_step_kernels.residual_slices",
    "projection.backproject._back_project",
    "classes.mixture._expect",
    "model.shell_products._shell_products",
]
_ENGINE = Path(__file__).parents[1]

_compilers: list[subprocess.Popen[bytes]] = []
_setting = threading.Lock()


# --- which ---------------------------------------------------------------------------------------


def modules() -> list[str]:
    """Names of the modules with kernels."""
    return [
        ".".join(("pcainit.engine",) + path.relative_to(_ENGINE).with_suffix("").parts)
        for path, content in _sources()
        if b"compiled.jit import" in content
    ]


def _sources() -> list[tuple[Path, bytes]]:
    """Files that kernels depend on, with their content."""
    files = [(path, path.read_bytes()) for path in sorted(_ENGINE.rglob("*.py"))]
    return [(path, content) for path, content in files if b"numba" in content or b"jit" in content]


def in_order(names: list[str]) -> list[str]:
    """Kernels in the order in which a run asks for them."""
    place = {"pcainit.engine." + name: k for k, name in enumerate(_ORDER)}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


@functools.lru_cache(maxsize=None)
def _key() -> str:
    """What the machine code depends on: two digests, of all else and of the sources."""
    version = tuple(int(number) for number in numba.__version__.split(".")[:2])
    llvm = llvmlite.binding
    around = [
        sys.version,
        numba.__version__,
        llvmlite.__version__,
        numba.config.CPU_NAME or llvm.get_host_cpu_name(),
        numba.config.CPU_FEATURES or llvm.get_host_cpu_features().flatten(),
        numba.config.OPT,
        str(_ENGINE),
    ]
    digest = hashlib.sha256()
    for path, content in _sources():
        digest.update(content)
        if version < _CONTENT_STAMPS:
            digest.update(repr(path.stat().st_mtime).encode())
    return "%s-%s" % (
        hashlib.sha256(repr(around).encode()).hexdigest()[:12],
        digest.hexdigest()[:12],
    )


# --- where ---------------------------------------------------------------------------------------


def _roots() -> list[Path]:
    """Folders that kernels may lie in, the best first."""
    given = os.environ.get(VARIABLE) or os.environ.get("NUMBA_CACHE_DIR")
    if given:
        roots = [Path(given)]
    else:
        user = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        roots = [Path(__file__).parent / "__pycache__", Path(user) / "pcainit"]
    return [*roots, Path(tempfile.gettempdir()) / ("pcainit-%d" % os.getuid())]


def _readable(root: Path) -> bool:
    """Whether nobody else could have put code there: others may write to temporary files."""
    try:
        about = root.stat()
    except OSError:
        return False
    shared = root.parent == Path(tempfile.gettempdir())
    return not shared or (about.st_uid == os.getuid() and not about.st_mode & 0o022)


def writable_root() -> Path | None:
    """The first folder that kernels can be kept in; None if there is none."""
    for root in _roots():
        with contextlib.suppress(OSError):
            root.mkdir(
                mode=0o700 if "pcainit-" in root.name else 0o777, parents=True, exist_ok=True
            )
            with tempfile.TemporaryFile(dir=str(root)):
                pass
            if _readable(root):
                return root
    return None


def _whole(folder: Path) -> bool:
    """Whether a kernel's files are all there and as they were written."""
    try:
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return bool(sums) and all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == value
            for name, value in sums.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def find(name: str) -> Path | None:
    """Where a kernel is kept; None if it is nowhere, or damaged."""
    for root in _roots():
        folder = root / _key() / name
        if _readable(root) and _whole(folder):
            return folder
    return None


def missing(names: list[str]) -> list[str]:
    """Those that are kept nowhere."""
    return [name for name in names if find(name) is None]


@contextlib.contextmanager
def code_of(name: str) -> Iterator[Path | None]:
    """A folder that numba can load a kernel from, made if need be; None if it cannot be.

    Numba writes to the folders that it reads from, or at least tries to.
    """
    folder = _awaited(name)
    if folder is None or os.access(str(folder), os.W_OK):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="pcainit-kernel-") as place:
        copy = Path(place) / "copy"
        shutil.copytree(str(folder), str(copy), copy_function=shutil.copyfile)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
        yield copy


@contextlib.contextmanager
def numba_folder(folder: Path | None) -> Iterator[None]:
    """Have numba keep in this folder what is declared meanwhile."""
    with _setting:
        before = numba.config.CACHE_DIR
        if folder is not None:
            numba.config.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            numba.config.CACHE_DIR = before


# --- processes that compile ----------------------------------------------------------------------


def begin(names: list[str] | None = None) -> None:
    """Have what is missing compiled side by side with what this process does."""
    if any(process.poll() is None for process in _compilers) or writable_root() is None:
        return
    del _compilers[:]
    wanted = missing(in_order(["pcainit.engine." + n for n in _ORDER] if names is None else names))
    claims = tempfile.mkdtemp(prefix="pcainit-claims-") if wanted else ""
    for _ in range(min(_MOST, len(wanted), _processors())):
        with contextlib.suppress(OSError):
            _compilers.append(_compiler(wanted, claims))


def _awaited(name: str) -> Path | None:
    """A kernel's folder, once those who are compiling it are done."""
    folder = find(name) or _once_done(name)
    if folder is None:  # none of them was asked for it, or they were stopped
        begin([name])
        folder = _once_done(name)
    return folder


def _once_done(name: str) -> Path | None:
    """A kernel's folder as soon as it is there, or what there is when no compiler is left."""
    folder = None
    while folder is None and any(process.poll() is None for process in _compilers):
        time.sleep(0.02)
        folder = find(name)
    if folder is None:
        del _compilers[:]
    return folder or find(name)


def finish() -> None:
    """Wait for the compilers."""
    for process in _compilers:
        process.wait()
    del _compilers[:]


def _processors() -> int:
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _compiler(names: list[str], claims: str) -> subprocess.Popen[bytes]:
    """A process that compiles what no other has claimed, and ends with this one."""
    code = "import sys; sys.path[:] = %r; from %s import compile_here; compile_here(%r, %r)" % (
        sys.path,
        __name__,
        names,
        claims,
    )
    return subprocess.Popen(
        [sys.executable or "python3", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def compile_here(names: list[str], claims: str) -> None:
    """Compile kernels and keep them; those that others have claimed are left to them."""
    made: list[Path] = []
    threading.Thread(target=_end_with_parent, args=(made,), daemon=True).start()
    root = writable_root()
    assert root is not None
    _tidy(root)
    for name in names:
        try:
            os.mkdir(os.path.join(claims, name))
        except OSError:
            continue
        module, _, function = name.rpartition(".")
        keep(getattr(importlib.import_module(module), function), root / _key() / name, made)
    shutil.rmtree(claims, ignore_errors=True)


def keep(kernel: Any, folder: Path, made: list[Path]) -> None:
    """Compile a kernel and keep it in a folder; `made` names what is not yet in its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=str(folder.parent)))
    made.append(new)
    try:
        kernel.compile(new)
        files = [path for path in sorted(new.rglob("*")) if path.is_file()]
        sums = {
            str(path.relative_to(new)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }
        (new / _SUMS).write_text(json.dumps(sums), encoding="utf-8")
        new.chmod(0o755)
        if folder.exists():  # damaged
            os.rename(str(folder), str(new) + "-old")
            shutil.rmtree(str(new) + "-old", ignore_errors=True)
        os.rename(str(new), str(folder))
    finally:
        shutil.rmtree(str(new), ignore_errors=True)
        made.remove(new)


def _end_with_parent(made: list[Path]) -> None:
    """End when the other end of standard input is closed: the process that asked is gone."""
    sys.stdin.buffer.read()
    for folder in list(made):
        shutil.rmtree(str(folder), ignore_errors=True)
    os._exit(1)


def _tidy(root: Path) -> None:
    """Remove what older sources gave here, and what compilers that were killed have left."""
    around, _, _ = _key().partition("-")
    with contextlib.suppress(OSError):
        for path in root.glob(around + "-*"):
            if path.name != _key():
                shutil.rmtree(str(path), ignore_errors=True)
        for path in (root / _key()).glob(".new-*"):
            if path.stat().st_mtime < time.time() - _ABANDONED:
                shutil.rmtree(str(path), ignore_errors=True)
