"""The report: complete, self-contained, safe, and small."""

# SPDX-License-Identifier: GPL-3.0-or-later
import base64
import html.parser
import re
from unittest import mock

import numpy as np
import pytest

from pcainit.io.atomic import read_arrays, write_arrays
from pcainit.output.plots import PLOTS, load_result
from pcainit.output.report import write_report
from pcainit.output.words import advice
from pcainit.tests.example_result import VERDICT, make_result

NASTY = "<script>alert('x')</script> & \"mask\".mrc"


class Page(html.parser.HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset"):
                self.addresses.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are not nested"

    def handle_data(self, data):
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


def test_verdict_comes_first(page):
    assert "%s %s" % tuple(re.split(r"(?<=\.) (?=4 classes)", VERDICT)) in page.text
    assert page.text.index("3 of 4 components agree") < page.text.index("What to do next")
    assert page.tags.index("h1") < page.tags.index("h2")


def test_self_contained(folder, page):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert page.addresses and all(a.startswith("data:image/") for a in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    outside = re.sub(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//\w|url\(|@import", outside)
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
        "No CTF correction? no_ctf no",
    ):
        assert words in page.text
    assert "Number of reconstructions" not in page.text  # not of this method


def test_text_is_escaped(folder, page):
    assert "script" not in page.tags
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
        (dict(significant_components=0), "Refine all particles together with one reference"),
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
