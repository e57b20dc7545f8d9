"""Equations and functions: each names the other."""

# SPDX-License-Identifier: GPL-3.0-or-later
import ast
import re

from pcainit.engine.model import em
from pcainit.engine.volume_sets import noise_edge
from pcainit.tests.docs.pages import ROOT, SOURCE
from pcainit.tests.docs.pages import needs_pages as pytestmark  # noqa: F401

LINK = re.compile(r"\[`(engine\.[\w.]+)`\]\(([^)]+)\)")
NAMED = re.compile(r"[Ee]quation \((\d+)\) of docs/theory\.md")


def equations():
    """Number -> functions (module.name -> link) of the page."""
    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    parts = re.split(r"^### \((\d+)\)", text, flags=re.MULTILINE)
    found = {}
    for number, part in zip(parts[1::2], parts[2::2]):
        assert "\\tag{%s}" % number in part, number
        found[int(number)] = dict(LINK.findall(part))
    return found


def documented():
    """(number, module.name) of every docstring of the engine that names an equation."""
    found = set()
    for path in (ROOT / "pcainit" / "engine").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT / "pcainit").with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for owner in [tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))]:
            for node in owner.body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    prefix = "" if owner is tree else owner.name + "."
                    for number in NAMED.findall(ast.get_docstring(node) or ""):
                        found.add((int(number), "%s.%s%s" % (module, prefix, node.name)))
    return found


def test_equations_are_numbered_in_order():
    assert list(equations()) == list(range(1, len(equations()) + 1)) and len(equations()) >= 15
    assert all(equations().values()), "an equation without a function"


def test_page_and_docstrings_name_each_other():
    page = {(number, name) for number, links in equations().items() for name in links}
    assert page == documented()


def test_links_lead_to_the_module_of_the_function():
    for links in equations().values():
        for name, link in links.items():
            path = link[len(SOURCE + "blob/main/") :]
            assert (ROOT / path).is_file(), link
            assert ("pcainit." + name).startswith(path[: -len(".py")].replace("/", ".") + ".")


def test_constants_of_the_equations_are_those_of_the_code():
    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    assert "+ %g\\,\\big(\\mathrm{EM}" % em.OVER_RELAXATION in text
    assert "+ %g\\,\\big(U_t" % em.MOMENTUM in text
    assert "\\beta = %g" % noise_edge._RARE in text
