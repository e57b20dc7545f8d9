"""What the advice tells the user to set, in the words of RELION and of Scipion's form."""

# SPDX-License-Identifier: GPL-3.0-or-later
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from pcainit.output.words import advice


def _result(method="particles", classes=3, **parameters):
    return SimpleNamespace(
        summary=dict(
            method=method, resolution=20.0, parameters=dict(dict(symmetry="c1"), **parameters)
        ),
        n_classes=classes,
        labels=[1],
        folder=Path("my results"),
    )


@pytest.mark.parametrize(
    "method, no_ctf, absolute",
    [
        ("particles", False, True),
        ("latents", False, True),
        ("particles", True, False),
        ("batches", False, True),
        ("simple", False, True),
        ("volumes", False, False),
    ],
)
def test_absolute_greyscale(method, no_ctf, absolute):
    result = _result(method, no_ctf=no_ctf)
    said = "Yes" if absolute else "No"
    assert dict(advice.relion(result))["Ref. map is on absolute greyscale?"] == said
    assert dict(advice.scipion(result))["Is initial 3D map on absolute greyscale?"] == said
    assert ("--firstiter_cc" in advice.relion_command(result)) != absolute


def test_command_of_relion(tmp_path):
    command = advice.relion_command(_result())
    words = shlex.split(command.split("END\n")[-1])
    options = {a: b for a, b in zip(words, words[1:]) if a.startswith("--")}
    assert words[0] == "relion_refine" and "--skip_align" in words
    assert options["--ref"] == "class3d/references.star"
    assert options["--i"] == "my results/particles.star"
    assert options["--K"] == "3"
    assert options["--ini_high"] == options["--strict_highres_exp"] == "20"
    one = shlex.split(advice.relion_command(_result(classes=1)))
    assert "my results/volumes/class_001.mrc" in one
    # All that is pasted, by a shell: the list is where RELION is told to look for it.
    stand_in = 'relion_refine() { while [ "$1" != --ref ]; do shift; done; cat "$2"; }\n'
    said = subprocess.run(
        ["bash", "-c", stand_in + command],
        cwd=str(tmp_path),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert said == advice.references_star(_result())
    assert said.splitlines()[-3:] == ["my results/volumes/class_00%d.mrc" % k for k in (1, 2, 3)]


@pytest.mark.scipion
def test_fields_are_those_of_relions_protocol():
    """The names are the labels of scipion-em-relion's form, without which nobody finds them."""
    protocols = pytest.importorskip("relion.protocols", reason="scipion-em-relion is missing")
    definition = protocols.ProtRelionClassify3D().getDefinition()
    labels = {param.label.get() for _, param in definition.iterParams()}
    for name, _ in advice.scipion(_result()):
        if name not in ("relion - 3D classification", "cryosparc - 3D classification"):
            assert name in labels or name == "To look closer", name
    assert "Input volume(s)" in labels
