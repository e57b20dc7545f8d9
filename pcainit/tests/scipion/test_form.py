"""The form agrees with the table of parameters, hides what does not apply, and opens."""

# SPDX-License-Identifier: GPL-3.0-or-later
import re

import pytest

from pcainit.pipeline.stage_order import COMMANDS, STAGES
from pcainit.settings import METHODS, Settings
from pcainit.tests.scipion.display import WINDOW, on_a_display

pytest.importorskip("pwem", reason="scipion-em is not installed")
pytestmark = pytest.mark.scipion

from pcainit.protocols import describe, form  # noqa: E402

SHOWN = {"mask": "inputMask", "classes": "numberOfClasses"}  # spelled otherwise in the form
IN_FORM = [name for name in Settings.fields() if name != "mask_sampling"]  # the mask object's


@pytest.fixture
def protocol(scipion):
    """A protocol with the form's own defaults."""
    from pcainit.protocols import PcaInitProtInitialVolumes

    return scipion.project.newProtocol(PcaInitProtInitialVolumes)


@pytest.mark.parametrize("name", IN_FORM)
def test_each_setting_is_in_the_form_with_its_own_words(protocol, name):
    info = Settings.fields()[name]
    param = protocol.getParam(SHOWN.get(name, form.camel(name)))
    assert param.label.get() == info["label"]
    if name in SHOWN:
        return
    assert param.help.get() == info["help"]
    assert param.isExpert() == info["expert"]
    value = getattr(protocol, form.camel(name)).get()
    if name in form.POINTERS:
        assert value is None
        return
    assert (info["choices"][value] if info["choices"] else value) == info["default"]


def test_defaults_of_form_and_command_line_agree(protocol):
    assert form.settings(protocol) == Settings()


def test_every_parameter_explains_itself(protocol):
    for name, param in protocol.getDefinition().iterParams():
        if name not in ("runName", "hostName", "runMode", "numberOfThreads"):
            assert len(param.help.get() or "") > 40 and param.label.get(), name


@pytest.mark.parametrize("method", range(len(METHODS)))
def test_hidden_parameters(protocol, method):
    from pwem.objects import Volume

    assert not protocol.evalParamCondition("givenUse")
    protocol.givenComponents.set(Volume(location="change.mrc"))
    protocol.givenMean.set(Volume(location="mean.mrc"))
    assert not protocol.evalParamCondition("givenUse")
    assert form.settings(protocol).given_components == ()  # only the question makes it count
    protocol.useGivenComponents.set(True)
    assert form.settings(protocol).given_mean == ""
    protocol.useGivenMean.set(True)
    protocol.method.set(method)
    for name, info in Settings.fields().items():
        if name in IN_FORM and name not in SHOWN:
            shown = protocol.evalParamCondition(form.camel(name))
            assert bool(shown) == (METHODS[method] in info["methods"]), name
    assert protocol.evalParamCondition("autoClasses") == (METHODS[method] == "particles")
    assert protocol.evalParamCondition("numberOfClasses") == (METHODS[method] != "particles")
    protocol.autoClasses.set(False)
    assert protocol.evalParamCondition("numberOfClasses")


def test_automatic_mask_parameters_go_with_a_mask(protocol):
    from pwem.objects import VolumeMask

    assert protocol.evalParamCondition("maskNear")
    mask = VolumeMask(location="mask.mrc")
    mask.setSamplingRate(6.0)
    protocol.inputMask.set(mask)
    assert not protocol.evalParamCondition("maskNear")
    settings = form.settings(protocol)
    assert (settings.mask, settings.mask_sampling) == ("mask.mrc", 6.0)


def test_options_are_understood_by_the_command_line(protocol):
    from pcainit.cli.main import make_parser
    from pcainit.cli.options import settings_from

    protocol.noCtf.set(True)
    protocol.resolution.set(17.5)
    settings = form.settings(protocol)
    words = [str(word) for word in form.options(settings)]
    for stage in STAGES:
        ends = {"prepare": ["p.star"], "volumes": ["-o", "out"]}.get(stage, [])
        args = make_parser().parse_args([COMMANDS[stage], "--work", "w", *ends, *words])
        assert settings_from(args) == settings


# ------------------------------- Descriptions -------------------------------

RUN = dict(
    verdict="2 of 4 components are reproducible.",
    method="particles",
    particles=1000,
    version="0.1.0",
    working_box=32,
    class_weights=[0.7, 0.3],
    half_set_cosines=[0.9, None],
    significant_components=1,
    seconds=dict(prepare=10.0, volumes=200.0),
    parameters=dict(Settings().as_dict()),
    nuisance=dict(contrast_sd=0.2, shift_px=0.7, rotation_deg=1.6, junk_share=0.03),
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("missing", [None, *RUN])
def test_descriptions_cope_with_missing_figures(method, missing):
    run = dict(RUN, method=method)
    run.pop(missing, None)
    run[missing] = None
    lines = describe.summary(run) + describe.methods(run)
    assert lines and all(isinstance(line, str) and line for line in lines)


def test_descriptions_say_the_figures():
    text = "\n".join(describe.summary(RUN))
    assert RUN["verdict"] in text and "70.0 %, 30.0 %" in text and "0.90" in text
    assert "contrast varies by 20 %" in text and "1.6 degrees" in text and "4 min" in text
    (words,) = describe.methods(dict(RUN, regions_tried=124, local_components=1))
    assert "components (4 asked for) were fitted" in words and "; 1 agreed between" in words
    assert "124 overlapping small regions" in words and "gave 1 of these" in words
    of_batches = describe.summary(dict(RUN, method="batches"))
    assert "shares of the particles: 70.0 %, 30.0 %" in "\n".join(of_batches)
    assert "shares of" not in "\n".join(describe.summary(dict(RUN, method="simple")))
    first, *_, verdict = describe.summary(RUN)[: describe.summary(RUN).index(RUN["verdict"]) + 1]
    assert first.startswith("*2 states: 70 and 30 %") and verdict == RUN["verdict"]
    assert describe.summary({}) == ["The volumes are not ready yet."]
    assert describe.methods({}) == []


@pytest.mark.parametrize("method", METHODS)
def test_references_exist(method):
    import pcainit
    from pcainit import bibtex

    keys = set(re.findall(r"@article\{(\w+),", bibtex.__doc__))
    used = set(describe.citations(method)) | set(pcainit._references)
    used |= set(re.findall(r"\[(\w+\d{4})\]", describe.methods(dict(RUN, method=method))[0]))
    assert used <= keys


def test_reference_texts_are_parsed_by_scipion():
    from pyworkflow.utils import parseBibTex

    from pcainit import bibtex

    entries = parseBibTex(bibtex.__doc__)
    assert set(entries) == set(re.findall(r"@article\{(\w+),", bibtex.__doc__))
    for entry in entries.values():
        assert entry["author"] and entry["title"] and entry["year"] and entry["url"]


# ------------------------------- The real form ------------------------------

OPEN_FORM = (
    WINDOW
    + """
from tkinter import ttk

def find(widget, kind):
    for child in widget.winfo_children():
        if isinstance(child, kind):
            yield child
        yield from find(child, kind)

def look():
    form = open_form(window.project.newProtocol(
        pyworkflow.Config.getDomain().findClass("PcaInitProtInitialVolumes")))
    for book in find(form.root, ttk.Notebook):
        print("TABS", [book.tab(number, "text") for number in range(book.index("end"))])
    print("LABELS", sorted({str(label["text"]) for label in find(form.root, tkinter.Label)}))

look_and_leave(look)
"""
)


@pytest.mark.display
@pytest.mark.slow
def test_form_openson_a_display(scipion, tmp_path):
    """The form as a user sees it has our tabs and labels."""
    out = on_a_display(OPEN_FORM, tmp_path)
    assert "TABS ['Input', 'Reconstructions and components']" in out, out
    for label in ("Input particles", "Initialisation method", "Number of components"):
        assert label in out


OPEN_WIZARDS = (
    WINDOW
    + """
def look():
    from pcainit.viewers.preview_dialog import PreviewDialog
    try:
        domain = pyworkflow.Config.getDomain()
        protocol = window.project.newProtocol(domain.findClass("PcaInitProtInitialVolumes"))
        imported = window.project.getProtocol(int(sys.argv[2]))
        protocol.inputParticles.set(imported)
        protocol.inputParticles.setExtended("outputParticles")
        form = open_form(protocol)
        wizards = form.wizards
        print("WIZARDS", sorted(wizards))

        def answer(values):
            dialog, = [child for child in form.root.winfo_children()
                       if isinstance(child, PreviewDialog)]
            for name, value in values.items():
                dialog.scales[name].set(value)
            dialog.update()
            dialog.draw()
            print("DRAWN", len(dialog.figure.axes), dialog.words["text"])
            dialog._handleResult(0)

        def give(values):
            try:
                if any(isinstance(child, PreviewDialog) and child.grab_status()
                       for child in form.root.winfo_children()):
                    answer(values)
                else:
                    form.root.after(300, lambda: give(values))
            except BaseException as problem:
                print("PROBLEM", repr(problem))
                sys.stdout.flush()
                os._exit(1)

        form.root.after(500, lambda: give({"resolution": 26.5}))
        wizards["resolution"]().show(form)
        form.root.after(500, lambda: give({"mask_threshold": 0.3, "mask_near": 12,
                                           "mask_far": 18}))
        wizards["maskThreshold"]().show(form)
        protocol.method.set(1)
        protocol.autoClasses.set(False)
        wizards["particlesPerReconstruction"]().show(form)
        for name in ("resolution", "maskThreshold", "maskNear", "maskFar", "reconstructions",
                     "particlesPerReconstruction"):
            form.setParamFromVar(name)          # as Save and Execute do
        print("VALUES", protocol.resolution.get(), protocol.maskThreshold.get(),
              protocol.maskNear.get(), protocol.maskFar.get(), protocol.reconstructions.get(),
              protocol.particlesPerReconstruction.get())
    finally:
        sys.stdout.flush()

look_and_leave(look)
"""
)


@pytest.mark.display
@pytest.mark.slow
def test_wizards_set_what_was_chosen(scipion, tmp_path):
    """Sliders moved in the real dialogs end in the real form."""
    out = on_a_display(OPEN_WIZARDS, tmp_path, str(scipion.imported.getObjId()))
    assert (
        "WIZARDS ['inputMask', 'maskFar', 'maskNear', 'maskThreshold', "
        "'particlesPerReconstruction', 'reconstructions', 'resolution']"
    ) in out
    drawn = [line for line in out.splitlines() if line.startswith("DRAWN 3 ")]
    assert len(drawn) == 2, out
    assert "1,000 of the 1,000 particles" in drawn[0] and "26.5" in drawn[0] and "MB" in drawn[0]
    assert "of the box" in drawn[1]
    assert "VALUES 26.5 0.3 12.0 18.0 10 100" in out, out
