"""What is installed: version, entry points, package data, menu entries."""

# SPDX-License-Identifier: GPL-3.0-or-later
import ast
import configparser
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pcainit

ROOT = Path(pcainit.__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="the sources' setup.py is not here"
)


def _metadata(option, tmp_path):
    result = subprocess.run(
        [sys.executable, "setup.py", "--quiet", option],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return result.stdout.strip().splitlines()[-1]


def test_version_is_read_without_importing(tmp_path):
    assert re.fullmatch(r"\d+\.\d+\.\d+", pcainit.__version__)
    assert _metadata("--version", tmp_path) == pcainit.__version__
    assert _metadata("--name", tmp_path) == "scipion-em-pcainit"
    assert "import pcainit" not in (ROOT / "setup.py").read_text()


def test_metadata_lead_to_the_project(tmp_path):
    """Author, addresses, and a description whose links hold outside the repository."""
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path)],
        cwd=str(ROOT),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (folder,) = tmp_path.glob("*.egg-info")
    text = (folder / "PKG-INFO").read_text(encoding="utf-8")
    head, _, description = text.partition("\n# pcainit")
    assert re.search(r"^Author: \S", head, re.MULTILINE)
    for name in ("Documentation", "Changes", "Bugs and questions"):
        assert "Project-URL: %s, %s" % (name, pcainit.__url__) in head
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert links and all(link.startswith(("https://", "#")) for link in links)
    own = [link for link in links if link.startswith(pcainit.__url__)]
    for link in own:  # each page or picture is in the repository
        path = re.sub(r"^/(blob|raw)/main/", "", link[len(pcainit.__url__) :]).split("#")[0]
        assert not link.startswith(pcainit.__url__ + "/blob") or (ROOT / path).exists(), link
        assert not link.startswith(pcainit.__url__ + "/raw") or (ROOT / path).exists(), link


def test_changes_mention_the_version():
    assert "## %s\n" % pcainit.__version__ in (ROOT / "CHANGES.md").read_text()


def _entry_points():
    tree = ast.parse((ROOT / "setup.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "entry_points":
            return ast.literal_eval(node.value)
    return {}


def test_entry_points():
    points = _entry_points()
    # Scipion imports the module that has the entry point's *name*.
    assert points["pyworkflow.plugin"] == ["pcainit = pcainit"]
    module, function = points["console_scripts"][0].split("=")[1].strip().split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_package_data_is_installed(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "setup.py",
            "--quiet",
            "egg_info",
            "--egg-base",
            str(tmp_path),
            "build",
            "--build-base",
            str(tmp_path / "build"),
            "--build-lib",
            str(tmp_path / "lib"),
        ],
        cwd=str(ROOT),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    installed = tmp_path / "lib" / "pcainit"
    for name in (
        "protocols.conf",
        pcainit._logo,
        "__main__.py",
        "protocols/__init__.py",
        "engine/__init__.py",
        "io/__init__.py",
        "guide/README.md",
        "guide/docs/from_cryodrgn.md",
        "output/report/page_files/report.html.jinja",
        "output/report/page_files/volumes.js",
        "output/report/page_files/style.css",
    ):
        assert (installed / name).exists(), name
    _check_links(installed / "guide")


def _check_links(folder):
    """Every link of the guide to another page or picture leads somewhere."""
    pages = [folder / "README.md", *(folder / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), "%s: %s" % (page.name, link)


def test_licence():
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text()[:200]
    for path in sorted((ROOT / "pcainit").rglob("*.py")):
        assert "SPDX-License-Identifier: GPL-3.0-or-later" in path.read_text(), path


def _menu():
    parser = configparser.ConfigParser()
    parser.read(str(ROOT / "pcainit" / "protocols.conf"))
    return json.loads(parser["PROTOCOLS"]["protocols spa"])


def _entries(nodes, path=()):
    for node in nodes:
        if node["tag"] == "protocol":
            yield path, node["value"]
        yield from _entries(node.get("children", ()), path + (node.get("text"),))


def test_menu_places():
    places = {path for path, _ in _entries(_menu())}
    main = [path for path, name in _entries(_menu()) if name == "PcaInitProtInitialVolumes"]
    assert ("3D", "Analysis", "Heterogeneity") in main
    assert {("3D", "Classify"), ("3D", "Initial volume")} <= places


@pytest.mark.scipion
def test_menu_names_protocols_that_exist():
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    import pcainit.protocols

    names = {name for _, name in _entries(_menu())}
    assert names == set(pcainit.protocols.__all__)


@pytest.mark.scipion
def test_menu_entries_are_told_apart_when_cut():
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    import pcainit.protocols

    labels = [getattr(pcainit.protocols, name)._label for name in pcainit.protocols.__all__]
    assert len({("pcainit - " + label)[:18] for label in labels}) == len(labels)


@pytest.mark.scipion
def test_help_leads_to_the_guide():
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    import pyworkflow

    from pcainit.guide import guide

    pyworkflow.Config.setDomain("pwem")
    address = pyworkflow.Config.getDomain().getProtocols()["PcaInitProtInitialVolumes"].getUrl()
    assert str(guide()) in address and guide().read_text(encoding="utf-8").startswith("# pcainit")


@pytest.mark.scipion
def test_scipion_finds_the_plugin():
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    import pyworkflow

    pyworkflow.Config.setDomain("pwem")
    domain = pyworkflow.Config.getDomain()
    protocol = domain.getProtocols()["PcaInitProtInitialVolumes"]
    assert domain.getPlugins()["pcainit"] is pcainit
    assert protocol.getClassPackage() is pcainit
    plugin = pcainit._pluginInstance
    assert plugin.getName() == "pcainit"
    assert Path(plugin.getPath()) == Path(pcainit.__file__).parent
    assert Path(protocol.getPluginLogoPath()).exists()
    assert protocol.validateInstallation() == []
    assert protocol._label == protocol._label.lower() and len(protocol.getHelpText()) > 500


@pytest.mark.scipion
def test_missing_package_is_named(monkeypatch):
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    from pcainit import plugin

    monkeypatch.setattr(plugin, "NEEDED", ("numpy", "surely_not_installed"))
    assert "surely_not_installed" in plugin.Plugin.validateInstallation()[0]


@pytest.mark.scipion
def test_command_quotes_what_the_shell_would_take_apart():
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    import shlex

    from pcainit.plugin import Plugin

    words = ["prepare", "my data/$HOME/a;b.star", "--threads", "2"]
    assert shlex.split(Plugin.getArguments(*words)) == ["-m", "pcainit", *words]
    assert shlex.split(Plugin.getProgram()) == [sys.executable]


def test_importing_the_package_loads_nothing():
    """Scipion imports every plugin at each start, and the command line has no Scipion."""
    code = (
        "import sys, pcainit; heavy = {'pwem', 'pyworkflow', 'numpy', 'sklearn', 'numba', "
        "'scipy'} & set(sys.modules); assert not heavy, heavy; "
        "assert not hasattr(pcainit, 'nothing_like_this')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=str(ROOT))


@pytest.mark.scipion
def test_discovery_does_not_load_the_engine():
    pytest.importorskip("pwem", reason="scipion-em is not installed")
    code = (
        "import sys, pcainit.protocols; heavy = {'sklearn', 'numba'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=str(ROOT))
