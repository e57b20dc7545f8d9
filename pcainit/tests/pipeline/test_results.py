"""Typed results: they come back from a file as they were, older ones are known as such."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import json

import numpy as np
import pytest

from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.engine.model.statistics import Measurements
from pcainit.errors import InputError
from pcainit.io.atomic import read_arrays, write_arrays
from pcainit.pipeline import results
from pcainit.pipeline.flat_arrays import RESULT_TYPES, from_arrays, to_arrays
from pcainit.pipeline.prepare_result import PrepareResult
from pcainit.pipeline.results import (
    ClusterResult,
    ComponentsResult,
    ComponentTests,
    ParticleComponents,
)
from pcainit.pipeline.stage_order import STAGES
from pcainit.pipeline.store import Workspace


def example():
    """Components of the method particles with every kind of content."""
    rng = np.random.default_rng(0)

    def model(q):
        volumes = rng.normal(size=(q, 4, 4, 4)).astype(np.float32)
        return LatentModel(volumes, rng.uniform(size=q), NuisanceSpread(0.1, 0.2, 1 / 3), 0.7)

    statistics = Measurements(
        rng.normal(size=(5, 2, 2)).astype(np.float32),
        rng.normal(size=(5, 2)).astype(np.float32),
        rng.normal(size=(5, 4)).astype(np.float32),
        1e12,
    )
    return ComponentsResult(
        variance=rng.normal(size=(4, 4, 4)).astype(np.float32),
        noise_edge=float("nan"),
        particles=ParticleComponents(
            model=model(2),
            half_models=(model(1), model(1)),
            index=np.arange(5),
            statistics=statistics,
            cross_statistics=statistics,
            coordinates=np.zeros((6, 2), np.float32),
            covariance=np.zeros((6, 2, 2), np.float32),
            artefact=np.zeros(2),
            explained=np.ones(2),
            tests=ComponentTests(
                np.array([True, False]), np.zeros(2, bool), np.ones(2), 0.2, 1, 1 / 7, 0
            ),
            power=dict(short=[dict(kda=8, share=None)], long=None, density=0.1),
            given=None,
        ),
    )


def same(one, two):
    """Whether two results have the same types, arrays to the last bit, and numbers."""
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes())
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(two, name)) for name in names)
    if isinstance(one, tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two or one != one and two != two


def test_a_result_comes_back_from_a_file(tmp_path):
    result = example()
    write_arrays(tmp_path / "a.npz", to_arrays(result))
    back = from_arrays(read_arrays(tmp_path / "a.npz"), ComponentsResult)
    assert same(back, result)
    assert not same(back, dataclasses.replace(result, noise_edge=1.0))
    assert back.measured.count == 1 and len(back.measured.certified) == 1


def test_arrays_are_called_by_dotted_names():
    arrays = to_arrays(example())
    assert arrays["particles.half_models.1.components"].shape == (1, 4, 4, 4)
    assert arrays["particles.statistics.score"].shape == (5, 2)
    text = json.loads(str(arrays["result"]))
    assert text["parts"]["particles"]["parts"]["power"]["plain"]["density"] == 0.1


def test_arrays_are_in_the_order_of_files():
    turned = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    back = from_arrays(to_arrays(ClusterResult(centres=turned)), ClusterResult)
    assert back.centres.flags.c_contiguous and np.array_equal(back.centres, turned)


def test_what_a_file_cannot_hold_is_refused():
    with pytest.raises(TypeError):
        to_arrays(ClusterResult(label=np.int64(3)))
    with pytest.raises(TypeError, match="ClusterResult is no ComponentsResult"):
        from_arrays(to_arrays(ClusterResult()), ComponentsResult)


def test_memory_and_folder_give_the_same(tmp_path):
    for folder in (None, tmp_path):
        work = Workspace(folder)
        work.put(example(), "abc")
        assert same(work.get(ComponentsResult), example())
    assert same(Workspace(tmp_path).get(ComponentsResult), example())


def test_every_stage_has_its_result():
    assert tuple(results.STAGE_RESULTS) == STAGES
    declared = {
        kind
        for kind in vars(results).values()
        if dataclasses.is_dataclass(kind) and kind.__module__ == results.__name__
    }
    assert declared - {results.RunResults} <= set(RESULT_TYPES)


def test_results_of_an_older_version_are_named(tmp_path):
    """What earlier versions left: arrays by other names, with their digest."""
    names = np.array(["mean", "digest", "names"])
    write_arrays(
        tmp_path / "cluster.npz", dict(mean=np.zeros(3), digest=np.array("abc"), names=names)
    )
    work = Workspace(tmp_path)
    assert not work.has(ClusterResult, "abc")
    with pytest.raises(InputError, match="made by an older version: run that step again"):
        work.get(ClusterResult)
    work.put(ClusterResult(label=np.zeros(2, int)), "abc")
    assert Workspace(tmp_path).has(ClusterResult, "abc")


def test_the_grid_comes_back_whole():
    made = PrepareResult(
        grid=Grid(32, 2.5, 20.0),
        rotations=np.eye(3)[None],
        half=np.ones(1, np.int8),
        usable=np.ones(1, bool),
        redrawn=True,
        images=dict(masked=0, background_mean=[0.1, None, 1.0]),
        star="a.star",
        star_near="",
        identity="x",
        star_identity="y",
        sums=None,
    )
    back = from_arrays(to_arrays(made), PrepareResult)
    assert back.grid == made.grid and back.images == made.images and back.redrawn is True
