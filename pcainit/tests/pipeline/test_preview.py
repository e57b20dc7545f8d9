"""The quick consensus before a run, its command, and what the wizards compute."""

# SPDX-License-Identifier: GPL-3.0-or-later
import shutil

import mrcfile
import numpy as np
import pytest
from scipy import fft

from pcainit import checks
from pcainit.cli.main import main
from pcainit.errors import InputError
from pcainit.pipeline.routes.preview import Preview, make_preview, read_preview, write_preview
from pcainit.settings import Settings
from pcainit.tests.conftest import PARTICLES, SAMPLING


@pytest.fixture(scope="module")
def preview(simulated_set):
    return make_preview(str(simulated_set / "particles.star"), None, Settings())


def test_shows_the_true_structure(preview, simulated_set):
    truth = sum(
        share * mrcfile.read(simulated_set / "truth" / ("class0%d.mrc" % k))
        for k, share in enumerate((0.5, 0.3, 0.2))
    )
    assert preview.count == preview.total == PARTICLES and preview.mean.shape == truth.shape
    spectrum = fft.rfftn(truth)
    axis, half = fft.fftfreq(32, SAMPLING), fft.rfftfreq(32, SAMPLING)
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + half**2
    for resolution in (18.0, 24.0, 30.0):
        expected = fft.irfftn(spectrum * (squared <= resolution**-2), truth.shape)
        found = preview.low_passed(resolution)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95


def test_low_pass_keeps_what_it_should(preview):
    assert np.allclose(preview.low_passed(preview.finest * 0.5), preview.mean, atol=1e-4)
    coarse = preview.low_passed(40.0)
    assert np.allclose(preview.low_passed(40.0).mean(), preview.mean.mean(), atol=1e-5)
    assert coarse.std() < preview.mean.std()
    with pytest.raises(InputError):
        preview.mask(-preview.mean, 0.2, 10, 20)
    near, far = preview.mask(coarse, 0.2, 5, 10), preview.mask(coarse, 0.2, 15, 30)
    assert 0 < near.sum() < far.sum() and far.max() == 1


def test_takes_some_particles_only(simulated_set):
    some = make_preview(
        str(simulated_set / "particles.star"), None, Settings(), most=200, total=123456
    )
    assert (some.count, some.total) == (200, 123456)
    assert some.megabytes(20) > some.megabytes(40) > 0


def test_survives_its_file(preview, tmp_path):
    write_preview(preview, tmp_path / "p.npz")
    again = read_preview(tmp_path / "p.npz")
    assert np.array_equal(again.mean, preview.mean)
    assert [getattr(again, name) for name in Preview.__dataclass_fields__ if name != "mean"] == [
        getattr(preview, name) for name in Preview.__dataclass_fields__ if name != "mean"
    ]
    for damaged in (b"", b"no file of ours", (tmp_path / "p.npz").read_bytes()[:500]):
        (tmp_path / "p.npz").write_bytes(damaged)
        with pytest.raises(InputError, match="make it again"):
            read_preview(tmp_path / "p.npz")


def test_command(simulated_set, tmp_path, capsys):
    words = ["preview", str(simulated_set / "particles.star"), "-o", str(tmp_path / "look")]
    assert main([*words, "--at", "15,25", "--most", "300", "--resolution", "25"]) == 0
    shown = capsys.readouterr().out
    assert "300 particles" in shown and "all %d take" % PARTICLES in shown
    assert (tmp_path / "look" / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert read_preview(tmp_path / "look" / "preview.npz").count == 300


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_what_no_run_accepts_is_refused(simulated_set, tmp_path, capsys, count):
    lines = (simulated_set / "particles.star").read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if "@" in line)
    star = simulated_set / ("only_%d.star" % count)
    star.write_text("\n".join(lines[: first + count]) + "\n\n")
    words = ["preview", str(star), "-o", str(tmp_path / "x"), "--resolution", "100"]
    assert main(words) == 2
    assert "only %d particles: at least 50" % count in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    if count == 20:  # of a large set
        assert main([*words, "--total", "5000"]) == 0
    star.unlink()


def test_odd_boxes_are_refused(simulated_set, tmp_path):
    images = mrcfile.read(str(simulated_set / "particles.mrcs"))[:, 1:, 1:]
    mrcfile.write(str(tmp_path / "particles.mrcs"), np.ascontiguousarray(images))
    shutil.copy(str(simulated_set / "particles.star"), str(tmp_path))
    with pytest.raises(InputError, match="odd .31 pixels"):
        make_preview(str(tmp_path / "particles.star"), None, Settings())


@pytest.mark.parametrize(
    "words, said",
    [
        (["--at", "twelve"], "at is 'twelve'"),
        (["--at", "-5"], "at is '-5'"),
        (["--most", "3"], "most is 3"),
        (["--threads", "0"], "threads is 0"),
    ],
)
def test_command_refuses(simulated_set, tmp_path, capsys, words, said):
    assert (
        main(["preview", str(simulated_set / "particles.star"), "-o", str(tmp_path / "x"), *words])
        == 2
    )
    assert said in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.parametrize("count", [60, 1000, 30000, 300000, 10**6])
def test_suggested_batches_are_accepted_without_a_word(count):
    """What the wizard suggests raises no problem, and no caution on the sizes it has chosen."""
    number = checks.batch_count(count)
    first = Settings(method="batches", classes="4", reconstructions=number)
    settings = Settings(
        method="batches",
        classes="4",
        reconstructions=number,
        particles_per_reconstruction=checks.batch_size(first, count),
    )
    assert checks.problems(settings, count, 64, 4.0) == []
    if count >= 1000:
        assert not any("reused" in text for text in checks.cautions(settings, count, 64, 4.0))
    simple = Settings(method="simple", classes="4")
    size = checks.batch_size(simple, count)
    assert 1 <= size <= min(5000, count // 4)
