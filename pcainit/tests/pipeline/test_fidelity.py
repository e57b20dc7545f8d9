"""The method `batches` does the literal five steps: the same walk in plain numpy and scikit-learn.

Nothing of the engine is called in the walk but the drawing of the random batches.  The consensus'
two spectra and the mask, which the five steps take for granted, are read from the run.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from pcainit.cli.main import main
from pcainit.engine.volume_sets.batches import draw_batches
from pcainit.pipeline import runner
from pcainit.pipeline.results import STAGE_RESULTS
from pcainit.pipeline.store import Workspace
from pcainit.settings import Settings

BOX, SAMPLING, RESOLUTION, RADIUS = 24, 6.0, 24.0, 6
SETTINGS = Settings(
    method="batches",
    resolution=RESOLUTION,
    reconstructions=30,
    particles_per_reconstruction=15,
    components=3,
    classes="3",
    seed=4,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("fidelity")
    assert (
        main(
            [
                "simulate",
                str(path),
                "--particles",
                "450",
                "--box",
                str(BOX),
                "--sampling",
                str(SAMPLING),
                "--seed",
                "3",
                "--snr",
                "0.5",
            ]
        )
        == 0
    )
    return path


@pytest.fixture(scope="module")
def stages(folder):
    """Every stage's result, by name."""
    workspace = Workspace(None)
    runner.prepare(workspace, str(folder / "particles.star"), None, SETTINGS, 1, lambda s: None)
    for name in ("reconstruct", "components", "cluster", "volumes"):
        getattr(runner, name)(workspace, SETTINGS, lambda s: None)
    kinds = dict(STAGE_RESULTS)
    del kinds["prepare"]
    return dict(
        {name: workspace.get(kind) for name, kind in kinds.items()}, grid=workspace.slices().grid
    )


def read_star(path):
    """Columns of the particle table that the simulator wrote."""
    lines = path.read_text().split("data_particles")[1].splitlines()
    labels = [line.split()[0][1:] for line in lines if line.startswith("_")]
    rows = [line.split() for line in lines if "@" in line]
    return {label: np.array([row[k] for row in rows]) for k, label in enumerate(labels)}


def centred_samples(images, star, kx, ky):
    """Step 1a: Fourier samples of the images, moved to the centre, and their CTF."""
    column = {
        name: star["rln" + name].astype(float)
        for name in ("OriginXAngst", "OriginYAngst", "DefocusU", "DefocusV", "DefocusAngle")
    }
    full = np.fft.fft2(np.fft.ifftshift(images, axes=(1, 2))) / BOX
    samples = full[:, ky % BOX, kx % BOX]
    moved = (column["OriginXAngst"][:, None] * kx + column["OriginYAngst"][:, None] * ky) / SAMPLING
    samples = samples * np.exp(-2j * np.pi * moved / BOX)
    fx, fy = kx / (BOX * SAMPLING), ky / (BOX * SAMPLING)
    angle = np.radians(column["DefocusAngle"])[:, None]
    along = (fx * np.cos(angle) + fy * np.sin(angle)) ** 2
    across = (fy * np.cos(angle) - fx * np.sin(angle)) ** 2
    wavelength, cs, q = 0.019687489, 2.7e7, 0.1
    chi = (
        np.pi
        * wavelength
        * (column["DefocusU"][:, None] * along + column["DefocusV"][:, None] * across)
    )
    chi = chi - np.pi / 2 * cs * wavelength**3 * (fx**2 + fy**2) ** 2
    return samples, np.sin(chi + np.arcsin(q))


def reconstruct(samples, ctf, rotations, kx, ky, n, box, noise, signal):
    """Steps 1b and 2a: trilinear back-projection, Wiener division, low-pass."""
    numerator, weight = np.zeros((n,) * 3, complex), np.zeros((n,) * 3)
    position = np.einsum("ps,nsj->npj", np.stack([kx, ky], axis=1), rotations[:, :2]) * n / box
    for sign in (1, -1):
        low = np.floor(sign * position)
        part = sign * position - low
        value = ctf * (samples if sign > 0 else samples.conj())
        for corner in np.ndindex(2, 2, 2):
            share = np.where(corner, part, 1 - part).prod(axis=2)
            x, y, z = np.moveaxis((low + corner).astype(int) % n, 2, 0)
            np.add.at(numerator, (z, y, x), share * value)
            np.add.at(weight, (z, y, x), share * ctf**2)
    f = np.fft.fftfreq(n, 1 / n)
    shell = np.rint(np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2) * box / n).astype(int)
    prior = np.full(shell.max() + 1, np.inf)
    prior[: len(noise)] = noise / signal / (n / box) ** 3
    volume = np.fft.fftshift(np.fft.ifftn(numerator / (weight + prior[shell])).real)
    low = (n - box) // 2
    volume = volume[(slice(low, low + box),) * 3] * BOX * (box / BOX) ** 3
    line = np.sinc((np.arange(box) - box // 2) / n) ** 2
    volume = volume / (line[:, None, None] * line[:, None] * line)
    f = np.fft.fftfreq(box, 1 / box)
    distance = np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2)
    return np.fft.ifftn(np.where(distance < RADIUS + 0.5, np.fft.fftn(volume), 0)).real


def amplitude(batch, mean):
    """What gives a shell of the batches' mean the amplitude of the consensus, as a function."""
    f = np.fft.fftfreq(len(mean), 1 / len(mean))
    shell = np.rint(np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + f**2)).astype(int).ravel()
    one, two = np.fft.fftn(batch).ravel(), np.fft.fftn(mean).ravel()
    power = np.bincount(shell, np.abs(two) ** 2)
    left = np.bincount(shell, (one * two.conj()).real) / np.maximum(power, 1e-30)
    gain = 1 / left.clip(0.3, 1)
    gain[power < 1e-6 * power.max()] = 1
    assert gain[: RADIUS // 2].max() > 1.05  # or there would be nothing to mend
    return lambda volume: np.fft.ifftn(np.fft.fftn(volume) * gain[shell].reshape(volume.shape)).real


@pytest.fixture(scope="module")
def walk(folder, stages):
    """The five steps."""
    star = read_star(folder / "particles.star")
    images = mrcfile.read(str(folder / "particles.mrcs")).astype(float)
    images = images[[int(name.split("@")[0]) - 1 for name in star["rlnImageName"]]]
    angles = np.stack([star["rlnAngle" + name].astype(float) for name in ("Rot", "Tilt", "Psi")], 1)
    rotations = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
    r = np.arange(-RADIUS - 1, RADIUS + 2)
    kx, ky = (k.ravel() for k in np.meshgrid(r, r))
    kept = (np.hypot(kx, ky) < RADIUS + 1.5) & ((kx > 0) | ((kx == 0) & (ky >= 0)))
    kx, ky = kx[kept], ky[kept]
    samples, ctf = centred_samples(images, star, kx, ky)
    before = stages["reconstruct"]
    n, box = stages["grid"].padded_box, stages["grid"].box
    batches = draw_batches(np.arange(450), 30, 15, np.random.default_rng([SETTINGS.seed, 1]))
    volumes = np.array(
        [
            reconstruct(
                samples[b],
                ctf[b],
                rotations[b],
                kx,
                ky,
                n,
                box,
                before.consensus.noise,
                before.consensus.signal,
            )
            for b in batches
        ]
    )
    mask = before.mask.astype(float)
    data = (volumes * mask)[:, mask > 0]  # step 2b: N x N_V
    coordinates = PCA(3, svd_solver="full").fit_transform(data)  # step 3
    scaled = coordinates / coordinates[:, 0].std()
    label = GaussianMixture(3, n_init=10, random_state=SETTINGS.seed).fit_predict(scaled)  # step 4
    order = np.argsort(-np.bincount(label), kind="stable")
    mean = before.consensus.mean
    gain = amplitude(volumes.mean(axis=0), mean)
    averages = [gain(volumes[label == k].mean(axis=0)) for k in order]  # step 5
    return dict(
        volumes=volumes,
        coordinates=coordinates,
        data=data,
        averages=np.array([mean + mask * (a - mean) for a in averages]),
    )


def agree(ours, theirs):
    """Equal to float32 precision of sums over some thousand terms."""
    return np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_back_projected_batches(stages, walk):
    assert stages["reconstruct"].batches.volumes.shape == walk["volumes"].shape
    assert agree(stages["reconstruct"].batches.volumes, walk["volumes"])


def test_principal_components(stages, walk):
    found = stages["components"].volumes
    assert agree(np.abs(found.coordinates), np.abs(walk["coordinates"]))
    values = np.linalg.svd(walk["data"] - walk["data"].mean(axis=0), compute_uv=False)[:29]
    assert found.spectrum == pytest.approx(values**2 / 29, rel=1e-4)


def test_cluster_averages(stages, walk):
    assert np.bincount(stages["cluster"].label).sum() == 30
    assert stages["volumes"].volumes.shape == walk["averages"].shape
    assert agree(stages["volumes"].volumes, walk["averages"])
