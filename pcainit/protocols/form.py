"""The protocol's form, made from the table of parameters in `pcainit.settings`.

Labels, defaults, help texts and conditions come from that table; only the arrangement in tabs
and what Scipion adds (pointers, threads) is decided here.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any, List, Sequence

from pwem.objects import Volume
from pyworkflow.protocol import params

from pcainit.errors import shorten
from pcainit.pipeline.stage_order import MAX_PARTS
from pcainit.settings import AUTO, METHODS, Settings

INPUT_TAB = ("no_ctf", "invert_contrast", "normalise")
COMPONENTS_TAB = (
    "analysis_resolution",
    "reconstructions",
    "particles_per_reconstruction",
    "components",
    "stratify",
    "no_local_search",
    "positive_control",
    "given_components",
    "given_use",
    "given_mean",
    "symmetry",
    "mask_threshold",
    "mask_near",
    "mask_far",
    "seed",
)
# Settings that are files: pointers in the form.  The engine gets a list of the maps.
POINTERS = {"given_components": "SetOfVolumes, SetOfVolumesFlex, Volume", "given_mean": "Volume"}
# A new form fills every empty pointer with an output of the selected run, seen or not.  So an
# optional pointer counts only where its question is answered with yes ...
SWITCHES = {
    "given_components": (
        "Use given components?",
        "Say yes to start from component volumes of another program, or to take them as they are, "
        "and choose them below. With no, nothing below counts.",
    ),
    "given_mean": (
        "Are they whole maps?",
        "Say yes when the given volumes are whole maps (states, frames of a movement) and not "
        "differences from a mean, and choose the map to subtract from each of them below.",
    ),
}
# ... and Scipion, which looks for the exact name, finds nothing that fits a name behind a blank.
UNFILLED = " "
DEFAULT_CLASSES = 4
DECIDED_BY_DATA = METHODS.index("particles")


def camel(name: str) -> str:
    """Scipion's spelling of a setting: ``mask_near`` -> ``maskNear``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def define(form) -> None:
    """Add all parameters to a Scipion form."""
    table = Settings.fields()
    form.addSection(label="Input")
    form.addParam(
        "inputParticles",
        params.PointerParam,
        pointerClass="SetOfParticles",
        pointerCondition="hasAlignmentProj",
        important=True,
        label="Input particles",
        help="Particles with their poses (projection alignment), from a 3D refinement "
        "with one reference, and with CTF. They must be white on dark and not "
        "phase flipped, in an even box. Downsampled particles will do, as long as "
        "the resolution is not finer than twice their sampling rate. Their images "
        "are read in place, once.",
    )
    form.addParam(
        "inputMask",
        params.PointerParam,
        pointerClass=UNFILLED + "VolumeMask",
        allowsNull=True,
        label=table["mask"]["label"],
        help=table["mask"]["help"],
    )
    # Before all whose conditions name it: Scipion looks conditions up as they are added.
    _add(form, "method")
    _add(form, "resolution")
    form.addParam(
        "onlyVariance",
        params.BooleanParam,
        default=False,
        expertLevel=params.LEVEL_ADVANCED,
        condition="method == %d" % DECIDED_BY_DATA,
        label="Only the variance map?",
        help="Stop when it is known where the structure varies, before any classes are "
        "made. Small regions are searched all the same; say yes to 'Look for "
        "large changes only?' for a quick look. Say no and continue the run "
        "to get the volumes; what is done already is kept.",
    )
    form.addParam(
        "autoClasses",
        params.BooleanParam,
        default=True,
        condition="method == %d" % DECIDED_BY_DATA,
        label="Let the data decide the number of classes?",
        help="The number of classes is chosen by the Bayesian information criterion "
        "(BIC), and only as many as particles confirm that they were not made "
        "from. Say no to ask for a number of your own.",
    )
    form.addParam(
        "numberOfClasses",
        params.IntParam,
        default=DEFAULT_CLASSES,
        condition="method != %d or not autoClasses" % DECIDED_BY_DATA,
        label=table["classes"]["label"],
        help="How many volumes to make. With the method particles, those that the data "
        "do not support are random subsets, which the summary names.",
    )
    for name in INPUT_TAB:
        _add(form, name)
    form.addSection(label="Reconstructions and components")
    for name in COMPONENTS_TAB:
        if name in SWITCHES:
            _add_switch(form, name)
        _add(form, name)
    form.addParam(
        "keepIntermediate",
        params.BooleanParam,
        default=True,
        expertLevel=params.LEVEL_ADVANCED,
        label="Keep the cropped images?",
        help="With them, continuing this run with other parameters takes seconds to "
        "minutes: the particles are not read again. volume of chosen particles "
        "needs them too. They take a few kilobytes per particle in the run's extra "
        "folder. Say no to delete them at the end.",
    )
    form.addParam(
        "readingJobs",
        params.IntParam,
        default=1,
        expertLevel=params.LEVEL_ADVANCED,
        label="Jobs to read the images",
        help="With a queue that makes each command a job of its own "
        "(QUEUE_FOR_JOBS = Y): so many jobs read the images side by side, each "
        "with as many threads as stand above. For millions of particles, or where "
        "one node reads slowly. If one of them fails, continuing the run reads "
        "that part alone again. The result is the same. Without such a queue the "
        "parts are read one after another.",
    )
    form.addParallelSection(threads=2, mpi=0)


def _add(form, name: str) -> None:
    """Add the parameter of one setting, shown for the methods that use it."""
    info = Settings.fields()[name]
    conditions = []
    if len(info["methods"]) < len(METHODS):
        conditions.append(
            " or ".join("method == %d" % METHODS.index(method) for method in info["methods"])
        )
    if name.startswith("mask_"):
        conditions.append("inputMask is None")
    conditions += _questions(name)
    words = {}
    if conditions:
        words["condition"] = " and ".join("(%s)" % condition for condition in conditions)
    add_setting(form, name, **words)


def switch(name: str) -> str:
    """Scipion's name of the question before an optional pointer: ``useGivenMean``."""
    return camel("use_" + name)


def _questions(name: str) -> List[str]:
    """The questions that have to be answered with yes before a setting counts."""
    before = {
        "given_components": ("given_components",),
        "given_use": ("given_components",),
        "given_mean": ("given_components", "given_mean"),
    }
    return [switch(asked) for asked in before.get(name, ())]


def _add_switch(form, name: str) -> None:
    """Add the question before an optional pointer."""
    label, text = SWITCHES[name]
    before = [question for question in _questions(name) if question != switch(name)]
    methods = Settings.fields()[name]["methods"]
    form.addParam(
        switch(name),
        params.BooleanParam,
        default=False,
        expertLevel=params.LEVEL_ADVANCED,
        condition=" and ".join(
            ["(%s)" % " or ".join("method == %d" % METHODS.index(one) for one in methods), *before]
        ),
        label=label,
        help=text,
    )


def pointed(protocol, name: str) -> Any:
    """What one of `POINTERS` points at; None unless the form's questions make it count."""
    asked = all(getattr(protocol, question).get() for question in _questions(name))
    used = method(protocol) in Settings.fields()[name]["methods"]
    return getattr(protocol, camel(name)).get() if asked and used else None


def unanswered(protocol) -> List[str]:
    """Pointers and their questions that contradict each other, one sentence each.

    The form empties a pointer whose question is answered with no, so only a script can have both.
    """
    table, errors = Settings.fields(), []
    for name, (label, _) in SWITCHES.items():
        if method(protocol) not in table[name]["methods"]:
            continue
        given = getattr(protocol, camel(name)).get()
        counts = all(getattr(protocol, question).get() for question in _questions(name))
        if given is not None and not counts:
            errors.append(
                "%s: %s is set, but '%s' is no: set %s to True, or leave it empty."
                % (table[name]["label"], camel(name), label, switch(name))
            )
        if given is None and counts:
            errors.append(
                "%s is empty: choose it, or answer '%s' with no." % (table[name]["label"], label)
            )
    return errors


def add_setting(form, name: str, **changes: Any) -> None:
    """Add the parameter of one setting, with other words where `changes` gives them."""
    info = Settings.fields()[name]
    default = info["default"]
    words = dict(label=info["label"], help=info["help"], default=default)
    if info["expert"]:
        words["expertLevel"] = params.LEVEL_ADVANCED
    if name in POINTERS:
        words.pop("default")
        words.update(pointerClass=UNFILLED + POINTERS[name], allowsNull=True)
        kind = params.PointerParam
    elif info["choices"]:
        words.update(
            choices=list(info["choices"]),
            default=info["choices"].index(default),
            display=params.EnumParam.DISPLAY_HLIST,
        )
        kind = params.EnumParam
    else:
        kind = {
            bool: params.BooleanParam,
            int: params.IntParam,
            float: params.FloatParam,
            str: params.StringParam,
        }[type(default)]
    words.update(changes)
    form.addParam(camel(name), kind, **words)


def add_volumes_resolution(form) -> None:
    """The resolution that given volumes are brought to."""
    add_setting(
        form,
        "resolution",
        help="All volumes are filtered to this "
        "resolution, which must not be finer than twice each sampling rate, nor "
        "coarser than a sixth of the first volume's box.",
    )


def add_classes(form, condition: str = "True") -> None:
    """The number of classes, or that BIC decides."""
    form.addParam(
        "autoClasses",
        params.BooleanParam,
        default=True,
        condition=condition,
        label="Let the data decide the number of classes?",
        help="The number with the smallest Bayesian information criterion (BIC) of the "
        "Gaussian mixture.",
    )
    form.addParam(
        "numberOfClasses",
        params.IntParam,
        default=DEFAULT_CLASSES,
        condition="not (%s) or not autoClasses" % condition,
        label=Settings.fields()["classes"]["label"],
        help="How many volumes to make.",
    )


def method(protocol) -> str:
    """The method chosen in the form."""
    return METHODS[protocol.method.get()]


def unfit_jobs(protocol, particles: int) -> List[str]:
    """Why the number of jobs that read the images cannot be used; empty when it can."""
    jobs, most = protocol.readingJobs.get(), min(MAX_PARTS, particles)
    if jobs is not None and 1 <= jobs <= most:
        return []
    return [
        "Jobs to read the images is %s: give a number from 1 to %d."
        % ("empty" if jobs is None else shorten(str(jobs)), most)
    ]


def only_variance(protocol) -> bool:
    """Whether the run stops at the variance map."""
    return method(protocol) == METHODS[DECIDED_BY_DATA] and protocol.onlyVariance.get()


def settings(protocol) -> Settings:
    """The engine's settings of a protocol; what its form hides stays at its default.

    Raises
    ------
    InputError
        One sentence on the first value that is out of range.
    """
    values = {}
    for name, info in Settings.fields().items():
        if (
            name in ("mask", "mask_sampling", "classes", "method")
            or method(protocol) not in info["methods"]
        ):
            continue
        if name == "given_use" and pointed(protocol, "given_components") is None:
            continue
        if name in POINTERS:
            if pointed(protocol, name) is not None and (
                pointed(protocol, "given_components") is not None
            ):
                path = map_list(protocol, name)
                values[name] = path if name == "given_mean" else (path,)
            continue
        value = getattr(protocol, camel(name)).get()
        values[name] = info["choices"][value] if info["choices"] else value
    auto = method(protocol) == METHODS[DECIDED_BY_DATA] and protocol.autoClasses.get()
    return Settings(
        method=method(protocol),
        mask=mask_file(protocol),
        mask_sampling=mask_sampling(protocol),
        classes=AUTO if auto else str(protocol.numberOfClasses.get()),
        **values,
    )


def mask_file(protocol) -> str:
    """File of the mask that a form names; none where it names something that is no volume."""
    mask = protocol.inputMask.get()
    return mask.getFileName() or "" if isinstance(mask, Volume) else ""


def mask_sampling(protocol) -> float:
    """Sampling rate of that mask in Scipion, whatever its header says; 0 where it has none."""
    mask = protocol.inputMask.get()
    return float(mask.getSamplingRate() or 0) if isinstance(mask, Volume) else 0.0


def map_list(protocol, name: str) -> str:
    """File that lists the maps of a pointer among `POINTERS` for the engine."""
    return protocol._getExtraPath(name + ".txt")


def options(values: Settings, names: Sequence[str] = ()) -> List[Any]:
    """Words of the engine's command line for these settings, or for those of these names."""
    words: List[Any] = []
    known = values.as_dict()
    for name in names or known:
        value = known[name]
        if isinstance(value, bool):
            words += ["--" + name.replace("_", "-")] if value else []
        elif value not in ("", ()):
            words += [
                "--" + name.replace("_", "-"),
                *(value if isinstance(value, (tuple, list)) else [value]),
            ]
    return words
