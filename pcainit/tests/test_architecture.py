"""Who may import whom, how long a file may get, and that everything public is documented."""

# SPDX-License-Identifier: GPL-3.0-or-later
import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pcainit

PACKAGE = Path(pcainit.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [path for path in FILES if "tests" not in path.relative_to(PACKAGE).parts]
LONGEST = 450
SCIPION = ("pyworkflow", "pwem", "relion", "cryosparc2")


def _name(path):
    return path.relative_to(PACKAGE).as_posix()


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 8))


def test_layers():
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    contracts = PACKAGE.parent / ".importlinter"
    if not contracts.is_file():
        pytest.skip("the contracts are in the source tree only")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--config",
            str(contracts),
            "--no-cache",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=str(PACKAGE.parent),
        env=dict(os.environ, COLUMNS="100"),
    )
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0 and "0 broken" in text, text


def test_lengths():
    assert [
        _name(path)
        for path in FILES
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST
    ] == []


def _undocumented(path):
    tree = _tree(path)
    if not ast.get_docstring(tree):
        yield "%s has no docstring" % _name(path)
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield "%s: %s" % (_name(path), node.name)
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if (
                isinstance(method, ast.FunctionDef)
                and not method.name.startswith("_")
                and not ast.get_docstring(method)
            ):
                yield "%s: %s.%s" % (_name(path), node.name, method.name)


def test_documentation():
    assert [fault for path in SOURCES for fault in _undocumented(path)] == []


def test_absolute_imports_and_python_38_syntax():
    relative = [
        _name(path)
        for path in FILES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_engine_and_command_line_need_no_scipion():
    code = (
        "import sys\n"
        "for name in %r: sys.modules[name] = None\n"  # importing it now fails
        "import pcainit.engine, pcainit.__main__, pcainit.checks, pcainit.pipeline.runner\n"
        "import pcainit.output.publish, pcainit.output.report\n" % (SCIPION,)
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=str(PACKAGE.parent))
