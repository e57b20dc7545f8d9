"""Pages: made from the code where they repeat it, with links that lead somewhere."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json
import re
import shlex

import pytest

import pcainit
from pcainit.cli.main import make_parser
from pcainit.tests.docs.pages import ROOT, SOURCE, all_pages, anchors, commands, generator, prose
from pcainit.tests.docs.pages import needs_pages as pytestmark  # noqa: F401


def test_pages_that_are_made_from_code_are_up_to_date():
    assert generator().outdated() == [], "run make pages"


def test_every_parameter_and_threshold_is_on_its_page():
    from pcainit.engine.components.rules import RULES
    from pcainit.settings import Settings

    parameters = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    for name, info in Settings.fields().items():
        assert "`--%s`" % name.replace("_", "-") in parameters and info["label"] in parameters
    rows = re.findall(
        r"^\| `(\w+)` \| (\S+) \| (.+?) \|",
        (ROOT / "docs" / "thresholds.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert {name: float(value) for name, value, _ in rows} == vars(RULES)
    assert all(len(text) > 15 for _, _, text in rows)


def test_links():
    """Relative links lead to files and headings, those to the repository to files in it."""
    wrong = []
    for page in all_pages():
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
            repository = re.match(re.escape(SOURCE) + r"(?:blob|tree)/main/(.+)", link)
            if repository:
                target, anchor = ROOT / repository.group(1), ""
            elif "://" in link or link.startswith("mailto:"):
                continue
            else:
                path, _, anchor = link.partition("#")
                target = (page.parent / path) if path else page
            if not target.exists():
                wrong.append("%s: %s" % (page.relative_to(ROOT), link))
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                wrong.append("%s: %s has no such heading" % (page.relative_to(ROOT), link))
    assert wrong == []


def test_every_page_is_reached_from_the_contents():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((\w+)\.md\)", index))
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - linked == {"index"}
    results = (ROOT / "docs" / "benchmarks" / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\((\w+)\.md\)", results))
    assert {page.stem for page in (ROOT / "docs" / "benchmarks").glob("*.md")} - linked == {
        "README"
    }


def every_command():
    """(page, command) of all pages."""
    return [
        (page.relative_to(ROOT).as_posix(), line)
        for page in all_pages()
        if page.name != "CHANGES.md"
        for line in commands(page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("page, line", every_command())
def test_commands_are_understood(page, line, capsys):
    """Each command of the pages is one that the command line takes."""
    words = shlex.split(line.replace("...", "more"))[1:]
    try:
        make_parser().parse_args(words)
    except SystemExit as end:
        assert end.code == 0, "%s: %s: %s" % (page, line, capsys.readouterr().err)


def test_there_are_commands_to_test():
    assert len(every_command()) > 25


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    for page in all_pages():
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"(?:`|^ {4})make ([\w-]+)", text, re.MULTILINE)
        assert set(named) <= targets, page.name


def test_the_first_page_is_short_and_opens_with_the_demo():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    commands = [line.strip() for line in lines if line.startswith("    ")]
    assert commands[0].startswith("make demo") and commands[1].startswith("make test")


def test_figures_stand_in_the_results_that_they_name():
    """A figure of the quality page is, as written, on the page of its measurement."""
    records = sorted((ROOT / "docs" / "benchmarks" / "data").glob("*.json"))
    assert len(records) > 15
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        page = ROOT / "docs" / "benchmarks" / (record["page"] + ".md")
        text = page.read_text(encoding="utf-8")
        for word in (record["command"], record["commit"], record["machine"]):
            assert word and word in text, "%s: %s" % (path.name, word)
        assert record["figures"] and all(f["name"] for f in record["figures"]), path.name
        for figure in record["figures"]:
            assert figure["value"] in text, "%s: %s" % (path.name, figure)


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE).group(1) == pcainit.__version__
    changes = (ROOT / "CHANGES.md").read_text(encoding="utf-8")
    assert re.search(r"^## (Unreleased|\[?%s)" % re.escape(pcainit.__version__), changes, re.M)


def test_contributing_names_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:pcainit|docs|benchmarks)/[\w./-]+)`", text)
    assert len(paths) > 12
    assert [path for path in paths if not (ROOT / path).exists()] == []
