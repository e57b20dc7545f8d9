"""What is said first, from summaries whose results are known."""

# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from pcainit.output.words.headline import (
    certainty,
    mass,
    next_step,
    opening_lines,
    sensitivity,
    write_headline,
)
from pcainit.settings import FIXED

FOUND = dict(
    method="particles",
    significant_components=2,
    eigenvalues=[3, 2, 1, 1],
    resolution=20.0,
    half_set_cosines=[0.98, 0.9, 0.1, 0.1],
    null_cosine=0.2,
    copies=[False] * 3,
    classes=3,
    class_weights=[0.3, 0.5, 0.2],
    supported_classes=3,
)
NULL = dict(FOUND, significant_components=0, classes=1, class_weights=[1.0], copies=[False])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, "3 states: 50, 30 and 20 %"),
        (NULL, "No heterogeneity beyond noise at 20 Å"),
        (dict(class_weights=[0.9531, 0.0421, 0.0048]), "3 states: 95, 4.2 and 0.48 %"),
        (
            dict(classes=8, class_weights=[0.16] + [0.12] * 7, supported_classes=9),
            "9 states, shown in 8 volumes, of 16 % to 12 %",
        ),
        (
            dict(classes=8, class_weights=[0.2] + [0.1] * 6 + [0.05], supported_classes=8),
            "8 states, of 20 % to 5 %",
        ),
        (dict(copies=[False, False, True], supported_classes=2), "2 states: 50 and 30 %"),
        (dict(supported_classes=5), "5 states, shown in 3 volumes: 50, 30 and 20 %"),
        (dict(supported_classes=1), "A continuous change, shown in 3 steps"),
        (
            dict(supported_classes=1, classes=1, class_weights=[1.0], copies=[False]),
            "A continuous change, without separate states",
        ),
        (dict(method="simple", significant_components=None), "3 volumes of random particles"),
        (
            dict(method="latents", significant_components=None),
            "3 classes in the given coordinates: 50, 30 and 20 %",
        ),
        (
            dict(method="latents", parameters=dict(along=2)),
            "3 volumes along coordinate 2: 50, 30 and 20 %",
        ),
        (dict(method="volumes", input_volumes=12), "3 groups among 12 volumes: 50, 30 and 20 %"),
        (dict(method="variance"), "The structure varies at 20 Å"),
        (dict(NULL, method="variance"), "No heterogeneity beyond noise at 20 Å"),
        (dict(given=dict(use=FIXED)), "3 classes along the given components: 50, 30 and 20 %"),
    ],
)
def test_headline(changes, words):
    assert write_headline(dict(FOUND, **changes)).startswith(words)


def test_order_is_finding_certainty_next_step():
    lines = opening_lines(FOUND)
    assert lines[0] == "3 states: 50, 30 and 20 %"
    assert "the evidence is strong" in lines[1]
    assert lines[2] == "Give all 3 volumes to a 3D classification without alignment."
    assert not any("cosine" in line or "0.98" in line for line in lines)


@pytest.mark.parametrize(
    "weakest, words", [(0.81, "strong"), (0.6, "evidence is fair"), (0.4, "only in part")]
)
def test_certainty_follows_the_weakest_component(weakest, words):
    assert words in certainty(dict(FOUND, half_set_cosines=[0.99, weakest, 0.1, 0.1]))


def test_a_null_result_leads_to_refinement():
    for classes in (1, 4):
        text = next_step(dict(NULL, classes=classes))
        assert text.startswith("Refine all particles together with one reference")
        assert ("The 4 volumes" in text) == (classes == 4)
    assert "no change in common" in certainty(NULL)


def test_components_taken_at_their_word_are_no_null_result():
    taken = dict(NULL, given=dict(use=FIXED), classes=2, class_weights=[0.6, 0.4])
    assert "Refine" not in next_step(taken)
    assert "at their word" in certainty(taken)


def test_sizes_that_people_know():
    assert mass(60) == "60 kDa (about 550 residues)"
    assert mass(8) == "8 kDa (about 75 residues)"
    power = dict(
        short=[
            dict(kda=8, share=None),
            dict(kda=15, share=0.43),
            dict(kda=60, share=0.102),
            dict(kda=120, share=0.06),
        ]
    )
    assert sensitivity(dict(NULL, power=power)) == (
        "A part of 60 kDa (about 550 residues) that only some particles have would be noticed once "
        "about 10 % of them have it; one of 15 kDa, once about 43 % do. Parts of 8 kDa or less "
        "would go unnoticed."
    )
    power["long"] = [dict(kda=30, share=0.2, tried=3, shares=[0.1], found=[1])]
    assert "Tried on these particles: a part of 30 kDa" in sensitivity(dict(NULL, power=power))


@pytest.mark.parametrize("summary", [{}, dict(verdict="x"), dict(method="particles")])
def test_a_bare_summary_costs_sentences_only(summary):
    assert all(isinstance(line, str) and line for line in opening_lines(summary))
