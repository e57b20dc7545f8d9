"""The table of columns: complete, on its page as in the code, and kept to by both ways in."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

import numpy as np
import pytest

import pcainit
from pcainit.engine.images.aberrations import total
from pcainit.errors import InputError
from pcainit.io import columns
from pcainit.io.columns_page import tables
from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import _CTF_LABELS, read_particles
from pcainit.tests.optics_examples import write_set

PAGE = Path(pcainit.__file__).parents[1] / "docs" / "particle_columns.md"


def test_the_page_says_what_the_code_does():
    if not PAGE.is_file():
        pytest.skip("the pages are in the source tree only")
    assert tables() in PAGE.read_text(encoding="utf-8")


def test_each_column_has_one_decision():
    labels = [label for decision in columns.DECISIONS for label in decision.labels]
    assert len(labels) == len(set(labels)) and all(label.startswith("rln") for label in labels)


def test_what_the_code_reads_is_called_used(tmp_path):
    """Every column that is asked for while a file with all of them is read, and none beside."""
    asked = set()

    class Watched(ParticleTable):
        def has(self, label):
            asked.add(label)
            return super().has(label)

    made = write_set(tmp_path, [(32, 4.0, np.eye(2))], 12)
    read_particles(Watched(made["path"]), resolution=30.0)
    known = {
        label for label, decision in columns.BY_LABEL.items() if decision.what != columns.IGNORED
    }
    always = {"rlnImageName", "rlnOpticsGroup", "rlnOriginX", "rlnOriginY", "rlnOriginYAngst"}
    later = {label for label, _ in _CTF_LABELS.values()}  # by their defaults
    pixel = {"rlnDetectorPixelSize", "rlnMagnification", "rlnPixelSize"}  # not reached
    assert asked <= known
    assert known - asked <= always | later | pixel


def star_with(folder, optics="", rows=None, count=24):
    """A set with more columns: ``label value`` of the optics table, label and cells of the rows."""
    made = write_set(folder, [(32, 4.0, np.eye(2))], count)
    lines = made["path"].read_text().splitlines()
    if optics:
        label, value = optics.split()
        k = lines.index("_rlnMagMat11")
        lines[k] += "\n_%s" % label
        lines[k + 1] += " " + value
    if rows:
        label, cells = rows
        k = lines.index("_rlnDefocusAngle")
        lines[k] += "\n_%s" % label
        for i, cell in enumerate(cells):
            lines[k + 1 + i] += " %s" % cell
    path = folder / "changed.star"
    path.write_text("\n".join(lines) + "\n")
    return path


REFUSED = {
    "phase-flipped": "rlnCtfDataArePhaseFlipped 1",
    "mirrored": "rlnIsFlip 1",
    "subtomograms": "rlnImageDimensionality 3",
}


@pytest.mark.parametrize("words, column", REFUSED.items(), ids=list(REFUSED))
def test_images_of_another_kind_are_refused(tmp_path, words, column):
    words = words.split(",")[0]
    label = column.split()[0]
    with pytest.raises(InputError, match="holds .*%s.*%s" % (words, label)):
        read_particles(ParticleTable(star_with(tmp_path, column)))
    some = ["1" if k == 3 else "0" for k in range(24)]
    if words != "subtomograms":
        with pytest.raises(InputError, match=words):
            read_particles(ParticleTable(star_with(tmp_path, rows=(label, some))))
    zero = label + (" 2" if words == "subtomograms" else " 0")
    assert len(read_particles(ParticleTable(star_with(tmp_path, zero)))) == 24


def test_without_the_ctf_subtomograms_are_refused_all_the_same(tmp_path):
    with pytest.raises(InputError, match="subtomograms"):
        read_particles(
            ParticleTable(star_with(tmp_path, "rlnImageDimensionality 3")), use_ctf=False
        )
    tomo = ("rlnTomoVisibleFrames", ["[1,1,1]"] * 24)
    with pytest.raises(InputError, match="subtomograms .rlnTomoVisibleFrames"):
        read_particles(ParticleTable(star_with(tmp_path, rows=tomo)), use_ctf=False)
    premultiplied = star_with(tmp_path, "rlnCtfDataAreCtfPremultiplied 1")
    assert read_particles(ParticleTable(premultiplied), use_ctf=False).ctf is None


@pytest.mark.parametrize("label", ["rlnCtfDataAreCtfPremultiplied", "rlnCtfPremultiplied"])
def test_premultiplied_images_are_known_row_by_row(tmp_path, label):
    """Of an optics group, of single rows, or of none."""
    cells = ["%d" % (k in (3, 20)) for k in range(24)]
    some = read_particles(ParticleTable(star_with(tmp_path, rows=(label, cells))))
    assert np.flatnonzero(some.premultiplied).tolist() == [3, 20]
    assert read_particles(ParticleTable(star_with(tmp_path, label + " 1"))).premultiplied.all()
    assert read_particles(ParticleTable(star_with(tmp_path, label + " 0"))).premultiplied is None


def phase_of_tilt(tilt_mrad, resolution):
    """From the wave aberration 2 pi/lambda Cs theta^3 tilt at the angle theta = lambda k."""
    wave = 0.0196875
    return 2 * np.pi / wave * 2.7e7 * (wave / resolution) ** 3 * tilt_mrad * 1e-3


def test_beam_tilt_is_read_of_each_row(tmp_path):
    """Coma: at (k, 0), minus its phase for a tilt along x, and nothing for one along y."""
    cells = ["%g" % (5 if k == 4 else 0) for k in range(24)]
    table = ParticleTable(star_with(tmp_path, rows=("rlnBeamTiltX", cells)))
    found = read_particles(table).aberrations
    assert found.take(np.array([0])).largest(8.0) == 0
    assert found.largest(8.0)[4] == pytest.approx(phase_of_tilt(5.0, 8.0), rel=1e-3)
    along = total(found.odd[found.of[[4]]], True, np.array([[0.1, 0.0], [0.0, 0.1]]))[0]
    assert along == pytest.approx([-phase_of_tilt(5.0, 10.0), 0.0], rel=1e-3, abs=1e-9)
    assert read_particles(table, use_ctf=False).aberrations is None
    absurd = ParticleTable(star_with(tmp_path, "rlnBeamTiltX -700"))
    with pytest.raises(InputError, match="rlnBeamTiltX.* in 24 rows .1, 2, 3, ..*no microscope"):
        read_particles(absurd, resolution=10.0)


def test_aberrations_are_relions_polynomials(tmp_path):
    """Written out by hand: 3 r^3 - 2 r times sine, r^2 times cosine of twice the angle, r^4."""
    place = np.array([[0.06, 0.03], [-0.02, 0.09]])
    r, angle = np.hypot(*place.T), np.arctan2(place[:, 1], place[:, 0])
    one = np.eye(9)
    odd = [total(one[[k]], True, place)[0] for k in range(6)]
    even = [total(one[[k]], False, place)[0] for k in range(9)]
    assert np.allclose(odd[0], place[:, 1]) and np.allclose(odd[1], place[:, 0])
    assert np.allclose(odd[2], r**3 * np.sin(3 * angle))
    assert np.allclose(odd[3], (3 * r**3 - 2 * r) * np.sin(angle))
    assert np.allclose(odd[5], r**3 * np.cos(3 * angle))
    assert np.allclose(even[0], 1) and np.allclose(even[2], 2 * r**2 - 1)
    assert np.allclose(even[3], r**2 * np.cos(2 * angle))
    assert np.allclose(even[6], 6 * r**4 - 6 * r**2 + 1)
    assert np.allclose(even[8], r**4 * np.cos(4 * angle))
    table = ParticleTable(star_with(tmp_path, "rlnOddZernike [0,0,0,2.0,0]"))
    found = read_particles(table).aberrations
    assert found.odd.tolist() == [[0, 0, 0, 2.0, 0]] and found.even.size == 0
    with pytest.raises(InputError, match="no list of numbers"):
        read_particles(ParticleTable(star_with(tmp_path, "rlnOddZernike [0,x]")))
    with pytest.raises(InputError, match="rlnEvenZernike of 24 rows .*finite"):
        read_particles(ParticleTable(star_with(tmp_path, "rlnEvenZernike [0,nan]")))
