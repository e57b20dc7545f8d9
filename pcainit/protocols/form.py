"""The protocol's form, made from the table of parameters in `pcainit.settings`.

Labels, defaults, help texts and conditions come from that table; only the arrangement in tabs
and what Scipion adds (pointers, threads) is decided here.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any, List

from pwem.objects import Volume
from pyworkflow.protocol import params

from pcainit.errors import shorten
from pcainit.pipeline.stage_order import MAX_PARTS
from pcainit.settings import AUTO, METHODS, Settings

INPUT_TAB = ("no_ctf", "invert_contrast", "normalise")
COMPONENTS_TAB = (
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
        pointerClass="VolumeMask",
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
        "made. Small regions are searched all the same; say yes to 'Skip the "
        "search for small changes?' for a quick look. Say no and continue the run "
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
        _add(form, name)
    form.addParam(
        "keepIntermediate",
        params.BooleanParam,
        default=True,
        expertLevel=params.LEVEL_ADVANCED,
        label="Keep the cropped images?",
        help="With them, continuing this run with other parameters takes seconds to "
        "minutes: the particles are not read again. pca volume of chosen particles "
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
    if name in ("given_use", "given_mean"):
        conditions.append("givenComponents is not None")
    words = {}
    if conditions:
        words["condition"] = " and ".join("(%s)" % condition for condition in conditions)
    add_setting(form, name, **words)


def add_setting(form, name: str, **changes: Any) -> None:
    """Add the parameter of one setting, with other words where `changes` gives them."""
    info = Settings.fields()[name]
    default = info["default"]
    words = dict(label=info["label"], help=info["help"], default=default)
    if info["expert"]:
        words["expertLevel"] = params.LEVEL_ADVANCED
    if name in POINTERS:
        words.pop("default")
        words.update(pointerClass=POINTERS[name], allowsNull=True)
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
        if name == "given_use" and protocol.givenComponents.get() is None:
            continue
        value = getattr(protocol, camel(name)).get()
        if name in POINTERS:
            if value is not None and protocol.givenComponents.get() is not None:
                path = map_list(protocol, name)
                values[name] = path if name == "given_mean" else (path,)
        else:
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


def options(values: Settings) -> List[Any]:
    """Words of the engine's command line for these settings."""
    words: List[Any] = []
    for name, value in values.as_dict().items():
        if isinstance(value, bool):
            words += ["--" + name.replace("_", "-")] if value else []
        elif value not in ("", ()):
            words += [
                "--" + name.replace("_", "-"),
                *(value if isinstance(value, (tuple, list)) else [value]),
            ]
    return words
