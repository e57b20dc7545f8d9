"""What the titles and captions call the points and volumes of each kind of result."""

# SPDX-License-Identifier: GPL-3.0-or-later
from dataclasses import replace

import numpy as np
import pytest

from pcainit.output.plots import PLOTS, load_result
from pcainit.output.words import advice
from pcainit.settings import FIXED
from pcainit.tests.example_result import make_result

# Words that would be wrong in a figure of this kind of result.
WRONG = {
    "volumes": ("particle,", "batch", "reconstruction", "consensus", "half-set", "two halves"),
    "latents": ("component", "random batch"),
    "batches": ("particles in", "two halves"),
    "given": ("two halves", "agree"),
    "variance": ("class's",),
}
SHOWN = {
    "volumes": (
        "batches",
        "spectrum",
        "shares",
        "pairwise",
        "differences",
        "changes",
        "components",
        "variance",
        "number",
    ),
    "latents": ("particles", "shares", "number"),
    "batches": ("batches", "spectrum", "shares"),
    "given": ("spectrum", "components", "variance"),
    "variance": ("fsc",),
}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    make_result(folder, 200)
    return load_result(folder)


def of_kind(result, kind):
    """The result as if another route had made it."""
    if kind == "given":
        return replace(result, summary=dict(result.summary, given=dict(use=FIXED, files=["a"])))
    return replace(result, summary=dict(result.summary, method=kind))


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_titles_and_captions_say_what_is_shown(result, kind):
    other = of_kind(result, kind)
    assert other.kind == kind
    for name in SHOWN[kind]:
        words = " ".join(PLOTS[name].words(other)).lower()
        assert words.count(".") and not [word for word in WRONG[kind] if word in words], name


def test_the_particles_own_words_are_the_default(result):
    assert all(
        plot.words(of_kind(result, "particles")) == (plot.title, plot.caption)
        for plot in PLOTS.values()
    )


def test_labels_inside_the_figures(result):
    rng = np.random.default_rng(0)
    volumes = replace(
        of_kind(result, "volumes"),
        batch_coordinates=rng.normal(size=(30, 4)),
        batch_cluster=np.arange(30) % 4,
    )
    one = PLOTS["batches"].draw(volumes, 1, 1)
    assert one.axes[0].get_ylabel() == "input volumes"
    assert PLOTS["batches"].draw(volumes).legends[0].get_texts()[0].get_text() == "class 1   8"
    latents = PLOTS["particles"].draw(replace(of_kind(result, "latents"), half_set_cosines=None))
    assert latents.axes[0].get_xlabel().startswith("coordinate ")
    assert PLOTS["differences"].draw(volumes).axes[1].get_ylabel() == "density minus mean"
    assert "spread" in PLOTS["pairwise"].draw(volumes).axes[1].get_ylabel()


@pytest.mark.parametrize("kind", ["volumes", "latents", "simple"])
def test_advice_does_not_promise_a_test(result, kind):
    other = of_kind(result, kind)
    assert "was not tested here" in advice.opening(other)
    one = replace(other, class_weights=np.ones(1), copies=None)
    assert advice.opening(one).startswith("Give the volume to a 3D classification")
    without = replace(other, labels=None)
    assert not any("particles" in text for _, text in advice.scipion(without))
