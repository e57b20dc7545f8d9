"""Figures by each image's own state, kept records and the plan, on cases whose answer is known."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
from pathlib import Path

import movement
import numpy as np
import pytest
import records
import state_views
from plan import PLAN, expand
from truth_sets import TruthSet

SIZE, SAMPLING, RESOLUTION = 16, 2.0, 6.0


@pytest.fixture(scope="module")
def truth():
    maps = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, SIZE)).astype(np.float32)
    states = np.repeat([0, 1, 2, 3, -1], [40, 30, 20, 10, 5])
    return TruthSet("some", Path("-"), Path("-"), states, maps, SAMPLING, {})


def test_the_right_volume_for_every_image_is_perfect(truth):
    labels = np.where(truth.states < 0, 0, 3 - truth.states)  # in another order, junk somewhere
    sizes = np.bincount(labels)
    volumes = 5 + 2 * truth.maps[::-1]
    ball, changing = movement.correlation_tables(truth, volumes, labels, RESOLUTION)
    assert sizes.sum() == 105
    for table in (ball, changing):  # junk moves the mean a little
        assert movement.own_correlation(table, labels, truth.states) == pytest.approx(1, abs=0.01)
    assert movement.count_shown(ball) == {"shown": 4, "shown_apart": 4}


def test_states_that_share_a_volume(truth):
    """Two states in one class: the answer written out with numpy on whole maps."""
    labels = np.maximum(truth.states, 0) // 2
    shares = truth.populations
    volumes = np.array(
        [np.average(truth.maps[a : a + 2], axis=0, weights=shares[a : a + 2]) for a in (0, 2)]
    )
    table, _ = movement.correlation_tables(truth, volumes, labels, RESOLUTION)
    f = np.fft.fftfreq(SIZE, SAMPLING)
    fine = np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2) >= 1 / RESOLUTION

    def smooth(volume):
        out = np.fft.fftn(volume)
        out[fine] = 0
        z, y, x = np.indices(volume.shape) - SIZE // 2
        return np.fft.ifftn(out).real[np.sqrt(x**2 + y**2 + z**2) < 0.45 * SIZE]

    consensus = smooth(np.average(truth.maps, axis=0, weights=shares))
    mean = smooth(np.average(volumes, axis=0, weights=np.bincount(labels)))
    for k in (0, 1):
        for c in range(4):
            expected = np.corrcoef(smooth(volumes[k]) - mean, smooth(truth.maps[c]) - consensus)
            assert table[k, c] == pytest.approx(expected[0, 1], abs=1e-4)
    mean_of_images = np.mean([table[s // 2, s] for s in truth.states if s >= 0])
    assert movement.own_correlation(table, labels, truth.states) == pytest.approx(mean_of_images)


def test_a_volume_counts_for_one_state_only():
    table = np.array([[0.9, 0.8, 0.1], [0.2, 0.6, 0.75]])
    assert movement.count_shown(table) == {"shown": 3, "shown_apart": 2}


def test_shares_are_compared_in_their_order():
    assert state_views.worst_share({"sizes": [390, 610], "true": [0.6, 0.4]}) == pytest.approx(0.01)
    assert state_views.worst_share({"sizes": [1000], "true": [0.6, 0.4]}) is None


def test_a_record_is_of_one_engine_and_one_set(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "engine_version", lambda: "one")
    job = records.Job("some", tmp_path, simulate=("--seed", "1"))
    store = records.Store(tmp_path / "records")
    assert store.find(job) is None
    figures = {"ari": np.float64(0.5), "sizes": np.arange(2)}
    store.keep(job, dict(engine="one", simulated=job.simulated, figures=figures))
    assert store.find(job)["figures"] == {"ari": 0.5, "sizes": [0, 1]}
    assert json.loads((tmp_path / "records" / (job.key + ".json")).read_text())["engine"] == "one"
    other = records.Job("some", tmp_path, simulate=("--seed", "2"))
    assert other.key == job.key and store.find(other) is None
    monkeypatch.setattr(records, "engine_version", lambda: "two")
    assert records.Store(tmp_path / "records").find(job) is None


def test_every_run_of_the_plan_has_a_name_of_its_own(tmp_path):
    names = {line.same_as or line.name for line in PLAN}
    for name in names:
        (tmp_path / name).mkdir()
        for star in ("particles.star", "particles_poseerr.star", "particles_refined.star"):
            (tmp_path / name / star).touch()
    folders = {name: tmp_path / name for name in names}
    jobs = [job for _, job in expand(PLAN, folders, (0, 1, 2), tmp_path / "made")]
    assert len({job.key for job in jobs}) == len(jobs) > 150
    only = [job for _, job in expand(PLAN, {"random": tmp_path / "x.star"}, (0,), tmp_path)]
    assert all(job.simulate for job in only)  # nothing that is not there
