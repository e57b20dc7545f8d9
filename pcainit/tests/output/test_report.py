"""The report: complete, self-contained, safe, and small."""

# SPDX-License-Identifier: GPL-3.0-or-later
import base64
import dataclasses
import html.parser
import json
import re
from unittest import mock

import numpy as np
import pytest

import pcainit
from pcainit.io.atomic import read_arrays, write_arrays
from pcainit.output.plots import PLOTS, load_result
from pcainit.output.report import write_report
from pcainit.output.report.classes import class_rows, view_dependence
from pcainit.output.report.pack import pack_points, pack_volumes, shrink
from pcainit.output.words import advice
from pcainit.tests.example_result import VERDICT, make_result

NASTY = "<script>alert('x')</script> & \"mask\".mrc"


class Page(html.parser.HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words, self.open = [], [], [], []
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value)
            elif name in ("src", "href", "action", "data", "srcset"):
                self.addresses.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are not nested"

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    summary = make_result(folder, 1000)
    summary["parameters"]["mask"] = NASTY
    write_report(folder, summary)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_finding_comes_first_and_figures_of_the_test_last(page):
    order = [
        "4 states: 50, 30, 15 and 5 %",
        "the evidence is strong",
        "Give all 4 volumes",
        "What to do next",
        "3 of 4 components passed",
        VERDICT,
    ]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)
    assert page.tags.index("h1") < page.tags.index("h2")


def test_self_contained(folder, page):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert page.addresses and all(a.startswith("data:image/") for a in page.addresses)
    *links, guide = page.links  # the last one leads to the guide, when it is followed
    assert guide == pcainit.__url__
    assert links and all((folder / link).is_file() for link in links)
    assert not {"link", "iframe", "object"} & set(page.tags)
    outside = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", text)
    outside = re.sub(r'<script type="application/json".*?</script>', "", outside, flags=re.DOTALL)
    outside = re.sub(r'<a href="%s" rel="noreferrer">%s</a>' % (guide, guide), "", outside)
    assert not re.search(r"https?:|[\"'(]//\w|url\(|@import|fetch\(|XMLHttp", outside)
    for address in page.addresses:  # nor do the drawings inside refer to anything
        kind, data = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", address).groups()
        if kind == "svg+xml":
            drawing = base64.b64decode(data).decode()
            assert not re.search(r'(href|src)="(?!#|data:)', drawing)
            assert "<script" not in drawing


def test_size(folder):
    assert (folder / "report.html").stat().st_size < 3e6


def test_all_figures(page):
    assert page.tags.count("figure") == len(PLOTS) - 1  # all but that of the batches
    for name, plot in PLOTS.items():
        assert (plot.title in page.text) == (name != "batches")
        assert (plot.caption in page.text) == (name != "batches")
    assert "could not be drawn" not in page.text


def test_values_to_set(page):
    for words in (
        "Number of classes 4",
        "Initial low-pass filter (Å) 15",
        "Perform image alignment? No",
        "Ref. map is on absolute greyscale? Yes",
        "Reference mask the same as here",
        "Input volume(s): outputVolumes",
        "Initialization mode input",
        "_rlnReferenceImage #1",
    ):
        assert words in page.text


def test_class_table_quality_and_record(page):
    for words in (
        "class 4 5.0 %",
        "volumes/class_004.mrc",
        "× noise apart",
        "17 %",
        "0.73 px",
        "1.6°",
        "3.1 %",
        "components 20.5 s",
        "numpy 1.26.1",
        "Random seed seed 0",
        "Leave the CTF uncorrected? no_ctf no",
    ):
        assert words in page.text
    assert "Number of reconstructions" not in page.text  # not of this method


def test_text_is_escaped(folder, page):
    assert page.tags.count("script") == 4  # the page's own two programs and their data
    assert NASTY in page.text
    assert NASTY not in (folder / "report.html").read_text(encoding="utf-8")


def test_same_result_same_report(folder, tmp_path):
    summary = dict(load_result(folder).summary)
    summary["parameters"] = dict(summary["parameters"], mask=NASTY)
    before = (folder / "report.html").read_bytes()
    write_report(folder, summary)
    assert (folder / "report.html").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".report")]


def test_bare_summary(tmp_path):
    write_report(tmp_path, dict(verdict="Nothing else."))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Nothing else." in page.text and "figure" not in page.tags


def test_numbers_of_numpy_are_welcome(tmp_path):
    make_result(tmp_path, 100)
    write_report(
        tmp_path,
        dict(
            verdict="Yes.",
            particles=np.int64(100),
            classes=np.int64(4),
            seconds=dict(prepare=np.float64(1)),
            resolution=np.float32(20),
        ),
    )
    assert "100" in Page((tmp_path / "report.html").read_text(encoding="utf-8")).text


def test_a_failing_figure_is_said(tmp_path, caplog):
    summary = make_result(tmp_path, 100)
    broken = mock.Mock(side_effect=RuntimeError("<no> luck"))
    with mock.patch.dict(
        PLOTS,
        {
            "pairwise": mock.Mock(
                draw=broken, words=lambda result: ("How", "x"), available=lambda result: True
            )
        },
    ):
        write_report(tmp_path, summary)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "This figure could not be drawn: <no> luck" in page.text
    assert "pairwise" in caplog.text and page.tags.count("figure") == len(PLOTS) - 1


@pytest.mark.parametrize(
    "change, words",
    [
        (
            dict(method="particles", significant_components=0),
            "Refine all particles together with one reference",
        ),
        (dict(method="simple", significant_components=None), "was not tested here"),
        ({}, "Give all 4 volumes"),
    ],
)
def test_advice(folder, change, words):
    result = load_result(folder, dict(load_result(folder).summary, **change))
    assert words in advice.opening(result)


def test_advice_names_spare_classes(tmp_path):
    make_result(tmp_path, 100)
    arrays = read_arrays(tmp_path / "analysis.npz")
    arrays["copies"] = np.array([False, False, True, True])
    write_arrays(tmp_path / "analysis.npz", arrays)
    text = advice.opening(load_result(tmp_path))
    assert "support 2 classes" in text and "Volumes 3 and 4 show no state" in text


def test_greyscale_is_not_absolute_without_ctf(folder):
    summary = load_result(folder).summary
    summary = dict(summary, parameters=dict(summary["parameters"], no_ctf=True))
    values = dict(advice.relion(load_result(folder, summary)))
    assert values["Ref. map is on absolute greyscale?"] == "No"


def test_a_null_result_is_sent_to_refinement(folder, tmp_path):
    make_result(tmp_path, 100)
    summary = dict(load_result(tmp_path).summary, significant_components=0)
    write_report(tmp_path, summary)
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "No heterogeneity beyond noise at 15 Å" in text and "RELION, 3D auto-refine" in text
    assert text.index("RELION, 3D auto-refine") < text.index("The volumes in 3D")
    assert "Class3D" not in text and "Number of classes 4" not in text
    assert "relion_refine --i" in Page((folder / "report.html").read_text(encoding="utf-8")).text


def test_table_of_classes_counts_what_is_certain(tmp_path):
    make_result(tmp_path, 600)
    arrays = read_arrays(tmp_path / "latents.npz")
    kept, label = ~arrays["junk"], arrays["class"]
    sure = np.where(np.arange(600) % 3 == 0, 0.95, np.where(np.arange(600) % 3 == 1, 0.6, 0.4))
    posterior = np.zeros((600, 4), np.float32)
    posterior[np.arange(600), label - 1] = sure
    view = np.random.default_rng(0).uniform(0, 180, (600, 2))
    arrays.update(posterior=posterior, view=view)
    write_arrays(tmp_path / "latents.npz", arrays)
    rows = class_rows(load_result(tmp_path))
    for k, row in enumerate(rows):
        mine = kept & (label == k + 1)
        assert row["half"] == str((mine & (sure > 0.5)).sum())
        assert row["sure"] == str((mine & (sure > 0.9)).sum())
        assert float(row["view"].split()[0]) < 12


def test_view_dependence():
    rng = np.random.default_rng(1)
    view = np.stack([rng.uniform(0, 360, 4000), np.degrees(np.arccos(rng.uniform(-1, 1, 4000)))], 1)
    assert view_dependence(rng.random(4000), view) < 0.02
    assert view_dependence((view[:, 1] < 90).astype(float), view) > 0.95
    assert view_dependence(np.ones(4000), view) == 0


def test_packed_volumes_are_the_volumes(folder):
    result = load_result(folder)
    packed = pack_volumes(result)
    size = packed["size"][::-1]
    mean = _bytes(packed["mean"], np.uint8).reshape(size) / 255
    mean = packed["low"] + mean * (packed["high"] - packed["low"])
    assert mean.max() == pytest.approx(result.mean.max(), rel=1e-5)
    for k, one in enumerate(packed["classes"]):
        change = (_bytes(one["difference"], np.uint8).reshape(size) - 128.0) / 127 * one["scale"]
        whole = result.class_volumes[k] - result.mean
        assert np.abs(change).max() == pytest.approx(np.abs(whole).max(), rel=0.3)
        spot = np.unravel_index(np.argmax(whole), whole.shape)
        assert change.max() == pytest.approx(whole[spot], abs=one["scale"] / 200)
    assert len(packed["components"]) == 3  # those that are real


def test_shrunk_volumes_keep_their_origin_and_density():
    places = np.stack(np.meshgrid(*[np.arange(32) - 16] * 3, indexing="ij"))
    blob = np.exp(-((places - np.array([2, -3, 4])[:, None, None, None]) ** 2).sum(0) / 40)
    small = shrink(blob, 16)
    places = np.stack(np.meshgrid(*[2.0 * (np.arange(16) - 8)] * 3, indexing="ij"))
    truth = np.exp(-((places - np.array([2, -3, 4])[:, None, None, None]) ** 2).sum(0) / 40)
    np.testing.assert_allclose(small, truth, atol=0.01)


def test_many_points_are_thinned_and_the_rows_stay_right(tmp_path, monkeypatch):
    make_result(tmp_path, 3000)
    monkeypatch.setattr("pcainit.output.report.pack.MAX_POINTS", 500)
    result = load_result(tmp_path)
    points = pack_points(result)
    rows = _bytes(points["rows"], np.uint32)
    assert (points["count"], points["total"]) == (500, 3000) and len(set(rows)) == 500
    axis = points["axes"][0]
    values = axis["low"] + _bytes(axis["values"], np.uint16) / 65534 * (axis["high"] - axis["low"])
    np.testing.assert_allclose(values, result.coordinates[rows - 1, 0], atol=1e-4)
    assert [c["name"] for c in points["colours"]] == ["class", "junk", "posterior", "contrast"]


def test_ten_classes_stay_light(tmp_path):
    make_result(tmp_path, 200)
    grown = np.random.default_rng(0).normal(size=(10, 96, 96, 96)).astype(np.float32)
    result = dataclasses.replace(
        load_result(tmp_path),
        class_volumes=grown,
        mean=grown.mean(axis=0),
        mask=np.ones((96,) * 3, np.float32),
        components=None,
        class_weights=np.full(10, 0.1),
    )
    assert len(json.dumps(pack_volumes(result))) < 5e6


def _bytes(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)
