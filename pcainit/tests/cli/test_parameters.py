"""The table of parameters: ranges, digests, options, and the checks against the particles."""

# SPDX-License-Identifier: GPL-3.0-or-later
import argparse
import dataclasses

import numpy as np
import pytest

from pcainit.checks import cautions, problems
from pcainit.cli.main import main
from pcainit.cli.options import add_settings, settings_from
from pcainit.cli.progress import STEPS, Reporter, time_left
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.projection.reconstruction import CONSENSUS_PADDING
from pcainit.errors import InputError
from pcainit.limits import FINEST
from pcainit.pipeline.stage_order import STAGES, stage_digest
from pcainit.settings import USED_BY, Settings

# Another valid value of every setting.
OTHER = dict(
    resolution=15.0,
    analysis_resolution="14",
    no_ctf=True,
    invert_contrast=True,
    normalise=True,
    mask="m.mrc",
    mask_sampling=3.0,
    mask_threshold=0.3,
    mask_near=5.0,
    mask_far=30.0,
    symmetry="c2",
    method="batches",
    reconstructions=50,
    particles_per_reconstruction=99,
    stratify=True,
    seed=1,
    components=3,
    classes="3",
)
GIVEN = dict(given_components=("a.mrc", "b.mrc"), given_use="fixed", given_mean="mean.mrc")


def test_every_setting_is_described():
    for name, info in Settings.fields().items():
        assert info["label"] and info["help"].endswith("."), name
        assert info["stage"] in STAGES and set(info["methods"]), name


def test_every_setting_has_another_value_here():
    assert {*OTHER, *GIVEN, "no_local_search", "positive_control"} == set(Settings.fields())


@pytest.mark.parametrize("name", [*OTHER, *GIVEN])
def test_a_change_counts_from_its_stage_on(name):
    base = Settings(classes="4", **(dict(given_components=("c.mrc",)) if name in GIVEN else {}))
    changed = dataclasses.replace(base, **{name: {**OTHER, **GIVEN}[name]})
    own = STAGES.index(Settings.fields()[name]["stage"])
    for k, stage in enumerate(STAGES):
        assert (stage_digest(base, stage) != stage_digest(changed, stage)) == (k >= own), stage


def test_digests_know_the_input():
    assert stage_digest(Settings(), "prepare", "a") != stage_digest(Settings(), "prepare", "b")
    assert stage_digest(Settings(), "prepare") == stage_digest(Settings(), "prepare")


@pytest.mark.parametrize(
    "name", [n for n, info in Settings.fields().items() if info["low"] is not None]
)
def test_values_out_of_range_are_refused(name):
    info = Settings.fields()[name]
    for value in (info["low"] - 1, info["high"] + 1):
        with pytest.raises(InputError, match="%s is .*from" % name):
            Settings(**{name: value})


def test_whole_numbers():
    with pytest.raises(InputError, match="seed is 1.5: give a whole number"):
        Settings(seed=1.5)


@pytest.mark.parametrize("given, kept, number", [("AUTO", "auto", 0), (" 4 ", "4", 4), (3, "3", 3)])
def test_classes(given, kept, number):
    settings = Settings(classes=given)
    assert (settings.classes, settings.n_classes) == (kept, number)


def parse(*words):
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return settings_from(parser.parse_args(words))


def test_options_cover_every_setting():
    assert parse() == Settings()
    words = []
    for name, value in OTHER.items():
        words += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
    assert parse(*words) == Settings(**OTHER)
    words = ["--given-components", "a.mrc", "b.mrc", "--given-use", "fixed"]
    assert parse(*words, "--given-mean", "mean.mrc") == Settings(**GIVEN)


def test_given_components_go_with_the_particles():
    with pytest.raises(InputError, match="used by the method particles only"):
        Settings(method="simple", classes="3", given_components=["a.mrc"])
    with pytest.raises(InputError, match="given_mean is m.mrc, but no given_components"):
        Settings(given_mean="m.mrc")
    with pytest.raises(InputError, match="given_use is fixed, but no given_components"):
        Settings(given_use="fixed")
    with pytest.raises(InputError, match="given_use is 'both': choose one of start, fixed"):
        Settings(given_use="both")


def test_problems_and_cautions():
    fine = Settings(
        method="batches", classes="3", reconstructions=100, particles_per_reconstruction=100
    )
    assert problems(fine, 10000, 64, 4.0) == []
    assert len(cautions(fine, 10000, 64, 4.0)) == 1  # what the method cannot do
    assert any("reused" in text for text in cautions(fine, 5000, 64, 4.0))
    few = cautions(dataclasses.replace(fine, classes="8"), 2000, 64, 4.0)
    assert any("per class" in text for text in few)
    near = cautions(dataclasses.replace(fine, resolution=9.0), 10000, 64, 4.0)
    assert any("close to Nyquist" in text for text in near)
    assert any("odd" in text for text in problems(fine, 10000, 63, 4.0))
    assert any("at least 16" in text for text in problems(fine, 10000, 14, 4.0))
    assert any("sampling rate" in text for text in problems(fine, 10000, 64, 0.0))
    assert len(problems(dataclasses.replace(fine, resolution=7.0), 30, 63, 4.0)) == 3
    assert problems(Settings(), 10000, 64, 4.0) == [] == cautions(Settings(), 10000, 64, 4.0)


@pytest.mark.parametrize("box", [880, 1024, 2000])
def test_every_voxel_of_the_largest_grid_has_a_number_in_32_bits(box):
    fine = Settings(classes="3", resolution=box * 0.5 / FINEST)
    assert problems(fine, 10000, box, 0.5) == []
    grid = Grid(box, 0.5, fine.resolution, CONSENSUS_PADDING)
    assert np.prod(grid.half_shape) < 2**31
    too_fine = dataclasses.replace(fine, resolution=0.99 * fine.resolution)
    assert any("too fine" in text for text in problems(too_fine, 10000, box, 0.5))


class Screen:
    """A stream that may claim to be a terminal."""

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal):
    screen = Screen(terminal)
    reporter = Reporter(screen)
    reporter.run("prepare", lambda progress: [progress(k / 1000) for k in range(1001)])
    assert reporter.seconds["prepare"] >= 0
    if terminal:
        assert "\r" in screen.text and "[" + "#" * 25 + "] 100 %" in screen.text
    else:
        lines = screen.text.splitlines()
        assert lines[0] == "prepare: started, reading and cropping the images"
        assert lines[1] == "prepare: 10 %" and len(lines) == 11
        assert lines[-1].startswith("prepare: done in ")


@pytest.mark.parametrize("terminal", [True, False])
def test_time_that_is_left_is_said(terminal):
    """A stage of ten minutes, by a clock of its own."""
    now, screen = [0.0], Screen(terminal)

    def work(progress):
        for k in range(1, 601):
            now[0] = float(k)
            progress(k / 600)

    Reporter(screen, lambda: now[0]).run("components", work)
    words = screen.text.replace("\r", "\n")
    assert "looking for what varies" in words
    assert "10 %, about 9 min left" in words and "90 %, about 1 min left" in words
    assert "100 %," not in words and "600.0 s (10 min)" in words
    if not terminal:
        assert words.count("left") == 9


def test_a_slow_stage_says_something_each_minute():
    now, screen = [0.0], Screen(False)

    def work(progress):
        for k in range(1, 11):
            now[0] = 100.0 * k
            progress(k / 100)

    Reporter(screen, lambda: now[0]).run("prepare", work)
    assert screen.text.count(" % ") + screen.text.count(" %,") + screen.text.count(" %\n") == 10
    assert "prepare: 5 %, about 2 h 40 min left" in screen.text


@pytest.mark.parametrize(
    "elapsed, share, words",
    [
        (1, 0.5, ""),
        (100, 0.01, ""),
        (100, 1.0, ""),
        (10, 0.9, "a few seconds"),
        (30, 0.5, "about 30 s"),
        (600, 0.5, "about 10 min"),
        (7200, 0.5, "about 2 h"),
    ],
)
def test_time_left(elapsed, share, words):
    assert time_left(elapsed, share) == words


@pytest.mark.parametrize(
    "route, unused",
    [
        ("volumes", ["--no-ctf"]),
        ("volumes", ["--symmetry", "c4"]),
        ("latents", ["--components", "3"]),
        ("latents", ["--given-mean", "x.mrc"]),
    ],
)
def test_options_that_a_route_does_not_use_are_refused(route, unused, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([route, "a.star", "b.npy", "-o", str(tmp_path / "out"), *unused])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "unrecognized arguments" in said and said.count("\n") == 1


def test_the_protocols_give_what_the_routes_use():
    pytest.importorskip("pwem")
    from pcainit.protocols import PcaInitProtLatents, PcaInitProtVolumePca

    for route, protocol in (("volumes", PcaInitProtVolumePca), ("latents", PcaInitProtLatents)):
        assert {*protocol.SETTINGS, "mask", "mask_sampling", "classes"} == set(USED_BY[route])


def test_scipion_takes_no_line_of_progress_for_an_error():
    pytest.importorskip("pwem")
    from pcainit.protocols.engine_job import OTHER as IGNORED

    screen = Screen(False)
    for name in STEPS:
        Reporter(screen).run(name, lambda progress: progress(0.5))
    lines = screen.text.splitlines()
    assert len(lines) == 3 * len(STEPS) and all(map(IGNORED.match, lines))
    assert not IGNORED.match("pcainit: error: prepare: started")
