"""The schema of summary.json, and the folder that it lies in."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import pcainit
from pcainit.engine.geometry.grid import Grid
from pcainit.errors import InputError
from pcainit.output import summary as schema
from pcainit.output.result_folder import ResultFolder
from pcainit.output.summarise import describe_making
from pcainit.output.summary import SCHEMA_VERSION, Classes, Coordinates, Summary
from pcainit.settings import Settings

GROUPS = (
    schema.Making,
    schema.Images,
    schema.Classes,
    schema.Components,
    schema.Findings,
    schema.Coordinates,
    schema.VolumeSet,
)
# What programs that read summaries rely on.
MADE = (
    "program version method parameters threads seed versions box sampling working_box resolution "
    "analysis_resolution seconds"
)


def making(**options):
    return describe_making(Settings(seed=7), Grid(64, 2.0, 20.0), 3, dict(prepare=1.5), **options)


def test_what_every_summary_begins_with():
    found = Summary(making(method="latents", along=2)).as_dict()
    assert set(found) == {*MADE.split(), "schema_version"}
    assert found["schema_version"] == SCHEMA_VERSION and found["method"] == "latents"
    assert found["parameters"]["along"] == 2 and found["parameters"]["seed"] == 7
    assert (found["box"], found["threads"], found["seconds"]) == (64, 3, {"prepare": 1.5})
    assert Summary(making()).as_dict()["method"] == Settings().method


def test_groups_stand_side_by_side_as_plain_values():
    classes = Classes(2, np.array([0.5, np.nan]), np.array([3, 4]), np.zeros((2, 2)))
    found = Summary(making(), classes=classes, coordinates=Coordinates("z.npy", "order")).as_dict()
    assert found["class_weights"] == [0.5, None] and found["class_sizes"] == [3, 4]
    assert found["pairwise_differences"] == [[0, 0], [0, 0]] and found["coordinates"] == "z.npy"
    assert "eigenvalues" not in found and "copies" not in found


def test_no_key_means_two_things():
    """But for what the components of particles and of volumes have in common."""
    names = [field.name for group in GROUPS for field in dataclasses.fields(group)]
    assert {name for name in names if names.count(name) > 1} == {"eigenvalues", "noise_edge"}


def test_the_page_names_every_key():
    page = Path(pcainit.__file__).parents[1] / "docs" / "summary.md"
    if not page.is_file():
        pytest.skip("the page is in the source tree only")
    text = page.read_text(encoding="utf-8")
    names = [field.name for group in GROUPS for field in dataclasses.fields(group)]
    assert [name for name in names if "`%s`" % name not in text] == []


def test_a_folder_is_cleared_of_an_earlier_result_alone(tmp_path):
    folder = ResultFolder(tmp_path)
    names = ["summary.json", "volumes/class_004.mrc", "components/component_001.mrc"]
    names += ["components/changing_places.mrc", "junk.txt", "volumes/mine.mrc", "notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert folder.class_map(4).is_file() and folder.component_map(1).is_file()
    assert folder.load_summary() == {}
    folder.clear()
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["mine.mrc", "notes.txt"]


def test_an_input_that_a_result_would_replace_is_refused(tmp_path):
    folder = ResultFolder(tmp_path)
    folder.refuse_overwriting(str(tmp_path / "mask.mrc"), "")
    for name in ("particles.star", "volumes/any.mrc", "components/mask.mrc"):
        with pytest.raises(InputError, match="choose another folder"):
            folder.refuse_overwriting(str(tmp_path / name))
