"""Workflow templates and the scripted project: found by Scipion, filled in, run to their end."""

# SPDX-License-Identifier: GPL-3.0-or-later
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import pcainit
from pcainit.tests.conftest import SAMPLING

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion

FOLDER = Path(pcainit.__file__).parent / "templates"
NAMES = ("initial_volumes_relion", "initial_volumes_cryosparc")
VALUES = dict(threads="2", relion_threads="1", mpi="1", relion_extra="", target="12")


@pytest.fixture
def filled(simulated_set, tmp_path):
    """From a template's name to the workflow with its fields filled in by their aliases."""
    from pyworkflow.template import LocalTemplate

    def fill(name):
        template = LocalTemplate("pcainit", str(FOLDER / (name + ".json.template")))
        template.replaceEnvVariables()
        template.parseContent()
        aliases = {field.getAlias() for field in template.getParams().values()}
        for alias in aliases:
            value = dict(VALUES, particles=str(simulated_set / "particles.star"))[alias]
            assert template.setParamValue(alias, value)
        return template.createTemplateFile()

    return fill


def _load(scipion, path):
    """Protocols of a workflow by class name."""
    loaded = scipion.project.loadProtocols(path)
    return {protocol.getClassName(): protocol for protocol in loaded.values()}


def _relion_version():
    shown = subprocess.run(["relion_refine", "--version"], stdout=subprocess.PIPE, text=True)
    return int(re.search(r"(\d+)\.\d", shown.stdout).group(1))


def test_scipion_finds_them():
    import pyworkflow

    pyworkflow.Config.setDomain("pwem")
    from pyworkflow.template import TemplateList

    templates = TemplateList()
    templates.addPluginTemplates()
    ours = [template for template in templates.templates if template.source == "pcainit"]
    assert {template.name for template in ours} == set(NAMES)
    for template in ours:
        assert len(template.description) > 40 and template.description != "Not provided"
        lines = Path(template.templatePath).read_text(encoding="utf-8").split("[\n", 1)[0]
        assert template.description.split() == lines.split()  # Scipion joins them as they are


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_asked_twice(name):
    """Nor what the STAR file says."""
    text = (FOLDER / (name + ".json.template")).read_text(encoding="utf-8")
    aliases = re.findall(r"\|(\w+)~", text)
    assert len(aliases) == len(set(aliases)) <= 5
    assert not set(aliases) & {"sampling", "voltage", "cs", "ac", "resolution"}


@pytest.mark.parametrize("name", NAMES)
def test_fields_explain_themselves_and_have_sane_defaults(name):
    from pyworkflow.template import LocalTemplate

    template = LocalTemplate("pcainit", str(FOLDER / (name + ".json.template")))
    template.replaceEnvVariables()
    template.parseContent()
    fields = list(template.getParams().values())
    assert len(fields) == len(
        re.findall(r"~[^~]+~", (FOLDER / (name + ".json.template")).read_text())
    ), "two fields have one title"
    for field in fields:
        assert field.getTitle() and field.getAlias()
        assert field.getAlias() == "particles" or field.validate() is None, field.getTitle()


@pytest.mark.slow
@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_refine") is None, reason="RELION is not installed")
def test_relion_template_runs_to_the_end(scipion, filled, monkeypatch):
    relion = pytest.importorskip("relion", reason="scipion-em-relion is not installed")
    program = Path(shutil.which("relion_refine")).resolve()
    monkeypatch.setitem(relion.Plugin._vars, "RELION_HOME", str(program.parents[1]))
    protocols = _load(scipion, filled(NAMES[0]))
    first, ours, last = (
        protocols[name]
        for name in ("PcaInitProtImport", "PcaInitProtInitialVolumes", "ProtRelionClassify3D")
    )
    assert ours.autoClasses.get() and last.numberOfMpi.get() == 1
    last.numberOfIterations.set(1)
    assert last.limitResolEStep.get() == last.initialLowPassFilterA.get() == ours.resolution.get()
    ours.noLocalSearch.set(True)  # saves time; the rest is as a user gets it
    if _relion_version() < 4:  # later ones take it for granted
        last.extraParams.set("--ctf_corrected_ref")
    for protocol in (first, ours):
        protocol.makePathsAndClean()
        scipion.run(protocol)
    assert first.outputParticles.getSamplingRate() == SAMPLING  # from the file: nothing was given
    count = ours.outputVolumes.getSize()
    assert count >= 2
    last.makePathsAndClean()
    installation = last.validateInstallation()
    assert [error for error in last.validate() if error not in installation] == []
    scipion.run(last, processes=True)
    assert last.outputVolumes.getSize() == count, "RELION takes one class for each volume"
    assert sum(item.getSize() for item in last.outputClasses) == first.outputParticles.getSize()
    # The references kept the resolution: RELION's first maps differ where ours do.
    given = [mrcfile.read(volume.getFileName()) for volume in ours.outputVolumes]
    used = [
        mrcfile.read(last._getExtraPath("relion_it000_class%03d.mrc" % (k + 1)))
        for k in range(count)
    ]
    kept = np.corrcoef((given[0] - given[1]).ravel(), (used[0] - used[1]).ravel())[0, 1]
    assert kept > 0.9


def test_cryosparc_template_is_wired(scipion, filled, monkeypatch):
    pytest.importorskip("cryosparc2.protocols", reason="scipion-em-cryosparc2 is not installed")
    from cryosparc2.protocols import protocol_cryosparc_new_3D_classification as module
    from pyworkflow.project import Manager

    monkeypatch.setattr(module, "cryosparcValidate", list)  # asks for a running server
    protocols = _load(scipion, filled(NAMES[1]))
    first, ours, last = (
        protocols[name]
        for name in (
            "PcaInitProtImport",
            "PcaInitProtInitialVolumes",
            "ProtCryoSparcNew3DClassification",
        )
    )
    ours.noLocalSearch.set(True)
    for protocol in (first, ours):
        protocol.makePathsAndClean()
        scipion.run(protocol)
    # As when it is executed: read from the project by a fresh process.
    last = Manager().loadProject("pcainit_tests").getProtocol(last.getObjId())
    assert ours.resolution.get() == last.class3D_init_res.get() == 20
    assert last.inputParticles.get().getSize() == first.outputParticles.getSize()
    assert len(last.refVolumes) == last.class3D_N_K.get() == ours.outputVolumes.getSize() == 4
    installation = last.validateInstallation()
    assert [error for error in last.validate() if error not in installation] == []
    assert [volume.getFileName() for volume in last._getInputVolume()] == [
        volume.getFileName() for volume in ours.outputVolumes
    ]


def test_command_line_makes_the_project(simulated_set):
    """``scipion template`` with every field given asks nothing and makes the workflow."""
    words = [
        "scipion",
        "template",
        "pcainit-" + NAMES[0],
        "--nogui",
        "--noschedule",
        "project_name=from_template",
        "particles=%s" % (simulated_set / "particles.star"),
    ]
    text = (FOLDER / (NAMES[0] + ".json.template")).read_text()
    words += ["%s=%s" % (alias, value) for alias, value in VALUES.items() if "|%s~" % alias in text]
    program = shutil.which("scipion")
    if program is None:
        pytest.skip("scipion-app is not installed")
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout[-2000:]
    code = (
        "import sys, pyworkflow; pyworkflow.Config.setDomain('pwem')\n"
        "from pyworkflow.project import Manager\n"
        "runs = Manager().loadProject('from_template').getRuns()\n"
        "print(sorted(run.getClassName() for run in runs))\n"
        "ours, = [run for run in runs if run.getClassName().endswith('InitialVolumes')]\n"
        "print(ours.resolution.get(), ours.inputParticles.getExtended())\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    assert shown[-2:] == [
        "['PcaInitProtImport', 'PcaInitProtInitialVolumes', 'ProtRelionClassify3D']",
        "20.0 outputParticles",
    ]


@pytest.mark.slow
def test_scripted_project_of_the_documentation(simulated_set):
    """The script in docs/ makes a project of its own and says what was found."""
    script = Path(pcainit.__file__).parents[1] / "docs" / "scripted_project.py"
    if not script.exists():
        pytest.skip("the sources' docs folder is not here")
    done = subprocess.run(
        [sys.executable, str(script), str(simulated_set / "particles.star"), "scripted"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "components are reproducible" in done.stdout and "particle 1: [" in done.stdout
    volumes = re.findall(r"^Runs/\S+/class_00\d\.mrc \d+ particles", done.stdout, re.MULTILINE)
    assert len(volumes) >= 2
    assert "%d classes" % len(volumes) in done.stdout
