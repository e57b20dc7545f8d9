"""Hundreds of hostile command lines; a short run of `benchmarks/fuzz.py`."""

# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pcainit.engine.simulation.simulate import Simulation
from pcainit.errors import InputError
from pcainit.settings import Settings
from pcainit.tests.robustness import hostile
from pcainit.tests.robustness.hostile_commands import command_case, commands


def test_all_commands_are_tried():
    assert len(commands()) == 14


def test_any_command_line_ends_in_a_result_or_one_sentence(tmp_path):
    found = hostile.run_cases(command_case, 80, 3, tmp_path)
    assert found["broken"] == []
    assert found["refusal"] > 40


ANYTHING = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(),
    some.text(),
    some.lists(some.integers(), max_size=2),
)


@settings(max_examples=80, deadline=None)
@given(some.dictionaries(some.sampled_from(sorted(Settings.fields())), ANYTHING, max_size=3))
def test_settings_are_in_range_or_refused(values):
    try:
        made = Settings(**values)
    except InputError as error:
        assert hostile.sentence(str(error))
        return
    for name, info in Settings.fields().items():
        if info["low"] is not None:
            assert info["low"] <= getattr(made, name) <= info["high"]


@settings(max_examples=100, deadline=None)
@given(
    some.sampled_from(
        [
            "particles",
            "box_px",
            "sampling",
            "snr",
            "contrast_sd",
            "junk",
            "domain",
            "preferred_views",
            "crowding",
            "background",
        ]
    ),
    some.one_of(some.integers(), some.floats()),
)
def test_simulations_are_in_range_or_refused(name, value):
    try:
        made = Simulation(**{name: value})
    except InputError as error:
        assert hostile.sentence(str(error))
        return
    assert 0 <= getattr(made, name) <= 1e9
    assert dataclasses.replace(made).box_px <= 2048


@pytest.mark.parametrize("classes", ["\u00b2", "9" * 5000, "1e3", "+4", " 4 ", "4.0", "-4"])
def test_number_of_classes(classes):
    if classes == " 4 ":
        assert Settings(classes=classes).n_classes == 4
        return
    with pytest.raises(InputError, match="classes is"):
        Settings(classes=classes)
