"""The quick look at where the structure varies, against a simulation's truth."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json

import mrcfile
import numpy as np
import pytest

from pcainit.cli.main import main
from pcainit.io.particle_table import ParticleTable


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """Folder of a simulated set of three states, and of its variance map."""
    folder = tmp_path_factory.mktemp("variance")
    assert main(["simulate", str(folder / "data"), "--particles", "1500", "--seed", "3"]) == 0
    assert (
        main(
            [
                "variance",
                str(folder / "data" / "particles.star"),
                "-o",
                str(folder / "look"),
                "--resolution",
                "20",
            ]
        )
        == 0
    )
    return folder


def test_map_shows_where_the_true_states_differ(look):
    table = ParticleTable(str(look / "data" / "particles.star"))
    maps = sorted((look / "data" / "truth").glob("*.mrc"))
    states = np.array([mrcfile.read(str(path)) for path in maps])
    found = mrcfile.read(str(look / "look" / "components" / "variance.mrc"))
    mask = mrcfile.read(str(look / "look" / "components" / "mask.mrc")) > 0.5
    assert len(states) > 1 and len(table) == 1500 and found.shape == states.shape[1:]
    true = states.var(axis=0)
    assert np.corrcoef(found[mask], true[mask])[0, 1] > 0.7
    assert found[mask].mean() > 5 * abs(found[~mask]).mean()


def test_summary_says_what_the_map_rests_on(look):
    summary = json.loads((look / "look" / "summary.json").read_text())
    assert summary["significant_components"] >= 1
    assert "reproducible between half-sets" in summary["verdict"]
    assert summary["method"] == "variance"


def test_other_methods_are_refused(look, capsys):
    star = str(look / "data" / "particles.star")
    assert (
        main(["variance", star, "-o", str(look / "no"), "--method", "simple", "--classes", "2"])
        == 2
    )
    assert "method is simple" in capsys.readouterr().err
    assert not (look / "no").exists()


def test_work_of_the_stages_is_shown_as_it_is(look, tmp_path):
    star, work = str(look / "data" / "particles.star"), str(tmp_path / "work")
    alike = ["--no-local-search", "--analysis-resolution", "20"]
    assert main(["prepare", star, "--work", work, *alike]) == 0
    assert main(["variance", "--work", work, "-o", str(tmp_path / "o"), *alike]) == 0
    one, two = (
        mrcfile.read(str(folder / "components" / "variance.mrc"))
        for folder in (look / "look", tmp_path / "o")
    )
    assert np.array_equal(one, two)


def test_work_is_shown_without_replacing_files_of_others(look, tmp_path, capsys):
    star, work = str(look / "data" / "particles.star"), str(tmp_path / "work")
    alike = ["--no-local-search", "--analysis-resolution", "20"]
    assert main(["prepare", star, "--work", work, *alike]) == 0
    words = ["variance", "--work", work, *alike, "-o"]
    for name in ("report.html", "volumes/class_averages.mrc", "components/variance.mrc"):
        path = tmp_path / name.replace("/", "_") / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"precious")
        assert main([*words, str(tmp_path / name.replace("/", "_"))]) == 2
        assert "holds %s, which pcainit has not made" % name in capsys.readouterr().err
        assert path.read_bytes() == b"precious"


def test_particles_and_work_together_are_refused(look, tmp_path, capsys):
    star = str(look / "data" / "particles.star")
    assert main(["variance", star, "--work", str(tmp_path), "-o", str(tmp_path / "o")]) == 2
    assert "either" in capsys.readouterr().err
