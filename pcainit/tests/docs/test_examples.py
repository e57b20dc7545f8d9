"""Functions for scripts: described in full, with examples that hold."""

# SPDX-License-Identifier: GPL-3.0-or-later
import doctest
import inspect
import re

import pytest

from pcainit.tests.docs.pages import ROOT, generator
from pcainit.tests.docs.pages import needs_pages as pytestmark  # noqa: F401


def public():
    if not (ROOT / "docs" / "site").is_dir():
        return []
    return [name for names in generator().API.values() for name in names]


@pytest.mark.parametrize("name", public())
def test_example_holds(name):
    item = generator().documented(name)
    (test,) = doctest.DocTestFinder(recurse=False).find(item, name, globs={})
    assert test.examples, "no example"
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.failed == 0


@pytest.mark.parametrize("name", public())
def test_every_argument_is_described(name):
    """As ruff's D417 asks: each has a name, and words on a line of their own."""
    item = generator().documented(name)
    if name == "settings.Settings":  # its fields carry their own help
        assert all(info["help"] for info in item.fields().values())
        return
    text = inspect.getdoc(item)
    described = set()
    for names, words in re.findall(r"^(\w[\w, ]*) : [^\n]+\n((?:    .*\n?)*)", text, re.MULTILINE):
        if words.strip() or inspect.isclass(item):
            described |= set(names.split(", "))
    assert set(inspect.signature(item).parameters) <= described, text


def test_examples_of_all_docstrings_hold():
    """Also of functions that are not on the page."""
    for path in sorted((ROOT / "pcainit").rglob("*.py")):
        if "tests" in path.parts or ">>> " not in path.read_text(encoding="utf-8"):
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        names = {"pcainit." + name.rpartition(".")[0] for name in public()}
        assert module in names, "%s has an example that no test runs" % module
