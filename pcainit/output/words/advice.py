"""What to do next with the volumes, in words and in values to set."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shlex
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
            "a STAR file that lists the %d volumes (below, ready to paste)" % result.n_classes
            if result.n_classes > 1
            else "volumes/class_001.mrc",
        ),
        ("Ref. map is on absolute greyscale?", "Yes" if absolute_greyscale(result) else "No"),
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


def absolute_greyscale(result: Result) -> bool:
    """Whether the volumes have the images' own greyscale, as RELION asks.

    Volumes from elsewhere may be on any scale, and so are all without correction of the CTF.
    """
    known = result.summary.get("method") != "volumes"
    return known and not _parameters(result).get("no_ctf")


def relion_command(result: Result) -> str:
    """RELION's classification, to be pasted into a terminal.

    For the folder that the images' paths start from; all that RELION needs is made there.
    """
    value, folder = resolution(result), shlex.quote(str(result.folder))
    several = result.n_classes > 1
    list_it = "cat > class3d/references.star <<END\n%sEND\n" % references_star(result)
    words = [
        "relion_refine",
        "--i %s/particles.star" % folder if result.labels is not None else "--i particles.star",
        "--o class3d/run",
        "--ref class3d/references.star" if several else "--ref %s/volumes/class_001.mrc" % folder,
        "--K %d" % result.n_classes,
        "--ini_high %s" % value,
        "--strict_highres_exp %s" % value,
        *(() if absolute_greyscale(result) else ("--firstiter_cc",)),
        "--tau2_fudge 4",
        "--iter 25",
        "--skip_align",
        "--sym %s" % _parameters(result).get("symmetry", "c1"),
        "--flatten_solvent --zero_mask --norm --scale",
        "--oversampling 1 --pad 2 --dont_combine_weights_via_disc",
        "--ctf" if not _parameters(result).get("no_ctf") else "",
        "--j 2",
    ]
    command = " ".join(filter(None, words))
    return "mkdir -p class3d\n%s%s" % (list_it if several else "", command)


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
    filtered = resolution(result)
    values = [
        (
            "relion - 3D classification",
            "Input volume(s): outputVolumes; its other fields, by the names that they have there:",
        ),
        ("Consider previous alignment?", "Yes   (it is refused without)"),
        ("Is initial 3D map on absolute greyscale?", "Yes" if absolute_greyscale(result) else "No"),
        ("Initial low-pass filter (A)", filtered),
        ("Number of classes:", "%d, or 1: it takes one for each volume" % result.n_classes),
        ("Reference mask (optional)", "outputMask, or your own"),
        ("Limit resolution E-step to (A)", filtered),
        ("Perform image alignment?", "No"),
        ("Use GPU acceleration?", "No   (without alignment RELION cannot)"),
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
        ("Ref. map is on absolute greyscale?", "Yes" if absolute_greyscale(result) else "No"),
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
