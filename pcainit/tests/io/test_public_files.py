"""Particle files as people have them: other layouts, other programs' values, other formats."""

# SPDX-License-Identifier: GPL-3.0-or-later
import mrcfile
import numpy as np
import pytest

from pcainit.errors import InputError
from pcainit.io.particle_table import ParticleTable
from pcainit.io.stacks import read_chunks
from pcainit.io.star import read_particles

N, BOX, STEP = 40, 16, 4.0
PAIRS = dict(
    rlnOpticsGroup=1,
    rlnOpticsGroupName="opticsGroup1",
    rlnVoltage=200.0,
    rlnSphericalAberration=1.4,
    rlnAmplitudeContrast=0.07,
    rlnImagePixelSize=STEP,
    rlnImageSize=BOX,
)


def columns(**changes):
    rng = np.random.default_rng(0)
    made = dict(
        rlnImageName=["%06d@stack.mrcs" % (k + 1) for k in range(N)],
        rlnOpticsGroup=[1] * N,
        rlnAngleRot=rng.uniform(-180, 180, N).round(4).tolist(),
        rlnAngleTilt=rng.uniform(0, 180, N).round(4).tolist(),
        rlnAnglePsi=rng.uniform(-180, 180, N).round(4).tolist(),
        rlnOriginXAngst=rng.normal(0, 4, N).round(4).tolist(),
        rlnOriginYAngst=rng.normal(0, 4, N).round(4).tolist(),
        rlnDefocusU=rng.uniform(9000, 20000, N).round(2).tolist(),
        rlnDefocusV=rng.uniform(9000, 20000, N).round(2).tolist(),
        rlnDefocusAngle=rng.uniform(0, 180, N).round(2).tolist(),
    )
    made.update(changes)
    return made


def loop(table):
    rows = zip(*table.values())
    tags = "".join("_%s #%d\n" % (name, k + 1) for k, name in enumerate(table))
    return "loop_\n" + tags + "".join(" ".join(map(str, row)) + "\n" for row in rows)


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(N, BOX, BOX)).astype(np.float32)


@pytest.fixture
def write(tmp_path, images):
    """Writes a STAR file beside a stack with a header of some pixel size."""

    def make(pairs=False, header=STEP, change=lambda text: text, **changes):
        with mrcfile.new(str(tmp_path / "stack.mrcs"), overwrite=True) as mrc:
            mrc.set_data(images)
            mrc.set_image_stack()
            mrc.voxel_size = header
        optics = loop({name: [value] for name, value in PAIRS.items()})
        if pairs:
            optics = "".join("_%s\t%s\n" % pair for pair in PAIRS.items())
        text = "data_optics\n\n%s\n\ndata_particles\n\n%s\n" % (optics, loop(columns(**changes)))
        path = tmp_path / "particles.star"
        path.write_text(change(text))
        return path

    return make


def load(path, **options):
    return read_particles(ParticleTable(path), **options)


def changed(label, rows, value):
    cells = columns()[label]
    for row in rows:
        cells[row] = value
    return {label: cells}


# --- layouts ------------------------------------------------------------------------------------


def test_an_optics_table_written_as_pairs(write, tmp_path):
    pairs, table = load(write(pairs=True)), load(write())
    assert (pairs.ctf.voltage == 200).all() and (pairs.ctf.amplitude_contrast == 0.07).all()
    assert (pairs.sampling, pairs.box_px) == (STEP, BOX)
    assert np.array_equal(pairs.rotations, table.rotations)
    ParticleTable(write(pairs=True)).write_with(
        tmp_path / "out.star", {"rlnClassNumber": np.ones(N, int)}
    )
    assert (load(tmp_path / "out.star").ctf.spherical_aberration == 1.4).all()


def test_damaged_rows_are_all_counted_and_shown(write):
    def stray(text):
        lines = text.splitlines()
        first = next(k for k, line in enumerate(lines) if line.startswith("000011@"))
        lines.insert(first, "9")
        lines[first + 4] += " one more"
        return "\n".join(lines) + "\n"

    path = write(change=stray)
    number = path.read_text().splitlines().index("9") + 1
    words = "line %d has 1 value where its table has 10 columns: '9'; 2 lines" % number
    with pytest.raises(InputError, match=words):
        load(path)


def test_quotes_and_comments_are_no_damage(write):
    """A file that cannot be read for another reason is not called damaged."""
    path = write(
        rlnMicrographName=["'mic one.mrc'"] * N, change=lambda text: text + "data_\nloop_\n"
    )
    with pytest.raises(InputError, match="STAR file") as caught:
        load(path)
    assert "columns:" not in str(caught.value)


def test_absolute_paths_of_another_computer(write, tmp_path, monkeypatch):
    names = ["%d@/storage/someone/Extract/job007/stack.mrcs" % (k + 1) for k in range(N)]
    path = write(rlnImageName=names)
    with pytest.raises(InputError, match="absolute path that is not found here: .*--data-dir"):
        load(path)
    with pytest.raises(InputError, match="nor is any end of it below /usr"):
        load(path, data_dir="/usr")
    assert load(path, data_dir=str(tmp_path)).stacks == (str(tmp_path / "stack.mrcs"),)
    moved = tmp_path / "moved" / "job007"
    moved.mkdir(parents=True)
    (tmp_path / "stack.mrcs").rename(moved / "stack.mrcs")
    assert load(path, data_dir=str(tmp_path / "moved")).stacks == (str(moved / "stack.mrcs"),)


# --- values -------------------------------------------------------------------------------------

FAILED = {
    "defocus 0": (dict(rlnDefocusU=0.0, rlnDefocusV=0.0), "a defocus of 0"),
    "-999": (dict(rlnDefocusU=-999.0, rlnDefocusV=-999.0), "a negative defocus"),
    "negative": (dict(rlnDefocusU=-15000.0, rlnDefocusV=-14800.0), "a negative defocus"),
    "defocus nan": (dict(rlnDefocusV="nan"), "no number in the defocus"),
    "infinite azimuth": (dict(rlnDefocusAngle="inf"), "no number in the defocus"),
    "pose nan": (dict(rlnAngleTilt="nan"), "no number in the pose"),
    "origin nan": (dict(rlnOriginXAngst="nan"), "no number in the pose"),
    "no pose": (
        dict(
            rlnAngleRot=0, rlnAngleTilt=0, rlnAnglePsi=0, rlnOriginXAngst=0, rlnOriginYAngst="0.0"
        ),
        "a pose of zeros",
    ),
    "far away": (dict(rlnOriginXAngst=5000.0), "an origin outside the box"),
}


@pytest.mark.parametrize("values, reason", FAILED.values(), ids=list(FAILED))
def test_some_rows_that_failed_are_set_aside(write, values, reason):
    bad = [4, 17, 30]
    changes = {}
    for label, value in values.items():
        changes.update(changed(label, bad, value))
    particles = load(write(**changes))
    assert np.flatnonzero(~particles.fit()).tolist() == bad
    assert particles.reasons == (reason,)
    assert "%s of 3 rows (5, 18, 31)" % reason in particles.notes[0]
    good, plain = particles.fit(), load(write())
    assert np.array_equal(particles.rotations[good], plain.rotations[good])
    assert np.array_equal(particles.ctf.defocus_u[good], plain.ctf.defocus_u[good])
    for numbers in (particles.rotations, particles.shifts_px, particles.ctf.defocus_v):
        assert np.isfinite(numbers).all()
    assert plain.aside is None and plain.fit() is True and plain.notes == ()


@pytest.mark.parametrize("name", ["defocus 0", "negative", "defocus nan", "pose nan", "-999"])
def test_all_rows_that_failed_are_refused(write, name):
    values, reason = FAILED[name]
    changes = {}
    for label, value in values.items():
        changes.update(changed(label, range(N), value))
    with pytest.raises(InputError, match="40 of 40 particles cannot be used: %s" % reason) as told:
        load(write(**changes))
    remedy = {"negative": "change the sign", "-999": "change the sign", "pose nan": "refinement"}
    assert remedy.get(name, "--no-ctf") in str(told.value)
    if "efocus" in reason:
        assert load(write(**changes), use_ctf=False).aside is None


def test_two_reasons_are_both_counted(write):
    changes = {**changed("rlnDefocusU", [0, 1], -999), **changed("rlnAngleRot", [1, 5], "nan")}
    particles = load(write(**changes))
    assert particles.aside.tolist()[:6] == [2, 1, 0, 0, 0, 1]
    assert "no number in the pose of 2 rows (2, 6); a negative defocus of row 1" in str(
        particles.notes
    )


def test_a_phase_plate_near_focus_is_fine(write):
    cells = dict(rlnPhaseShift=[90.0] * N, **changed("rlnDefocusU", range(N), -300.0))
    cells.update(changed("rlnDefocusV", range(N), 20.0))
    assert load(write(**cells)).aside is None


def test_far_origins_of_many_rows_are_another_unit(write):
    far = changed("rlnOriginXAngst", range(0, N, 2), 500.0)
    with pytest.raises(
        InputError, match="origin of 20 rows .1, 3, 5, .* 125, .* more than the box"
    ):
        load(write(**far))


def test_all_offenders_are_counted(write):
    with pytest.raises(
        InputError, match="rlnVoltage of 3 rows .2, 3, 4. is in the first .* 300000"
    ):
        load(write(rlnVoltage=[300, *[300000] * 3, *[300] * (N - 4)]))


# --- headers and formats ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header, said", [(STEP, False), (0.0, False), (1.0, False), (4.1, False), (8.0, True)]
)
def test_the_pixel_size_of_the_header(write, header, said):
    notes = load(write(header=header)).notes
    assert bool(notes) == said
    if said:
        assert "4 A by the STAR file, but 8 A by the header" in notes[0]


def spider(images, order="<", single=False):
    """A SPIDER stack from the format's description: a header of 1024 bytes before each image."""

    def header(count):
        words = np.zeros(256, order + "f4")
        records = -(-1024 // (4 * BOX))
        words[[0, 1, 4, 11]] = 1, BOX, 1, BOX  # slices, rows, form, columns
        words[[12, 21, 22]] = records, records * 4 * BOX, 4 * BOX
        words[[23, 25]] = (2, count) if count else (0, 0)
        return words.tobytes()

    if single:
        return header(0) + images[0].astype(order + "f4").tobytes()
    each = b"".join(header(0) + image.astype(order + "f4").tobytes() for image in images)
    return header(len(images)) + each


@pytest.mark.parametrize("order", ["<", ">"])
def test_spider_stacks_are_read(write, tmp_path, images, order):
    (tmp_path / "stack.stk").write_bytes(spider(images, order))
    (tmp_path / "one.spi").write_bytes(spider(images[7:], order, single=True))
    rows = np.random.default_rng(0).permutation(N)
    names = ["%d@stack.stk" % (k + 1) for k in rows]
    names[3] = "one.spi"
    particles = load(write(rlnImageName=names))
    assert particles.box_px == BOX
    seen = np.zeros((N, BOX, BOX))
    for index, read in read_chunks(particles.stacks, particles.stack, particles.row, 9):
        seen[index] = read()
    rows[3] = 7
    assert np.array_equal(seen, images[rows])


def test_a_short_spider_stack(write, tmp_path, images):
    (tmp_path / "stack.stk").write_bytes(spider(images)[:-500])
    with pytest.raises(InputError, match="truncated: 39 of its 40 images"):
        load(write(rlnImageName=["%d@stack.stk" % (k + 1) for k in range(N)]))


@pytest.mark.parametrize(
    "content, words",
    [(b"\x89HDF\r\n\x1a\n", "an HDF file"), (b"II*\0", "TIFF"), (b"\x93NUMPY", "a numpy array")],
)
def test_other_formats_are_named(write, tmp_path, content, words):
    (tmp_path / "stack.hdf").write_bytes(content + bytes(5000))
    with pytest.raises(InputError, match="no MRC file but .*%s.*convert" % words) as caught:
        load(write(rlnImageName=["%d@stack.hdf" % (k + 1) for k in range(N)]))
    assert "truncated" not in str(caught.value)


def test_files_of_several_images_need_a_number(write, tmp_path):
    for k in range(N):
        mrcfile.write(str(tmp_path / ("%02d.mrc" % k)), np.zeros((BOX, BOX, BOX), np.float32))
    path = write(rlnImageName=["%02d.mrc" % k for k in range(N)])
    for use_ctf in (True, False):
        with pytest.raises(InputError, match="00.mrc is named without .* holds 16 .40 of 40"):
            load(path, use_ctf=use_ctf)
