"""RELION STAR files: variants that are read, faults that are named, rows written back."""

# SPDX-License-Identifier: GPL-3.0-or-later
import shutil
import subprocess

import mrcfile
import numpy as np
import pytest

from pcainit.engine.geometry.poses import rotation_from_euler
from pcainit.errors import InputError
from pcainit.io.coordinates import match_coordinates
from pcainit.io.particle_table import ParticleTable
from pcainit.io.star import read_particles

N, BOX = 6, 16
OPTICS = dict(
    rlnOpticsGroup=[1],
    rlnVoltage=[300.0],
    rlnSphericalAberration=[2.7],
    rlnAmplitudeContrast=[0.1],
    rlnImagePixelSize=[4.0],
    rlnImageSize=[BOX],
)


def particle_columns(**changes):
    """Columns of six particles; a value of None leaves the column out."""
    rng = np.random.default_rng(0)
    columns = dict(
        rlnImageName=["%06d@stack.mrcs" % (k + 1) for k in range(N)],
        rlnOpticsGroup=[1] * N,
        rlnAngleRot=rng.uniform(-180, 180, N).round(4),
        rlnAngleTilt=rng.uniform(0, 180, N).round(4),
        rlnAnglePsi=rng.uniform(-180, 180, N).round(4),
        rlnOriginXAngst=np.arange(N) * 2.0,
        rlnOriginYAngst=-np.arange(N) * 1.0,
        rlnDefocusU=np.full(N, 12000.0),
        rlnDefocusV=np.full(N, 11000.0),
        rlnDefocusAngle=np.arange(N) * 10.0,
    )
    columns.update(changes)
    return {name: values for name, values in columns.items() if values is not None}


def loop(columns):
    rows = zip(*columns.values())
    return (
        "\nloop_\n"
        + "".join("_%s #%d\n" % (name, k + 1) for k, name in enumerate(columns))
        + "".join(" ".join(str(cell) for cell in row) + "\n" for row in rows)
        + "\n"
    )


@pytest.fixture
def star(tmp_path):
    """Writes a STAR file beside a stack of six images."""
    images = np.random.default_rng(1).normal(size=(N, BOX, BOX)).astype(np.float32)
    mrcfile.write(str(tmp_path / "stack.mrcs"), images)

    def write(optics=OPTICS, name="particles.star", text=None, **changes):
        if text is None:
            text = "# version 30001\n\n"
            if optics:
                text += "data_optics\n" + loop(optics) + "\n"
            text += "data_particles\n" + loop(particle_columns(**changes))
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def load(path, **options):
    return read_particles(ParticleTable(path), **options)


def test_every_value_arrives(star, tmp_path):
    particles = load(star())
    columns = particle_columns()
    assert len(particles) == N
    assert (particles.box_px, particles.sampling) == (BOX, 4.0)
    assert particles.stacks == (str(tmp_path / "stack.mrcs"),)
    assert particles.row.tolist() == list(range(N))
    assert np.array_equal(
        particles.rotations,
        rotation_from_euler(*(columns["rlnAngle" + name] for name in ("Rot", "Tilt", "Psi"))),
    )
    assert particles.shifts_px == pytest.approx(np.stack([np.arange(N) / 2, -np.arange(N) / 4], 1))
    ctf = particles.ctf
    for field, value in dict(
        defocus_u=12000,
        defocus_v=11000,
        voltage=300,
        phase_shift=0,
        spherical_aberration=2.7,
        amplitude_contrast=0.1,
        b_factor=0,
        scale=1,
    ).items():
        assert (getattr(ctf, field) == value).all(), field
    assert ctf.defocus_angle.tolist() == [0, 10, 20, 30, 40, 50]


def test_optics_groups_are_looked_up_for_each_row(star):
    optics = dict(
        rlnOpticsGroup=[7, 3],
        rlnVoltage=[300.0, 200.0],
        rlnSphericalAberration=[2.7, 0.01],
        rlnAmplitudeContrast=[0.1, 0.07],
        rlnImagePixelSize=[4.0, 4.0],
    )
    particles = load(star(optics, rlnOpticsGroup=[3, 7, 7, 3, 3, 7]))
    assert particles.ctf.voltage.tolist() == [200, 300, 300, 200, 200, 300]
    assert particles.ctf.amplitude_contrast.tolist() == [0.07, 0.1, 0.1, 0.07, 0.07, 0.1]


def test_a_row_overrules_its_optics_group(star):
    particles = load(star(rlnVoltage=[80.0] * N))
    assert (particles.ctf.voltage == 80).all()


def test_single_optics_group_need_not_be_named(star):
    assert len(load(star(rlnOpticsGroup=None))) == N


def test_phase_shift_b_factor_and_scale(star):
    ctf = load(
        star(rlnPhaseShift=[90.0] * N, rlnCtfBfactor=[50.0] * N, rlnCtfScalefactor=[0.5] * N)
    ).ctf
    assert (ctf.phase_shift == 90).all() and (ctf.b_factor == 50).all() and (ctf.scale == 0.5).all()


def test_origins_in_pixels_and_none(star):
    pixels = load(
        star(
            rlnOriginXAngst=None, rlnOriginYAngst=None, rlnOriginX=[1.5] * N, rlnOriginY=[-2.0] * N
        )
    )
    assert (pixels.shifts_px == [1.5, -2.0]).all()
    assert not load(star(rlnOriginXAngst=None, rlnOriginYAngst=None)).shifts_px.any()


@pytest.mark.parametrize("block", ["data_", "data_images", "data_particles"])
def test_relion_30_style_without_optics(star, block):
    columns = particle_columns(
        rlnOpticsGroup=None,
        rlnOriginXAngst=None,
        rlnOriginYAngst=None,
        rlnOriginX=[1.0] * N,
        rlnOriginY=[2.0] * N,
        rlnVoltage=[300.0] * N,
        rlnSphericalAberration=[2.7] * N,
        rlnAmplitudeContrast=[0.1] * N,
        rlnMagnification=[10000.0] * N,
        rlnDetectorPixelSize=[3.5] * N,
    )
    particles = load(star(text="\n" + block + "\n" + loop(columns)))
    assert particles.sampling == pytest.approx(3.5)
    assert (particles.shifts_px == [1, 2]).all()


def test_defocus_v_defaults_to_u(star):
    ctf = load(star(rlnDefocusV=None, rlnDefocusAngle=None)).ctf
    assert np.array_equal(ctf.defocus_u, ctf.defocus_v)


def test_half_sets_are_the_files_when_usable(star):
    given = [1, 2, 2, 1, 2, 1]
    assert load(star(rlnRandomSubset=given)).half.tolist() == given
    for useless in ([1] * N, [0, 1, 2, 0, 1, 2]):
        half = load(star(rlnRandomSubset=useless)).half
        assert sorted(half.tolist()) == [1, 1, 1, 2, 2, 2]
    one, two = load(star()).half, load(star()).half
    assert np.array_equal(one, two)


def test_windows_line_ends_and_comments(star):
    text = star().read_text().replace("data_particles", "# note\ndata_particles")
    text = text.replace("\n", "\r\n")
    assert len(load(star(text=text))) == N


def test_quoted_names_with_spaces(star, tmp_path):
    shutil.copy(str(tmp_path / "stack.mrcs"), str(tmp_path / "my stack.mrcs"))
    names = ["'%d@my stack.mrcs'" % (k + 1) for k in range(N)]
    assert load(star(rlnImageName=names)).stacks == (str(tmp_path / "my stack.mrcs"),)


def test_image_paths_start_from_the_data_dir_or_a_folder_above(star, tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "Extract" / "job1").mkdir(parents=True)
    (project / "Refine" / "job2").mkdir(parents=True)
    shutil.move(str(tmp_path / "stack.mrcs"), str(project / "Extract" / "job1" / "stack.mrcs"))
    names = ["%d@Extract/job1/stack.mrcs" % (k + 1) for k in range(N)]
    path = star(rlnImageName=names, name="project/Refine/job2/particles.star")
    found = str(project / "Extract" / "job1" / "stack.mrcs")
    assert load(path).stacks == (found,)
    elsewhere = star(rlnImageName=names, name="elsewhere.star")
    with pytest.raises(InputError, match="--data-dir"):
        load(elsewhere)
    assert load(elsewhere, data_dir=str(project)).stacks == (found,)
    monkeypatch.chdir(project)
    assert load(elsewhere).stacks == (found,)


def test_no_ctf_is_allowed_when_asked(star):
    path = star(rlnDefocusU=None, rlnDefocusV=None)
    assert load(path, use_ctf=False).ctf is None
    with pytest.raises(InputError, match="--no-ctf"):
        load(path)


FAULTS = {
    "no rot": (dict(rlnAngleRot=None), "no rlnAngleRot.*no poses"),
    "no psi": (dict(rlnAnglePsi=None), "no rlnAnglePsi.*no poses"),
    "2D alignment": (dict(rlnAngleRot=[0.0] * N, rlnAngleTilt=[0.0] * N), "2D alignment"),
    "zero pixel size": (dict(rlnImagePixelSize=[0.0] * N), "must be positive"),
    "not a number": (dict(rlnAngleTilt=list("12x456")), "rlnAngleTilt of row 3 is 'x'"),
    "nan": (dict(rlnVoltage=["300", "nan", "3", "4", "5", "6"]), "rlnVoltage of row 2 is nan"),
    "unknown value": (dict(rlnDefocusU=["?"] * N), "rlnDefocusU of 6 rows .1, 2, 3, .* '\\?'"),
    "phase-flipped": (dict(rlnCtfDataArePhaseFlipped=[1] * N), "phase-flipped"),
    "optics group unknown": (dict(rlnOpticsGroup=[1, 1, 1, 1, 1, 9]), "optics group 9"),
    "no voltage": (dict(rlnVoltage=[0.0] * N), "rlnVoltage"),
    "amplitude contrast": (dict(rlnAmplitudeContrast=[7.0] * N), "rlnAmplitudeContrast"),
    "image numbers from 0": (
        dict(rlnImageName=["%d@stack.mrcs" % k for k in range(N)]),
        "start at 1",
    ),
    "image index beyond": (
        dict(rlnImageName=["%d@stack.mrcs" % (k + 2) for k in range(N)]),
        "Image 7 of .* the stack has 6",
    ),
    "stack missing": (dict(rlnImageName=["1@none.mrcs"] * N), "none.mrcs"),
    "one stack of two missing": (
        dict(rlnImageName=["1@stack.mrcs"] * 5 + ["1@none.mrcs"]),
        "1 of 2 particle stacks are missing",
    ),
}


@pytest.mark.parametrize("changes, words", FAULTS.values(), ids=list(FAULTS))
def test_faults_are_named(star, changes, words):
    with pytest.raises(InputError, match=words) as caught:
        load(star(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("label", ["rlnImagePixelSize", "rlnVoltage", "rlnSphericalAberration"])
def test_what_the_optics_table_lacks_is_named(star, label):
    with pytest.raises(InputError, match=label):
        load(star({name: values for name, values in OPTICS.items() if name != label}))


def test_unnamed_group_among_several(star):
    optics = {name: values * 2 for name, values in OPTICS.items()}
    optics["rlnOpticsGroup"] = [1, 2]
    with pytest.raises(InputError, match="do not name theirs"):
        load(star(optics, rlnOpticsGroup=None))


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no particles"),
        ("data_particles\n", "no particles"),
        (
            "data_particles\n\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n\n",
            "no particles|cannot be read",
        ),
        ("data_optics\n" + loop(OPTICS), "no particles"),
        (
            "data_particles\n\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n1@a.mrcs 0.0 3\n",
            "cannot be read",
        ),
        ("just a text file\n", "cannot be read"),
        (bytes(range(256)) * 20, "cannot be read"),
        (b"\x00" * 2048, "cannot be read"),
    ],
    ids=["empty", "no loop", "no rows", "optics only", "ragged", "text", "binary", "zeros"],
)
def test_what_is_no_particle_file(star, text, words):
    with pytest.raises(InputError, match=words) as caught:
        ParticleTable(star(text=text))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.star", tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            ParticleTable(path)


def test_image_numbers_of_other_digits_match_no_row(tmp_path):
    """A superscript is a digit to Python, and no number."""
    path = tmp_path / "particles.star"
    path.write_text(
        "data_particles\n\nloop_\n_rlnImageName #1\n1@a.mrcs\n\u00b2@a.mrcs\n", encoding="utf-8"
    )
    rows = np.zeros(
        2, [("blob/path", "S20"), ("blob/idx", "u4"), ("components_mode_0/value", "f4")]
    )
    rows["blob/path"], rows["blob/idx"] = b"a.mrcs", [0, 1]
    rows["components_mode_0/value"] = [3, 4]
    with open(str(tmp_path / "J1.cs"), "wb") as file:
        np.save(file, rows)
    values, by = match_coordinates(tmp_path / "J1.cs", ParticleTable(path))
    assert by == "order" and values.ravel().tolist() == [3, 4]


def test_rows_are_written_back_in_order(star, tmp_path):
    """Every cell stays as it was; the class is set where it was there and added where not."""
    path = star(rlnClassNumber=[9] * N, rlnMicrographName=["'mic %d.mrc'" % k for k in range(N)])
    before = path.read_bytes()
    out = tmp_path / "out" / "particles.star"
    ParticleTable(path).write_with(
        out, {"rlnClassNumber": np.array([3, 1, 2, 2, 1, 3]), "rlnNew": np.arange(N)}
    )
    assert path.read_bytes() == before
    old, new = ParticleTable(path), ParticleTable(out)
    for label in particle_columns():
        assert new.text(label) == old.text(label), label
    assert new.text("rlnMicrographName") == old.text("rlnMicrographName")
    assert new.text("rlnClassNumber") == list("312213")
    assert new.text("rlnNew") == list("012345")
    assert new.numbers("rlnVoltage").tolist() == [300.0] * N
    assert load(out, data_dir=str(tmp_path)).ctf.defocus_u.tolist() == [12000.0] * N


@pytest.mark.relion
@pytest.mark.skipif(not shutil.which("relion_star_handler"), reason="RELION is not installed")
def test_relion_reads_what_is_written(star, tmp_path):
    out = tmp_path / "out.star"
    ParticleTable(star()).write_with(out, {"rlnClassNumber": np.array([3, 1, 2, 2, 1, 3])})
    done = subprocess.run(
        [
            "relion_star_handler",
            "--i",
            str(out),
            "--o",
            str(tmp_path / "r.star"),
            "--select",
            "rlnClassNumber",
            "--minval",
            "2",
            "--maxval",
            "3",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    assert ParticleTable(tmp_path / "r.star").text("rlnClassNumber") == list("3223")
