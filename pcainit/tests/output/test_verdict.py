"""The sentences of the verdict, from summaries."""

# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from pcainit.output.words.verdict import write_verdict

FOUND = dict(
    method="particles",
    significant_components=2,
    eigenvalues=[3, 2, 1, 1],
    resolution=20.0,
    half_set_cosines=[0.98, 0.9, 0.1, 0.1],
    null_cosine=0.2,
    copies=[False] * 3,
    classes=3,
    class_weights=[0.5, 0.3, 0.2],
    supported_classes=3,
    supported_weights=[0.5, 0.3, 0.2],
    merged_into=[0, 1, 2],
    artefacts=0,
    nuisance=None,
    particles=1000,
    constant_images=0,
)


def verdict(**changes):
    return write_verdict(dict(FOUND, **changes))


def test_what_was_found():
    assert verdict() == (
        "2 of 4 components are reproducible between half-sets (cosines 0.98, "
        "0.90; noise gives up to 0.20). 3 classes (50, 30, 20 %)."
    )
    one = verdict(significant_components=1)
    assert one.startswith("1 of 4 components is reproducible between half-sets (cosine 0.98;")


def test_fewer_volumes_than_states():
    text = verdict(classes=2, class_weights=[0.5, 0.5], copies=[False] * 2, merged_into=[0, 1, 1])
    assert text.endswith("The data support 3 classes: those of 30 and 20 % are merged.")


def test_more_volumes_than_states():
    text = verdict(
        classes=4, class_weights=[0.5, 0.3, 0.2, 0.0], copies=[False, False, False, True]
    )
    assert (
        "3 classes (50, 30, 20 %). More classes were asked for than the data support: volume "
        "4 shows no state but a random subset." in text
    )
    text = verdict(
        classes=5, class_weights=[0.5, 0.3, 0.2, 0, 0], copies=[False, False, False, True, True]
    )
    assert "volumes 4, 5 show no state but random subsets." in text


@pytest.mark.parametrize("components, what", [(1, "it"), (2, "them")])
def test_a_continuum(components, what):
    one = dict(
        significant_components=components,
        supported_classes=1,
        supported_weights=[1.0],
        merged_into=[0],
    )
    text = verdict(classes=1, class_weights=[1.0], copies=[False], **one)
    assert text.endswith("The particles spread along %s without separate classes." % what)
    text = verdict(classes=2, class_weights=[0.55, 0.45], copies=[False] * 2, **one)
    assert text.endswith(
        "without separate classes: the 2 volumes are points along component 1 (55, 45 %)."
    )


def test_nothing_found():
    text = verdict(significant_components=0, classes=1, half_set_cosines=[0.3], copies=[False])
    assert text.startswith("No heterogeneity beyond noise at 20 A: use one class. No component")
    text = verdict(significant_components=0, copies=[True] * 3)
    assert text.endswith(
        "The 3 volumes asked for are reconstructions of random subsets and show no states."
    )


@pytest.mark.parametrize(
    "count, words",
    [
        (1, "1 particle (0.1 %) looks like junk and was set"),
        (20, "20 particles (2.0 %) look like junk and were"),
    ],
)
def test_quality(count, words):
    nuisance = dict(contrast_sd=0.2, rotation_deg=2.04, shift_px=0.66, junk_share=count / 1000)
    text = verdict(nuisance=nuisance, artefacts=1, constant_images=2)
    assert "1 further component left out: reproducible, but like contrast or pose errors." in text
    assert (
        "Contrast varies by 20 %; pose errors are about 2.0 degrees and 0.7 pixels per axis."
        in text
    )
    assert words in text and text.endswith("2 constant images left out.")


def test_random_batches():
    text = write_verdict(dict(FOUND, method="batches", pairwise_differences=[[0, 1.3], [1.3, 0]]))
    assert text.startswith(
        "The 3 volumes are averages of random batches and differ by at most 1.3 times their noise."
    )


def test_what_the_search_of_regions_says():
    places = [dict(radius=31.6, x=-2.0, y=39.4, z=35.0)]
    text = verdict(
        regions_tried=36,
        changing_places=places,
        local_components=1,
        power=dict(
            short=[dict(kda=15, share=None), dict(kda=30, share=0.25), dict(kda=60, share=0.1234)],
            long=None,
            density=0.1,
        ),
    )
    assert (
        "A search of 36 small regions found 1 further place that changes (32 A around (-2, 39, "
        "35); Angstrom from the box's centre). 3 classes" in text
    )
    assert text.endswith(
        "A 60 kDa domain that comes and goes within the mask would be found in 8 "
        "of 10 cases from a share of about 12 % on; 30 kDa from 25 %. A 15 kDa "
        "domain would not be found in these particles at any share."
    )
    nothing = verdict(regions_tried=36, changing_places=[], local_components=0, power=None)
    assert "search" not in nothing and "would be" not in nothing


def test_what_added_domains_say():
    size = dict(kda=60, shares=[0.05, 0.1, 0.2, 0.4], found=[0, 1, 3, 3], tried=3, share=0.13)
    text = verdict(power=dict(short=[dict(kda=60, share=0.1)], long=[size], density=0.1))
    assert text.endswith(
        "A 60 kDa domain was added to these particles at 3 places; found: 0 at 5 "
        "%, 1 at 10 %, 3 at 20 %, 3 at 40 %; 8 of 10 cases from a share of about "
        "13 % on."
    )
    text = verdict(power=dict(short=[], long=[dict(size, found=[0] * 4, share=None)], density=0.1))
    assert text.endswith("3 places; found: 0 at 5 %, 0 at 10 %, 0 at 20 %, 0 at 40 %.")


def test_components_that_were_given():
    taken = dict(use="fixed", files=["x/a.mrc", "x/b.mrc"], score=[41.2, 0.3], nuisance=[0.1, 0.7])
    text = verdict(given=taken, significant_components=None, half_set_cosines=[])
    assert text.startswith("The given components were taken at their word: no half-set test")
    assert "a.mrc 41.2, b.mrc 0.3 (over 5 is clear)" in text
    assert "b.mrc looks like contrast or pose errors. 3 classes (50, 30, 20 %)." in text
    started = dict(use="start", files=["x/a.mrc"], found=[0.97])
    text = verdict(given=started)
    assert (
        "Both half-sets started from the given component (cosine with what was found: a.mrc 0.97)"
        in text
        and "run once without: only what is found then too" in text
    )
    text = verdict(given=started, significant_components=0, classes=1)
    assert "started from the given component and did not confirm it." in text
