"""What to do next with the volumes, in words and in values to set."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, List, Tuple

from pcainit.output.plots import Result

Values = List[Tuple[str, str]]
_MASK = "the same as here, or components/mask.mrc"
_UNTESTED = (
    "Give %s to a 3D classification without alignment. Whether the particles differ by "
    "more than noise was not tested here: pca initial volumes (pcainit run) does, with "
    "the method particles."
)


def opening(result: Result) -> str:
    """One or two sentences that follow from the verdict."""
    summary = result.summary
    spare = [k + 1 for k in range(result.n_classes) if result.spare[k]]
    if summary.get("significant_components") == 0:
        text = (
            "Nothing beyond noise was found, so one class is the honest choice. To look "
            "further, give a focus mask around a suspected place, use more particles, or try "
            "another resolution."
        )
        if result.n_classes > 1:
            text += (
                " The volumes are there all the same: do not read their differences as structure."
            )
        return text
    if spare:
        several = len(spare) > 1
        return (
            "The data support %d classes. Volume%s %s show%s no state but %s: leave %s out, or "
            "keep %s as spare reference%s."
            % (
                result.n_classes - len(spare),
                "s" if several else "",
                _listed(spare),
                "" if several else "s",
                "random subsets" if several else "a random subset",
                *(("them", "them", "s") if several else ("it", "it", "")),
            )
        )
    if summary.get("method") not in (None, "particles"):
        return _UNTESTED % (
            ("all %d volumes" % result.n_classes if result.n_classes > 1 else "the volume"),
        )
    if result.n_classes == 1:
        return (
            "One class explains the particles best. To look further, give a focus mask around "
            "a suspected place, use more particles, or try another resolution."
        )
    return (
        "Give all %d volumes to a 3D classification without alignment, with these values."
        % result.n_classes
    )


def relion(result: Result) -> Values:
    """Fields of RELION's Class3D and what to set them to."""
    parameters = _parameters(result)
    # Volumes from elsewhere may be on any scale.
    known = result.summary.get("method") != "volumes"
    greyscale = "Yes" if known and not parameters.get("no_ctf") else "No"
    return [
        (
            "Reference map",
            "a STAR file that lists the %d volumes (below)" % result.n_classes
            if result.n_classes > 1
            else "volumes/class_001.mrc",
        ),
        ("Ref. map is on absolute greyscale?", greyscale),
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
            "Input volume(s): outputVolumes; the values of RELION apply",
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


def resolution(result: Result) -> str:
    """Resolution of the volumes, Angstrom."""
    value = result.summary.get("resolution") or _parameters(result).get("resolution")
    return "%g" % value if isinstance(value, (int, float)) else "?"


def _parameters(result: Result) -> dict[str, Any]:
    return result.summary.get("parameters") or {}


def _listed(numbers: list[int]) -> str:
    words = [str(number) for number in numbers]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
