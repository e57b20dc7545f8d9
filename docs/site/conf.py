"""Sphinx configuration; the source directory is the repository's root (make docs)."""

# SPDX-License-Identifier: GPL-3.0-or-later
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

project = "pcainit"
author = "The pcainit developers"
release = re.search(
    r'^__version__ = "(.+?)"', (ROOT / "pcainit" / "__init__.py").read_text(), re.MULTILINE
).group(1)

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_allow_labels = False
myst_dmath_double_inline = True

root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGES.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "docs/*.md",
    "docs/benchmarks/*.md",
]
html_theme = "furo"
html_title = "pcainit %s" % release
html_baseurl = "https://scipion-em.github.io/scipion-em-pcainit/"

LINK = re.compile(r"^- \[([^]]+)\]\(([^)#]+)\.md\)", re.MULTILINE)


def add_contents(app, name, source):
    """Make the menu of the site from the lists of docs/index.md, which stay plain Markdown."""
    if name == "docs/benchmarks/README":
        pages = sorted(path.stem for path in (ROOT / "docs" / "benchmarks").glob("*.md"))
        entries = [page for page in pages if page != "README"]
        source[0] += "\n```{toctree}\n:hidden:\n\n%s\n```\n" % "\n".join(entries)
    if name != "docs/index":
        return
    trees = ["\n```{toctree}\n:hidden:\n\n../README\n```\n"]
    for part in source[0].split("\n## ")[1:]:
        entries = ["%s <%s>" % entry for entry in LINK.findall(part)]
        trees.append(
            "\n```{toctree}\n:hidden:\n:caption: %s\n\n%s\n```\n"
            % (part.split("\n", 1)[0], "\n".join(entries))
        )
    source[0] += "".join(trees).replace(
        "<../benchmarks/README>", "<../benchmarks/README>\nbenchmarks/README"
    )


def setup(app):
    """Connect."""
    app.connect("source-read", add_contents)
