"""What a biologist wants to read first: what was found, how certain it is, what to do next.

Every function works on ``summary.json`` alone, so that report, command line and Scipion say the
same; what a summary lacks costs a sentence, never an error.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Mapping, Sequence

from pcainit.settings import FIXED

Summary = Mapping[str, Any]

RESIDUE = 0.11  # kDa, the mean over proteins
CLEAR, FAIR = 0.8, 0.5  # agreement of the weakest component between half-sets
_LISTED = 6  # shares that are written out


def opening_lines(summary: Summary) -> list[str]:
    """Headline, certainty, what to do next, and what would have been seen: one line each.

    Parameters
    ----------
    summary : dict
        Content of ``summary.json``, of any route.

    Returns
    -------
    list of str
    """
    lines = (write_headline(summary), certainty(summary), next_step(summary), sensitivity(summary))
    return [line for line in lines if line]


def write_headline(summary: Summary) -> str:
    """The result in one short line, for instance "3 states: 50, 30 and 20 %"."""
    method, count = summary.get("method"), _classes(summary)
    shares = _shares(summary)
    if method == "variance":
        found = summary.get("significant_components")
        if found or is_given(summary):
            return "The structure varies%s" % _at(summary)
        return _nothing(summary)
    if method == "volumes":
        return "%s among %s volumes%s" % (
            _count(count, "group"),
            summary.get("input_volumes", "the"),
            shares,
        )
    if method == "latents":
        along = (summary.get("parameters") or {}).get("along")
        if along:
            return "%s along coordinate %d%s" % (_count(count, "volume"), along, shares)
        return "%s in the given coordinates%s" % (_count(count, "class", "classes"), shares)
    if method in ("batches", "simple"):
        return "%s of random particles, not tested for heterogeneity" % _count(count, "volume")
    if is_given(summary):
        return "%s along the given components%s" % (_count(count, "class", "classes"), shares)
    if is_null(summary):
        return _nothing(summary)
    if summary.get("significant_components") is None or not count:
        return ""
    real = count - len(spare_classes(summary))
    supported = summary.get("supported_classes") or real
    if supported == 1:
        if real > 1:
            return "A continuous change, shown in %d steps" % real
        return "A continuous change, without separate states"
    if supported > real:
        return "%d states, shown in %s%s" % (supported, _count(real, "volume"), shares)
    return "%s%s" % (_count(real, "state"), shares)


def certainty(summary: Summary) -> str:
    """How far the headline can be trusted, in one sentence."""
    method = summary.get("method")
    if method == "volumes":
        return "Whether they show states or noise cannot be told from the volumes alone."
    if method == "latents":
        return (
            "Not tested: whether the coordinates show structure is for the program that made "
            "them to say."
        )
    if method in ("batches", "simple"):
        return "Not tested: volumes of random particles differ by noise even where all are alike."
    if is_given(summary):
        return "Not tested: the given components were taken at their word."
    if is_null(summary):
        return (
            "Two halves of the particles, analysed apart, have no change in common: what differs "
            "between particles is noise, or too small or too rare to be seen."
        )
    cosines = agreement(summary)
    if not cosines:
        return ""
    weakest = min(cosines)
    if weakest >= CLEAR:
        how = "show the same changes: the evidence is strong"
    elif weakest >= FAIR:
        how = "show the same changes, the weakest of them blurred: the evidence is fair"
    else:
        how = (
            "share these changes, the weakest of them only in part: look at its volumes before "
            "you build on it"
        )
    return "Two halves of the particles, analysed apart, %s." % how


def next_step(summary: Summary) -> str:
    """What to do with the result, in one or two sentences."""
    method, count, spare = summary.get("method"), _classes(summary), spare_classes(summary)
    if method == "variance":
        if is_null(summary):
            return _REFINE
        return (
            "Make initial volumes of the same particles (pca initial volumes, pcainit run), or "
            "draw a focus mask around what varies."
        )
    if is_null(summary):
        more = ""
        if count > 1:
            more = (
                " The %d volumes asked for are there all the same: do not read their "
                "differences as structure." % count
            )
        return _REFINE + more
    if spare:
        several = len(spare) > 1
        return (
            "The data support %s. Volume%s %s show%s no state but %s: leave %s out, or keep %s as "
            "spare reference%s."
            % (
                _count(count - len(spare), "class", "classes"),
                "s" if several else "",
                listed([str(k) for k in spare]),
                "" if several else "s",
                "random subsets" if several else "a random subset",
                *(("them", "them", "s") if several else ("it", "it", "")),
            )
        )
    if method not in (None, "particles"):
        return _UNTESTED % ("all %d volumes" % count if count > 1 else "the volume")
    if count == 1:
        return (
            "The particles vary without falling into classes: refine them with one reference, and "
            "classify with a focus mask around what varies, or ask for more classes to see the "
            "change step by step."
        )
    if not count:
        return ""
    return "Give all %d volumes to a 3D classification without alignment." % count


def sensitivity(summary: Summary) -> str:
    """How small and how rare a change would have been noticed, in sizes that people know.

    From `power` in the summary, where it is; sizes in kDa, the first also in residues.
    """
    power = summary.get("power") or {}
    tried = [size for size in power.get("long") or [] if size.get("tried")]
    if tried and tried[0]["share"] is not None:
        first = tried[0]
        return (
            "Tried on these particles: a part of %s that only some of them have was found from "
            "a share of about %s on." % (mass(first["kda"]), percent(first["share"]))
        )
    sizes = power.get("short") or []
    seen = [size for size in sizes if size["share"] is not None]
    unseen = [size["kda"] for size in sizes if size["share"] is None]
    words = []
    if seen:
        larger = seen[len(seen) // 2]
        text = (
            "A part of %s that only some particles have would be noticed once about %s of them "
            "have it" % (mass(larger["kda"]), percent(larger["share"]))
        )
        if larger is not seen[0]:
            text += "; one of %g kDa, once about %s do" % (
                seen[0]["kda"],
                percent(seen[0]["share"]),
            )
        words.append(text + ".")
    if unseen:
        words.append("Parts of %g kDa or less would go unnoticed." % max(unseen))
    return " ".join(words)


def mass(kda: float) -> str:
    """A mass with the length of chain that it stands for: 60 kDa (about 550 residues)."""
    residues = kda / RESIDUE
    step = 10 if residues >= 100 else 5
    return "%g kDa (about %d residues)" % (kda, max(step, round(residues / step) * step))


def agreement(summary: Summary) -> list[float]:
    """Cosines between half-sets of the components that were found to be real."""
    cosines = summary.get("half_set_cosines") or []
    real = list(cosines)[: summary.get("significant_components") or 0]
    return [float(value) for value in real if value is not None]


def is_given(summary: Summary) -> bool:
    """Whether given components were taken at their word."""
    return (summary.get("given") or {}).get("use") == FIXED


def is_null(summary: Summary) -> bool:
    """Whether nothing beyond noise was found where it was looked for."""
    if is_given(summary) or summary.get("method") not in (None, "particles", "variance"):
        return False
    return summary.get("significant_components") == 0


def spare_classes(summary: Summary) -> list[int]:
    """Numbers, from 1, of the volumes that show no state but a random subset."""
    return [k + 1 for k, copy in enumerate(summary.get("copies") or []) if copy]


def listed(words: Sequence[str]) -> str:
    """Words in a row: a, b and c."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def percent(share: float) -> str:
    """A share for people: 50 %, 5.2 %, 0.3 %."""
    return _figure(share) + " %"


def _figure(share: float) -> str:
    value = 100 * float(share)
    return "%.0f" % value if value >= 9.95 else "%.2g" % value


def _shares(summary: Summary) -> str:
    """Shares of the classes that are states, largest first, after a colon."""
    weights, spare = list(summary.get("class_weights") or []), spare_classes(summary)
    real = sorted((float(w) for k, w in enumerate(weights) if k + 1 not in spare), reverse=True)
    if len(real) < 2:
        return ""
    if len(real) > _LISTED:
        return ", of %s to %s" % (percent(real[0]), percent(real[-1]))
    return ": %s %%" % listed([_figure(w) for w in real])


def _classes(summary: Summary) -> int:
    return int(summary.get("classes") or len(summary.get("class_weights") or []))


def _at(summary: Summary) -> str:
    resolution = summary.get("resolution")
    return " at %g Å" % resolution if isinstance(resolution, (int, float)) else ""


def _nothing(summary: Summary) -> str:
    return "No heterogeneity beyond noise%s" % _at(summary)


def _count(number: int, noun: str, several: str = "") -> str:
    return "%d %s" % (number, noun if number == 1 else several or noun + "s")


_REFINE = (
    "Refine all particles together with one reference; there is nothing here for a 3D "
    "classification to tell apart. If you expect a change, look again with a focus mask around "
    "its place, or with more particles."
)
_UNTESTED = (
    "Give %s to a 3D classification without alignment. Whether the particles differ by "
    "more than noise was not tested here: pca initial volumes (pcainit run) does, with "
    "the method particles."
)
