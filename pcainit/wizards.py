"""Wizards of the form: look at the consensus to choose the resolution and the mask."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
import subprocess
import sys
import tempfile
import time

from pyworkflow.gui import dialog
from pyworkflow.wizard import Wizard

from pcainit import checks
from pcainit.errors import InputError
from pcainit.plugin import Plugin
from pcainit.protocols import PcaInitProtInitialVolumes, convert, form

# The preview and its libraries are imported when a wizard is opened: Scipion imports this module
# at each start.
MASK_SLIDERS = (
    ("mask_threshold", 0.01, 0.95, 0.01),
    ("mask_near", 0, 60, 1),
    ("mask_far", 0, 100, 1),
)


class PcaInitPreviewWizard(Wizard):
    """Base of the wizards that show the consensus of some of the input particles."""

    _title = ""

    def show(self, window):
        """Make the preview, once for each set of particles, and open the dialog."""
        protocol = window.protocol
        particles = protocol.inputParticles.get()
        if particles is None:
            dialog.showWarning(self._title, "Choose the input particles first.", window.root)
            return
        found = []
        from pcainit.viewers.waiting import WaitingMessage

        def make(tick):
            try:
                found.append(load_preview(protocol, tick))
            except (InputError, OSError, RuntimeError) as problem:
                found.append(str(problem))

        WaitingMessage(window.root, "Reading some of the particles...", make)
        if isinstance(found[0], str):
            dialog.showError(self._title, found[0], window.root)
            return
        for name, value in self._choose(window.root, protocol, found[0]).items():
            window.setVar(form.camel(name), value)

    def _choose(self, root, protocol, preview):
        """Open the dialog; the values to set."""
        raise NotImplementedError


class PcaInitResolutionWizard(PcaInitPreviewWizard):
    """Low-pass filters the consensus while the resolution is chosen."""

    _targets = [(PcaInitProtInitialVolumes, ["resolution"])]
    _title = "Resolution of the initial volumes"

    def _choose(self, root, protocol, preview):
        from pcainit.viewers.preview_dialog import PreviewDialog

        step = 0.5
        low = step * -(-preview.finest // step)
        high = min(60.0, step * (preview.coarsest // step))
        shown = PreviewDialog(
            root,
            self._title,
            preview,
            [("resolution", "Resolution (Å)", _number(protocol, "resolution"), low, high, step)],
        )
        return shown.chosen if shown.resultYes() else {}


class PcaInitMaskWizard(PcaInitPreviewWizard):
    """Outlines the chosen mask on the consensus, or the automatic one while it is adjusted."""

    _targets = [
        (PcaInitProtInitialVolumes, ["inputMask"] + [form.camel(name) for name, *_ in MASK_SLIDERS])
    ]
    _title = "Mask"

    def _choose(self, root, protocol, preview):
        from pcainit.engine.geometry.masks import fit_mask
        from pcainit.io.maps import read_mask
        from pcainit.settings import Settings
        from pcainit.viewers.preview_dialog import PreviewDialog

        given = protocol.inputMask.get()
        sliders, mask = [], None
        if given is not None:
            try:
                mask = fit_mask(
                    *read_mask(given.getFileName(), form.mask_sampling(protocol)), preview.grid
                )
            except InputError as problem:
                dialog.showError(self._title, str(problem), root)
                return {}
        else:
            fields = Settings.fields()
            sliders = [
                (name, fields[name]["label"], _number(protocol, name), *limits)
                for name, *limits in MASK_SLIDERS
            ]
        shown = PreviewDialog(
            root,
            self._title,
            preview,
            sliders,
            mask=mask,
            resolution=_number(protocol, "resolution"),
        )
        return shown.chosen if sliders and shown.resultYes() else {}


class PcaInitBatchWizard(Wizard):
    """Computes the size and the number of batches from the input."""

    _targets = [(PcaInitProtInitialVolumes, ["particlesPerReconstruction", "reconstructions"])]

    def show(self, window):
        """Set the values that suit the chosen particles."""
        protocol = window.protocol
        particles = protocol.inputParticles.get()
        if particles is None:
            dialog.showWarning("Batches", "Choose the input particles first.", window.root)
            return
        count = particles.getSize()
        try:
            settings = form.settings(protocol)
        except InputError as problem:
            dialog.showWarning("Batches", str(problem), window.root)
            return
        if settings.method == "batches":
            window.setVar("reconstructions", checks.batch_count(count))
            protocol.reconstructions.set(checks.batch_count(count))
            settings = form.settings(protocol)
        window.setVar("particlesPerReconstruction", checks.batch_size(settings, count))


def load_preview(protocol, tick=lambda words: None):
    """The preview of a protocol's input particles, made by the engine unless it is there.

    Parameters
    ----------
    protocol : PcaInitProtInitialVolumes
    tick : callable
        Told the engine's last words several times a second while it works.

    Returns
    -------
    Preview

    Raises
    ------
    InputError
        The particles do not fit.
    RuntimeError
        With the engine's own words.
    """
    from pcainit.pipeline.routes.preview import PARTICLES, read_preview

    particles = protocol.inputParticles.get()
    reading = [
        "--" + name.replace("_", "-")
        for name in form.INPUT_TAB
        if getattr(protocol, form.camel(name)).get()
    ]
    key = "_".join([convert.identity(particles)] + [word.strip("-") for word in reading])
    folder = protocol.getProject().getTmpPath("pcainit_preview_" + key)
    path = os.path.join(folder, "preview.npz")
    if os.path.exists(path):
        try:
            return read_preview(path)
        except InputError:
            os.remove(path)  # damaged: make it again
    os.makedirs(folder, exist_ok=True)
    star = os.path.join(folder, "particles.star")
    convert.write_star(particles, star, with_ctf=not protocol.noCtf.get(), most=2 * PARTICLES)
    words = [
        sys.executable,
        "-m",
        "pcainit",
        "preview",
        star,
        "-o",
        folder,
        "--data-dir",
        os.path.abspath("."),
        "--total",
        str(particles.getSize()),
        "--threads",
        str(protocol.numberOfThreads.get()),
        *reading,
    ]
    code, said = _watched(words, tick)
    if code or not os.path.exists(path):
        raise RuntimeError(said[-1] if said else "The preview could not be made.")
    return read_preview(path)


def _watched(words, tick):
    """Run a command; its exit status, and the lines of its standard error."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(
            words,
            env=Plugin.getEnviron(),
            stdout=subprocess.DEVNULL,
            stderr=log,
            stdin=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                lines = _lines(log)
                tick(lines[-1] if lines else "")
                time.sleep(0.1)
        return process.returncode, _lines(log)


def _lines(log):
    """Lines of an open file so far; one that the writer writes over counts as several."""
    place = os.stat(log.fileno()).st_size
    text = os.pread(log.fileno(), place, 0).decode(errors="replace")
    return [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]


def _number(protocol, name):
    """A value of the form, or its default while the field is empty or no number."""
    from pcainit.settings import Settings

    value = getattr(protocol, form.camel(name)).get()
    return value if value is not None else Settings.fields()[name]["default"]
