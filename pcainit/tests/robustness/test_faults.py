"""Commands that are killed, stopped, split in parts or not heard: the same result, or a sentence.

benchmarks/faults.py tries far more points of far more faults; these are a few of each kind.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import os
import resource
import signal
import subprocess
import sys

import pytest

from pcainit.cli.failures import machine_trouble
from pcainit.cli.main import main
from pcainit.tests.robustness.accidents import (
    Example,
    command,
    differing,
    environment,
    flip,
    results,
    succeed,
    unexpected,
)

SIMPLE = [
    "--method",
    "simple",
    "--classes",
    "2",
    "--particles-per-reconstruction",
    "60",
    "--resolution",
    "24",
]
PARTS = 3

pytestmark = pytest.mark.usefixtures("no_report")


def run(*words):
    """A command in this process; its exit status."""
    return main([str(word) for word in words])


def run_all(chain):
    for words in chain:
        assert run(*words) == 0, words


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    assert run("simulate", folder, "--particles", 300, "--box", 24, "--sampling", 6) == 0
    return Example(folder / "particles.star", SIMPLE)


@pytest.fixture(scope="module")
def undisturbed(example, tmp_path_factory):
    """Results of `run`, and how many events it and each stage have."""
    folder = tmp_path_factory.mktemp("undisturbed")
    events = succeed(example.run(folder / "run")).events
    chain = example.stages(folder / "stages")
    counts = [succeed(words).events for words in chain]
    found = results(folder / "run")
    assert not differing(found, folder / "stages" / "result")
    return found, events, counts


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_killed_run_given_again(example, undisturbed, tmp_path, share):
    reference, events, _ = undisturbed
    outcome = command(example.run(tmp_path), "kill", int(share * events))
    assert outcome.code == -signal.SIGKILL and not (tmp_path / "summary.json").exists()
    assert run(*example.run(tmp_path)) == 0
    assert not differing(reference, tmp_path)


@pytest.mark.parametrize("stage", range(5))
def test_killed_stage_given_again(example, undisturbed, tmp_path, stage):
    reference, _, counts = undisturbed
    chain = example.stages(tmp_path)
    run_all(chain[:stage])
    assert command(chain[stage], "kill", (counts[stage] + 1) // 2).code == -signal.SIGKILL
    run_all(chain[stage:])
    assert not differing(reference, tmp_path / "result")
    assert not unexpected(tmp_path / "work")


@pytest.mark.parametrize("action, code", [("terminate", 143), ("interrupt", 130)])
def test_told_to_stop(example, undisturbed, tmp_path, action, code):
    outcome = command(example.run(tmp_path / "new"), action, undisturbed[1] // 2)
    assert (outcome.code, outcome.sentence) == (code, "stopped.")
    assert not list(tmp_path.rglob(".*"))


def test_parts_give_the_same(example, undisturbed, tmp_path):
    run_all(example.stages(tmp_path, PARTS))
    assert not differing(undisturbed[0], tmp_path / "result")
    assert not unexpected(tmp_path / "work")


@pytest.fixture
def parts(example, tmp_path):
    """The chain of commands, with all parts read."""
    chain = example.stages(tmp_path, PARTS)
    run_all(chain[:PARTS])
    return chain


def refused(words, capsys, clue):
    capsys.readouterr()
    assert run(*words) == 2
    assert clue in capsys.readouterr().err


def check_mended(chain, number, reference, folder):
    """The part again, then the rest."""
    run_all([chain[number - 1], *chain[PARTS:]])
    assert not differing(reference, folder / "result")
    assert not unexpected(folder / "work")


@pytest.mark.parametrize("kind", ["meta", "values", "ctf"])
@pytest.mark.parametrize("damage", ["bit", "cut", "gone"])
def test_damaged_or_missing_part(parts, undisturbed, tmp_path, capsys, kind, damage):
    name = {"meta": "part_002_of_003.npz"}.get(kind, "%s_part_002_of_003.npy" % kind)
    path = tmp_path / "work" / name
    if damage == "bit":
        flip(path, 4 * path.stat().st_size)
    elif damage == "cut":
        os.truncate(str(path), path.stat().st_size // 2)
    else:
        path.unlink()
    refused(parts[PARTS], capsys, "--chunk 2/3 again")
    check_mended(parts, 2, undisturbed[0], tmp_path)


def test_join_of_another_number(parts, tmp_path, capsys):
    words = [4 if str(word) == str(PARTS) else word for word in parts[PARTS]]
    refused(words, capsys, "Part 1 of 4")


def test_part_of_other_parameters(example, parts, undisturbed, tmp_path, capsys):
    other = Example(example.star, [*SIMPLE[:-1], "20"]).stages(tmp_path, PARTS)
    run_all([other[1]])
    refused(parts[PARTS], capsys, "Part 2 of 3")
    check_mended(parts, 2, undisturbed[0], tmp_path)


def test_a_part_is_read_once(parts, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    run_all(parts[:PARTS])
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/1000", "-1/3", "1/3/3"])
def test_numbers_of_parts_that_make_no_sense(example, tmp_path, capsys, text):
    refused(
        ["prepare", example.star, "--work", tmp_path / "work", "--chunk=" + text, *SIMPLE],
        capsys,
        "chunk is ",
    )
    assert not (tmp_path / "work").exists()


def test_moved_project(example, undisturbed, tmp_path):
    """All that a project holds is moved between the stages; images lie elsewhere."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    (before / "particles.star").write_bytes(example.star.read_bytes())
    options = [*SIMPLE, "--data-dir", str(example.star.parent)]
    chain = Example(before / "particles.star", SIMPLE).stages(before)
    run_all([[*chain[0], *options[-2:]], *chain[1:3]])
    before.rename(after)
    run_all(Example(after / "particles.star", SIMPLE).stages(after)[3:])
    assert not differing(undisturbed[0], after / "result")


def test_star_file_that_changes_during_the_run(example, undisturbed, tmp_path):
    star = tmp_path / "particles.star"
    star.write_bytes(example.star.read_bytes())
    own = Example(star, SIMPLE + ["--data-dir", str(example.star.parent)])
    for point in (undisturbed[1] // 2, undisturbed[1] - 3):
        outcome = command(own.run(tmp_path / "result"), "cut\t%s" % star, point)
        assert not outcome.trouble
        if outcome.code:
            assert "changed" in outcome.sentence
        star.write_bytes(example.star.read_bytes())
    assert run(*own.run(tmp_path / "result")) == 0


STREAMS = ["closed pipe", "full disk", "closed", "ascii"]


@pytest.mark.parametrize("stream", STREAMS)
def test_output_that_cannot_be_written(example, undisturbed, tmp_path, stream):
    folder = tmp_path / "Größe 粒子"
    words = [sys.executable, "-m", "pcainit", *map(str, example.run(folder))]
    options = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    if stream == "closed pipe":
        reading, writing = os.pipe()
        os.close(reading)
        options.update(stdout=writing, stderr=writing)
    elif stream == "full disk":
        writing = os.open("/dev/full", os.O_WRONLY)
        options.update(stdout=writing, stderr=writing)
    elif stream == "closed":
        options.update(preexec_fn=lambda: [os.close(number) for number in (0, 1, 2)])
    else:
        options.update(env=environment(PYTHONIOENCODING="ascii"))
    done = subprocess.run(words, **options)
    assert done.returncode == 0
    if stream == "ascii":
        assert b"Gr\\xf6\\xdfe \\u7c92\\u5b50" in done.stdout and b"Trace" not in done.stderr
    assert not differing(undisturbed[0], folder)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EFBIG, errno.EACCES, errno.EIO, errno.EISDIR, errno.ETIMEDOUT]
)
def test_trouble_with_the_machine_is_one_sentence(number):
    text = machine_trouble(OSError(number, os.strerror(number), "some/file"))
    assert "some/file" in text and text.endswith("run the same command again.")


def test_libraries_that_find_no_room_are_one_sentence():
    assert machine_trouble(
        OSError("Could not find/load shared object file 'libllvmlite.so'")
    ).startswith("Not enough memory")


@pytest.mark.parametrize("megabytes", [350, 450, 550])
def test_too_little_memory_does_not_hang(example, tmp_path, megabytes):
    """OpenBLAS asks for its buffer for ever where there is no room for it."""
    limit = megabytes * 2**20
    done = subprocess.run(
        [sys.executable, "-m", "pcainit", *map(str, example.run(tmp_path))],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        stderr=subprocess.PIPE,
        timeout=600,
        env=environment(OPENBLAS_NUM_THREADS="1"),
    )
    assert done.returncode == 1 and done.stderr.startswith(b"pcainit: Not enough memory")


def test_too_many_processes_are_one_sentence():
    for words in ("can't start new thread", "Resource temporarily unavailable"):
        assert "ulimit -u" in machine_trouble(RuntimeError(words))
    assert machine_trouble(RuntimeError("of our own making")) == ""


@pytest.mark.slow
def test_any_threads_stages_parts_or_chunks_give_the_same_bits(tmp_path, monkeypatch):
    """The method with all its kernels."""
    assert (
        run(
            "simulate",
            tmp_path / "set",
            "--particles",
            400,
            "--box",
            28,
            "--sampling",
            6,
            "--snr",
            0.15,
        )
        == 0
    )
    example = Example(tmp_path / "set" / "particles.star", ["--resolution", "24"])
    found = []
    for threads in (1, 2, 4):
        folder = tmp_path / str(threads)
        assert run(*example.run(folder), "--threads", threads) == 0
        found.append(results(folder))
    assert found[0] == found[1] == found[2]
    run_all(example.stages(tmp_path / "parts", 5))
    assert not differing(found[0], tmp_path / "parts" / "result")
    for images in (1, 37):
        monkeypatch.setattr(
            "pcainit.pipeline.prepare.chunk_length", lambda _, images=images: images
        )
        assert run(*example.run(tmp_path / "chunks")) == 0
        assert not differing(found[0], tmp_path / "chunks")
