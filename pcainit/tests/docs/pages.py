"""The pages of the documentation, for the tests."""

# SPDX-License-Identifier: GPL-3.0-or-later
import importlib.util
import re
from pathlib import Path

import pytest

import pcainit

ROOT = Path(pcainit.__file__).resolve().parents[1]
SOURCE = "https://github.com/scipion-em/scipion-em-pcainit/"
needs_pages = pytest.mark.skipif(
    not (ROOT / "docs" / "site").is_dir(), reason="the pages are in the source tree only"
)


def all_pages():
    """Every page that people read."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    found += [*(ROOT / "docs" / "benchmarks").glob("*.md"), ROOT / "benchmarks" / "README.md"]
    found += [*(ROOT / ".github").glob("*.md")]
    return sorted(found)


def generator():
    """docs/site/pages.py as a module."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "site" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(text):
    """A page without what stands in blocks of code, and without formulas."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)


def anchors(text):
    """The anchors that a forge makes of a page's headings."""
    found = []
    for heading in re.findall(r"^#{1,6} (.+)$", prose(text), re.MULTILINE):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        count = sum(1 for known in found if re.fullmatch(re.escape(slug) + r"(-\d+)?", known))
        found.append(slug if not count else "%s-%d" % (slug, count))
    return found


def commands(text):
    """Lines of code blocks that start with ``pcainit``, continued lines joined."""
    text = text.replace("\\\n", " ")
    lines = []
    for line in re.findall(r"^ {4,}(pcainit [^\n]+)$", text, re.MULTILINE):
        lines.append(line.split("  #")[0].split(" # ")[0].strip())
    return lines
