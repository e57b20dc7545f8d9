"""Who may import whom, how long a file may get, and that everything public is documented."""
# SPDX-License-Identifier: GPL-3.0-or-later
import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pcainit

PACKAGE = Path(pcainit.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [path for path in FILES if "tests" not in path.relative_to(PACKAGE).parts]
LONGEST = 350
SCIPION = ("pyworkflow", "pwem", "relion", "cryosparc2")
SCIPION_PLACES = ("plugin.py", "wizards.py", "protocols", "viewers")
# Part of the package -> parts of the package that it must not import.
FORBIDDEN = {
    "settings.py": ("engine", "files", "commands", "protocols", "viewers", "report", "pipeline"),
    "checks.py": ("engine", "files", "commands", "protocols", "viewers", "report", "pipeline"),
    "engine": ("files", "commands", "protocols", "viewers", "report", "plots", "pipeline",
               "publish", "plugin", "verdict", "particle_method",
               "particle_components", "batch_method"),
    "files": ("commands", "protocols", "viewers", "report", "pipeline", "publish", "plugin"),
    "pipeline.py": ("commands", "protocols", "viewers", "plugin", "report", "plots"),
    "particle_method.py": ("files", "commands", "protocols", "viewers", "report", "plots",
                           "pipeline", "publish", "plugin", "batch_method"),
    "particle_components.py": ("files", "commands", "protocols", "viewers", "report", "plots",
                               "pipeline", "publish", "plugin", "batch_method",
                               "particle_method"),
    "batch_method.py": ("files", "commands", "protocols", "viewers", "report", "plots", "pipeline",
                        "publish", "plugin", "particle_method"),
    "verdict.py": ("engine", "files", "commands", "protocols", "viewers", "report", "plots",
                   "pipeline", "publish", "plugin"),
    "chosen.py": ("commands", "protocols", "viewers", "plugin", "report", "plots", "pipeline"),
    "preview.py": ("commands", "protocols", "viewers", "plugin", "report", "plots", "pipeline"),
    "publish.py": ("commands", "protocols", "viewers", "plugin"),
    "plots": ("files", "commands", "protocols", "viewers", "report", "pipeline", "publish",
              "plugin"),
    "commands": ("protocols", "viewers", "plugin"),
    "report": ("commands", "protocols", "viewers", "plugin", "pipeline", "publish"),
    "protocols": ("commands", "viewers", "pipeline"),
}


def _name(path):
    return path.relative_to(PACKAGE).as_posix()


def _imports(path):
    """Absolute names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "%s: relative import" % _name(path)
            yield node.module
            for alias in node.names:
                yield "%s.%s" % (node.module, alias.name)


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_layers(path):
    part = path.relative_to(PACKAGE).parts[0]
    for module in _imports(path):
        words = module.split(".")
        if words[0] in SCIPION:
            assert part in SCIPION_PLACES, "%s imports %s" % (_name(path), module)
        if words[0] == "pcainit" and len(words) > 1:
            assert words[1] not in FORBIDDEN.get(part, ()), "%s imports %s" % (_name(path), module)
            assert words[1] != "tests", "%s imports the tests" % _name(path)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_length(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_documentation(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "%s has no docstring" % _name(path)
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        assert ast.get_docstring(node), "%s: %s is not documented" % (_name(path), node.name)
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    assert ast.get_docstring(method), "%s: %s.%s is not documented" % (
                        _name(path), node.name, method.name)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_python_38_syntax(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_engine_and_command_line_need_no_scipion():
    code = ("import sys\n"
            "for name in %r: sys.modules[name] = None\n"      # importing it now fails
            "import pcainit.engine, pcainit.__main__, pcainit.checks, pcainit.pipeline\n"
            "import pcainit.publish, pcainit.report\n" % (SCIPION,))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=str(PACKAGE.parent))
