"""Disks, memory, permissions and file systems that fail, and two runs that meet."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from fault_bench import Bench

from pcainit.tests.robustness.accidents import (
    Example,
    command,
    differing,
    finish,
    forked,
    results,
    start,
)

ROOT = os.geteuid() == 0
# Root may read and write everything: without these rights it is a user like any other.
PLAIN = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if ROOT else []
MB = 2**20


def run(bench: Bench) -> None:
    """All faults of the machine."""
    if ROOT:
        _full_disk(bench)
    _permission(bench)
    _file_system(bench)
    _limits(bench)
    _two_runs(bench)


@contextlib.contextmanager
def _small_disk(place: Path, options: str) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _full_disk(bench: Bench) -> None:
    folder = bench.folder / "case" / "disk"
    sizes = ["size=%dk" % k for k in (4, 40, 150, 400, 700, 1000, 1300, 1600, 1800, 2000, 2400)]
    for options in [*sizes, "nr_inodes=5", "nr_inodes=9", "nr_inodes=12"]:
        for chain in ([bench.example.run(folder)], bench.example.stages(folder)):
            bench.empty()
            with _small_disk(folder, options):
                outcome = next(
                    (outcome for outcome in map(forked, chain) if outcome.code),
                    forked(["--version"]),
                )
                subprocess.run(
                    ["mount", "-o", "remount,size=64m,nr_inodes=9999", str(folder)], check=True
                )
                bench.continued(
                    "disk full, %s" % ("run" if len(chain) == 1 else "stages"),
                    outcome,
                    chain,
                    folder,
                )


def _refused(bench: Bench, fault: str, words: Any, locked: Path, chain: Any, folder: Path) -> None:
    """Take the rights from a file or folder, try, give them back, and go on."""
    rights = locked.stat().st_mode
    locked.chmod(0o555 if locked.is_dir() else 0)
    outcome = command(words, wrapper=PLAIN)
    locked.chmod(rights)
    if not outcome.code:
        bench.note(fault, "not noticed", [str(locked)])
    else:
        bench.continued(fault, outcome, chain, folder)


def _permission(bench: Bench) -> None:
    own = bench.empty("own")
    shutil.copytree(str(bench.set), str(own / "set"))
    example = Example(own / "set" / "particles.star", bench.example.options)
    for name in ("particles.star", "particles.mrcs"):
        folder = bench.empty()
        words = example.run(folder / "result")
        _refused(
            bench,
            "no permission to read %s" % name,
            words,
            own / "set" / name,
            [words],
            folder / "result",
        )
    chain = bench.example.stages(bench.folder / "case")
    for name in ("prepare.npz", "reconstruct.npz", "components.npz", "values.npy", "ctf.npy"):
        folder = bench.copy(3)
        _refused(
            bench,
            "no permission to read a file of the work folder",
            chain[3],
            folder / "work" / name,
            chain,
            folder,
        )
    for stage in range(1, 5):
        folder = bench.copy(stage)
        _refused(
            bench,
            "no permission to write to the work folder",
            chain[stage],
            folder / "work",
            chain,
            folder,
        )
    for part in ("", "volumes", "components"):
        folder = bench.empty()
        words = bench.example.run(folder / "result")
        assert forked(words).code == 0
        _refused(
            bench,
            "no permission to write to the output folder",
            words,
            folder / "result" / part,
            [words],
            folder / "result",
        )
    for path in [own / "set" / "particles.star", own / "set" / "particles.mrcs", own / "set"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder = bench.empty()
    bench.alone("input folder read-only", example.run(folder), folder, wrapper=PLAIN)
    for path in [own / "set", own / "set" / "particles.star", own / "set" / "particles.mrcs"]:
        path.chmod(0o755)


def _failing(number: int) -> Callable[..., Any]:
    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def _file_system(bench: Bench) -> None:
    """Calls that some file systems do not know; each must do without."""

    def no_maps() -> None:
        import mmap

        import numpy

        mmap.mmap = _failing(errno.ENODEV)
        numpy.memmap = type("memmap", (numpy.memmap,), dict(__new__=mmap.mmap))

    def large() -> None:
        import pcainit.pipeline.store

        pcainit.pipeline.store.IN_MEMORY_BYTES = 0

    def no_maps_large() -> None:
        no_maps()
        large()

    def no_reserve() -> None:
        large()
        os.posix_fallocate = _failing(errno.EOPNOTSUPP)

    def no_locks() -> None:
        fcntl.flock = _failing(errno.ENOLCK)

    def no_rights() -> None:
        os.chmod = _failing(errno.EPERM)

    for name, before in (
        ("maps, set held in memory", no_maps),
        ("maps, large set", no_maps_large),
        ("space reserved, large set", no_reserve),
        ("locks", no_locks),
        ("change of rights", no_rights),
        ("fault, large set", large),
    ):
        for stages in (False, True):
            folder = bench.empty()
            chain = bench.example.stages(folder) if stages else [bench.example.run(folder)]
            wrong = [
                outcome.trouble or outcome.sentence
                for outcome in (forked(words, before=before) for words in chain)
                if outcome.code
            ]
            bench.note(
                "file system without " + name,
                "same result",
                wrong or differing(bench.reference, folder / "result" if stages else folder),
            )
    masked = Example(
        bench.example.star,
        [
            *bench.example.options,
            "--mask",
            str(bench.stages / "result" / "components" / "mask.mrc"),
        ],
    )
    assert forked(masked.run(bench.empty("fresh"))).code == 0
    outcome = forked(masked.run(bench.empty()), before=no_maps)
    bench.note(
        "file system without maps, with a mask",
        "same result",
        [outcome.error[-300:]]
        if outcome.code
        else differing(results(bench.folder / "fresh"), bench.folder / "case"),
    )


def _limits(bench: Bench) -> None:
    def limited(kind: int, size: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(kind, (size, size))

    cases = [
        ("memory limited (address space)", resource.RLIMIT_AS, size * MB)
        for size in (
            150,
            250,
            350,
            450,
            550,
            650,
            750,
            850,
            950,
            1050,
            1150,
            1300,
            1500,
            2000,
            3000,
            6000,
        )
    ]
    cases += [
        ("size of files limited", resource.RLIMIT_FSIZE, size)
        for size in (1000, 30000, 200000, 500000)
    ]
    cases += [("number of open files limited", resource.RLIMIT_NOFILE, n) for n in (8, 10, 12, 20)]
    for fault, kind, size in cases:
        folder = bench.empty()
        outcome = command(bench.example.run(folder / "result"), preexec_fn=limited(kind, size))
        library = outcome.code < 0 or outcome.trouble and "Traceback" not in outcome.error
        if library and kind == resource.RLIMIT_AS:
            # The compiler and the thread libraries end the process themselves.
            again = command(bench.example.run(folder / "result"))
            bench.note(
                fault,
                "ended by a library, again: same result",
                [again.error[-200:]]
                if again.code
                else differing(bench.reference, folder / "result"),
            )
        else:
            bench.continued(
                fault, outcome, [bench.example.run(folder / "result")], folder / "result"
            )


def _begun(words: Any, lock: Path) -> Any:
    """A command in a process of its own, once it holds the lock."""
    process = start(words)
    while not lock.exists() or not lock.read_bytes():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def _two_runs(bench: Bench) -> None:
    def meet(first: Any, second: Any, lock: Path) -> tuple[Any, Any]:
        process = _begun(first, lock)
        outcome = command(second)
        return finish(process), outcome

    for _ in range(bench.count(3)):
        folder = bench.empty() / "result"
        words = bench.example.run(folder)
        first, second = meet(words, words, folder / ".pcainit.lock")
        wrong = [] if "in use" in second.sentence else ["not refused: " + second.error[-200:]]
        bench.note(
            "two runs in one folder",
            "second refused, first: same result",
            wrong + ([first.error] if first.code else differing(bench.reference, folder)),
        )
        left, right = bench.empty() / "left", bench.folder / "case" / "right"
        outcomes = [
            finish(process)
            for process in [start(bench.example.run(left)), start(bench.example.run(right))]
        ]
        bench.note(
            "two runs at once on one stack",
            "same result",
            [outcome.error for outcome in outcomes if outcome.code]
            or differing(bench.reference, left) + differing(bench.reference, right),
        )
    for stage in range(1, 5):
        folder = bench.copy(stage)
        chain = bench.example.stages(folder)
        first, second = meet(chain[stage], chain[stage], folder / "work" / ".pcainit.lock")
        wrong = (
            [first.error]
            if first.code
            else []
            if "in use" in second.sentence or (second.code == 0)
            else ["not refused: " + second.error[-200:]]
        )
        asked, more = bench.finish(chain)
        bench.note(
            "one stage twice at once",
            "refused, or after it; same result",
            wrong + (more or differing(bench.reference, folder / "result")),
        )
    folder = bench.empty()
    (folder / ".pcainit.lock").write_text("process 999999 on elsewhere\n")
    outcome = forked(bench.example.run(folder))
    bench.note(
        "lock left by a process that is gone",
        "same result",
        [outcome.error] if outcome.code else differing(bench.reference, folder),
    )
    folder = bench.empty()
    with open(str(folder / ".pcainit.lock"), "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("process 7 on elsewhere\n")
        held.flush()
        outcome = forked(bench.example.run(folder))
    clue = "process 7 on elsewhere"
    if clue not in outcome.sentence:
        bench.note("lock held by another machine", "", [outcome.error[-200:]])
    else:
        bench.continued(
            "lock held by another machine", outcome, [bench.example.run(folder)], folder
        )
