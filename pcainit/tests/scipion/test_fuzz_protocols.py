"""Thousands of hostile forms; a short run of `benchmarks/fuzz.py`."""

# SPDX-License-Identifier: GPL-3.0-or-later
import functools

import mrcfile
import numpy as np
import pytest

from pcainit.tests.robustness import hostile
from pcainit.tests.scipion.hostile_protocols import protocol_case, protocol_classes

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion


def pointed_at(scipion, folder):
    """Objects that a pointer of a form may hold, most of them wrong."""
    from pwem.objects import ParticleFlex, SetOfParticlesFlex, SetOfVolumes, Volume, VolumeMask

    particles = scipion.imported.outputParticles
    path = str(folder / "map.mrc")
    mrcfile.write(str(path), np.zeros((16, 16, 16), np.float32), voxel_size=6, overwrite=True)
    volumes = SetOfVolumes(filename=":memory:")
    volumes.setSamplingRate(6)
    for location in (path, "/nowhere.mrc", (2, path), "a.stk"):
        volume = Volume(location=location)
        volume.setSamplingRate(6)
        volumes.append(volume)
    flexible = SetOfParticlesFlex(filename=":memory:", progName="x")
    flexible.copyInfo(particles)
    for particle, text in zip(particles, ("1,2", "nan", "a,b", "", "1e999,1")):
        item = ParticleFlex(progName="x")
        item.copyInfo(particle)
        item._zFlex.set(text)
        flexible.append(item)
    mask = VolumeMask(location=path)
    mask.setSamplingRate(6)
    return [
        None,
        particles,
        particles,
        volumes,
        flexible,
        mask,
        Volume(location=path),
        VolumeMask(location="/nowhere.mrc"),
        SetOfVolumes(filename=":memory:"),
        scipion.imported,
    ]


def test_there_are_six():
    assert len(protocol_classes()) == 6


def test_any_form_gets_plain_sentences(scipion, tmp_path):
    objects = pointed_at(scipion, tmp_path)
    make_case = functools.partial(protocol_case, scipion=scipion, objects=objects)
    make_case.__name__ = "protocol_case"
    found = hostile.run_cases(make_case, 200, 0, tmp_path)
    assert found["broken"] == []
    assert found["refusal"] > 50
