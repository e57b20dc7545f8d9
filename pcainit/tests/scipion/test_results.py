"""From the engine's result folder to Scipion's objects: matched by id, nothing invented."""

# SPDX-License-Identifier: GPL-3.0-or-later
import json

import mrcfile
import numpy as np
import pytest

from pcainit.tests.conftest import PARTICLES, SAMPLING

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion

from pcainit.errors import InputError  # noqa: E402
from pcainit.protocols import results  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    """A result folder of two classes, with latent coordinates and some junk."""
    rng = np.random.default_rng(5)
    for name in (
        "volumes/class_001",
        "volumes/class_002",
        "components/component_001",
        "components/component_002",
        "components/variance",
    ):
        path = tmp_path / "result" / (name + ".mrc")
        path.parent.mkdir(parents=True, exist_ok=True)
        mrcfile.write(
            str(path), rng.normal(size=(32, 32, 32)).astype(np.float32), voxel_size=SAMPLING
        )
    posterior = rng.dirichlet([1, 1], PARTICLES)
    labels = posterior.argmax(axis=1) + 1
    labels[:10] = 0  # in no class
    np.savez(
        tmp_path / "result" / "latents.npz",
        **{
            "class": labels,
            "posterior": posterior,
            "junk": rng.uniform(size=PARTICLES) < 0.1,
            "coordinates": rng.normal(size=(PARTICLES, 2)),
        },
    )
    (tmp_path / "result" / "summary.json").write_text(
        json.dumps(dict(verdict="fine", eigenvalues=[0.5, 0.1], half_set_cosines=[0.97, None]))
    )
    return str(tmp_path / "result")


@pytest.fixture
def result(scipion, folder):
    """That result for the imported particles, the engine's rows in another order than the set's."""
    ids = np.array(sorted(scipion.imported.outputParticles.getIdSet()))
    return results.EngineResult(folder, np.random.default_rng(0).permutation(ids))


def test_classes_follow_ids_and_leave_out_class_0(scipion, result, tmp_path):
    from pwem.objects import SetOfClasses3D

    classes = SetOfClasses3D(filename=str(tmp_path / "classes.sqlite"))
    classes.setImages(scipion.imported.outputParticles)
    results.fill_classes(classes, result, SAMPLING)
    classes.write()
    rows, seen = result.rows(), 0
    for item in classes:
        for particle in item:
            row = rows[particle.getObjId()]
            assert result.arrays["class"][row] == item.getObjId()
            assert particle._pcainitPosterior.get() == pytest.approx(
                result.arrays["posterior"][row].max()
            )
            assert particle._pcainitJunk.get() == result.arrays["junk"][row]
            seen += 1
    assert seen == PARTICLES - 10


def test_latents_follow_ids(scipion, result, tmp_path):
    from pwem.objects import SetOfParticlesFlex

    latents = SetOfParticlesFlex(filename=str(tmp_path / "latents.sqlite"))
    particles = scipion.imported.outputParticles
    results.fill_latents(latents, particles, result)
    latents.write()
    latents.close()
    latents = SetOfParticlesFlex(filename=str(tmp_path / "latents.sqlite"))
    latents.loadAllProperties()
    assert latents.getFlexInfo().getProgName() == "pcainit"
    assert latents.hasAlignmentProj() and latents.hasCTF()
    assert latents.getSamplingRate() == SAMPLING and latents.getSize() == PARTICLES
    rows = result.rows()
    for latent, particle in zip(latents.iterItems(), particles.iterItems()):
        row = rows[latent.getObjId()]
        assert latent.getObjId() == particle.getObjId()
        assert np.allclose(latent.getZFlex(), result.arrays["coordinates"][row], rtol=1e-5)
        assert latent.getLocation() == particle.getLocation()
        assert np.array_equal(
            latent.getTransform().getMatrix(), particle.getTransform().getMatrix()
        )
        assert latent.getCTF().getDefocusU() == particle.getCTF().getDefocusU()
        assert latent.getClassId() == result.arrays["class"][row]


def test_components_say_how_good_they_are(scipion, result, tmp_path):
    from pwem.objects import SetOfVolumes

    components = SetOfVolumes(filename=str(tmp_path / "components.sqlite"))
    results.fill_components(components, result, SAMPLING)
    comments = [item.getObjComment() for item in components]
    assert comments == ["eigenvalue 0.5, half-set cosine 0.97", "eigenvalue 0.1"]


def test_result_of_another_number_of_particles_is_refused(folder):
    with pytest.raises(InputError, match="1000 particles, the input of 3"):
        results.EngineResult(folder, np.arange(3))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null"])
def test_unreadable_summary(folder, text):
    with open(folder + "/summary.json", "w") as file:
        file.write(text)
    assert results.read_summary(folder) == {}
    with pytest.raises(InputError, match="no readable summary"):
        results.EngineResult(folder)


def test_pickles_are_refused(folder):
    np.savez(folder + "/latents.npz", **{"class": np.array([{}], dtype=object)})
    with pytest.raises(ValueError):
        results.EngineResult(folder)
