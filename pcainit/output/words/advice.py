"""What to do next with the volumes, in words and in values to set."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, List, Tuple

from pcainit.output.plots import Result
from pcainit.output.words.headline import is_null, next_step

Values = List[Tuple[str, str]]
_MASK = "the same as here, or components/mask.mrc"


def opening(result: Result) -> str:
    """One or two sentences that follow from what was found."""
    return next_step(dict(result.summary, classes=result.n_classes, copies=result.spare.tolist()))


def cards(result: Result) -> list[tuple[str, Values]]:
    """What to set where, program by program: of a refinement where nothing varies."""
    if is_null(result.summary):
        return [
            ("RELION, 3D auto-refine", _relion_refinement(result)),
            ("cryoSPARC, refinement", _cryosparc_refinement(result)),
            ("Scipion", _SCIPION_REFINEMENT),
        ]
    return [
        ("RELION, Class3D", relion(result)),
        ("cryoSPARC, 3D Classification", cryosparc(result)),
        ("Scipion", scipion(result)),
    ]


def relion(result: Result) -> Values:
    """Fields of RELION's Class3D and what to set them to."""
    return [
        (
            "Reference map",
            "a STAR file that lists the %d volumes (below)" % result.n_classes
            if result.n_classes > 1
            else "volumes/class_001.mrc",
        ),
        ("Ref. map is on absolute greyscale?", _greyscale(result)),
        (
            "Initial low-pass filter (Å)",
            "%s   (the default of 60 would wipe the differences out)" % resolution(result),
        ),
        ("Number of classes", str(result.n_classes)),
        ("Regularisation parameter T", "4"),
        (
            "Limit resolution E-step to (Å)",
            "%s   (without, small classes are lost to large "
            "ones, whose maps are finer)" % resolution(result),
        ),
        ("Perform image alignment?", "No"),
        (
            "In RELION 3.1",
            "say that the reference has been CTF-corrected "
            "(--ctf_corrected_ref); newer ones take it for granted",
        ),
        ("Reference mask", _MASK),
        (
            "Input images",
            "your own particle file"
            if result.labels is None
            else "particles.star, or your own particle file",
        ),
    ]


def cryosparc(result: Result) -> Values:
    """Fields of cryoSPARC's 3D Classification and what to set them to."""
    return [
        (
            "Initial volumes",
            "import the %d volume%s and connect %s"
            % (result.n_classes, *(("s", "them all") if result.n_classes > 1 else ("", "it"))),
        ),
        ("Initialization mode", "input"),
        ("Number of classes", str(result.n_classes)),
        ("Init structure lowpass resolution (Å)", resolution(result)),
        ("Solvent and focus masks", _MASK),
    ]


def scipion(result: Result) -> Values:
    """Outputs of the Scipion protocol and where they go."""
    values = [
        (
            "relion - 3D classification",
            "Input volume(s): outputVolumes; Consider previous alignment?: Yes, without which it "
            "refuses to run; the values of RELION apply",
        ),
        ("cryosparc - 3D classification", "Add the volumes one by one; initialisation mode: input"),
    ]
    if result.labels is not None:
        values.append(
            (
                "To look closer",
                "Analyze results of this protocol: select particles in "
                "the scatter and make a subset of them",
            )
        )
    return values


def references_star(result: Result) -> str:
    """RELION's list of several references."""
    paths = [
        str(result.folder / "volumes" / ("class_%03d.mrc" % (k + 1)))
        for k in range(result.n_classes)
    ]
    return "data_\n\nloop_\n_rlnReferenceImage #1\n%s\n" % "\n".join(paths)


def relion_command(result: Result) -> str:
    """One command line for the same classification, started where the results are."""
    values = [
        "relion_refine --i particles.star --o Class3D/run --ref %s"
        % ("references.star" if result.n_classes > 1 else "volumes/class_001.mrc"),
        "--K %d --tau2_fudge 4 --iter 25 --skip_align" % result.n_classes,
        "--ini_high %s --strict_highres_exp %s" % ((resolution(result),) * 2),
        "--ctf --norm --scale --flatten_solvent --zero_mask",
        "--solvent_mask components/mask.mrc",
    ]
    if _greyscale(result) == "No":
        values.append("--firstiter_cc")
    particles = _parameters(result).get("symmetry") or "c1"
    return " ".join([*values, "--sym %s" % str(particles).upper(), "--pad 2 --j 4"])


def resolution(result: Result) -> str:
    """Resolution of the volumes, Angstrom."""
    value = result.summary.get("resolution") or _parameters(result).get("resolution")
    return "%g" % value if isinstance(value, (int, float)) else "?"


def _parameters(result: Result) -> dict[str, Any]:
    return result.summary.get("parameters") or {}


def _relion_refinement(result: Result) -> Values:
    return [
        ("Input images", "your own particle file"),
        ("Reference map", "components/mean.mrc"),
        ("Ref. map is on absolute greyscale?", _greyscale(result)),
        ("Initial low-pass filter (Å)", resolution(result)),
        ("Reference mask", "of the whole particle, or none"),
        ("Local angular searches", "from 1.8 degrees on, as the particles have poses already"),
    ]


def _cryosparc_refinement(result: Result) -> Values:
    return [
        ("Job", "Homogeneous Refinement or Non-uniform Refinement"),
        ("Particles", "all of them, in one stack"),
        ("Initial volume", "components/mean.mrc, or the map that gave the poses"),
        ("Initial lowpass resolution (Å)", resolution(result)),
    ]


_SCIPION_REFINEMENT: Values = [
    (
        "relion - 3D auto-refine",
        "Input particles: the same as here; Consider previous alignment?: Yes",
    ),
    ("cryosparc - 3D non-uniform refinement", "Input particles: the same as here"),
    (
        "To look closer before that",
        "the variance map (outputVarianceMap) shows that nothing stands out",
    ),
]


def _greyscale(result: Result) -> str:
    """Whether the volumes are on the scale that RELION's particles have."""
    # Volumes from elsewhere may be on any scale.
    known = result.summary.get("method") != "volumes"
    return "Yes" if known and not _parameters(result).get("no_ctf") else "No"
