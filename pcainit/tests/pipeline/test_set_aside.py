"""Particles that are set aside: no result is made from them, and all of them are listed."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import shutil

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.io.particle_table import ParticleTable

BAD = [3, 400, 401]
WORDS = ["--method", "simple", "--classes", "2", "--particles-per-reconstruction", "100"]


@pytest.fixture
def failed(simulated_set, tmp_path):
    """The simulated set with three rows whose defocus failed; their images are of another size."""
    folder = tmp_path / "data"
    shutil.copytree(str(simulated_set), str(folder))
    table = ParticleTable(folder / "particles.star")
    cells = table.text("rlnDefocusU")
    for row in BAD:
        cells[row] = "-999.0"
    table.write_with(folder / "particles.star", {"rlnDefocusU": cells})
    return folder


def test_they_are_counted_and_listed(failed, tmp_path, capsys):
    """One simple run: summary, verdict, list; every row is still in the output."""
    out = tmp_path / "out"
    assert main(["run", str(failed / "particles.star"), "-o", str(out), *WORDS]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["set_aside"] == 3 and summary["saturated_images"] == 0
    assert "a negative defocus of 3 rows (4, 401, 402)" in summary["verdict"]
    names = ParticleTable(failed / "particles.star").text("rlnImageName")
    assert (out / "left_out.txt").read_text().splitlines() == [
        "# row image: reason",
        *("%d %s: a negative defocus" % (k + 1, names[k]) for k in BAD),
    ]
    assert len(ParticleTable(out / "particles.star")) == len(names)


def test_a_mask_whose_header_contradicts_the_particles(simulated_set, tmp_path):
    """The header is taken at its word and named; --mask-sampling rules over it."""
    axis = np.arange(32) - 16
    ball = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 100).astype(np.float32)
    with mrcfile.new(str(tmp_path / "mask.mrc")) as mrc:
        mrc.set_data(ball)
        mrc.voxel_size = 3.0
    size = {}
    for name, more in (("header", []), ("given", ["--mask-sampling", "6"])):
        out = tmp_path / name
        words = ["run", str(simulated_set / "particles.star"), "-o", str(out), *WORDS]
        assert main([*words, "--mask", str(tmp_path / "mask.mrc"), *more]) == 0
        said = json.loads((out / "summary.json").read_text())["verdict"]
        assert ("--mask-sampling 6" in said) == (name == "header")
        size[name] = mrcfile.read(str(out / "components" / "mask.mrc")).sum()
    assert size["given"] == pytest.approx(ball.sum(), rel=0.05)
    assert size["header"] == pytest.approx(ball.sum() / 8, rel=0.2)
