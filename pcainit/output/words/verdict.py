"""What was found, in words."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from typing import Any, Sequence

import numpy as np

from pcainit.engine.components.rules import RULES
from pcainit.settings import FIXED

MAX_LISTED = 12  # figures that are written out


def write_verdict(summary: dict[str, Any]) -> str:
    """The verdict on a run from its summary (without one).

    Parameters
    ----------
    summary : dict
        As for ``summary.json``.

    Returns
    -------
    str
        Some sentences a user can act on.
    """
    if summary["method"] != "particles":
        sentences = [_batch_sentence(summary)]
    elif _taken(summary):
        sentences = [*_at_their_word(summary), *_classes(summary)]
    elif not summary["significant_components"]:
        sentences = [*_nothing_found(summary), *_started(summary), *_places(summary)]
    else:
        sentences = _something_found(summary)
    if summary["method"] == "particles":
        if summary["artefacts"]:
            sentences.append(
                "%s left out: reproducible, but like contrast or pose errors."
                % _count(summary["artefacts"], "further component")
            )
        sentences += _surroundings(summary) + _detectable(summary) + _quality(summary)
    return " ".join([*sentences, *_left_out(summary)])


def write_look(summary: dict[str, Any]) -> str:
    """The verdict on components alone, before any classes are made."""
    if _taken(summary):
        return " ".join(
            [
                *_at_their_word(summary),
                "The variance map shows how far the particles vary along them.",
            ]
        )
    if not summary["significant_components"]:
        sentences = [
            *_nothing_found(dict(summary, classes=1)),
            *_started(summary),
            "The variance map is empty.",
        ]
    else:
        sentences = [
            _reproducible(summary),
            *_started(summary),
            *_places(summary),
            "The variance map is made of what is reproducible.",
        ]
    if not summary["regions_tried"]:
        sentences.append("Small regions were not searched.")
    return " ".join([*sentences, *_left_out(summary)])


def _left_out(summary: dict[str, Any]) -> list[str]:
    """Images that no result is made from, and what is unusual about the others."""
    sentences = [
        "%s left out." % _count(summary[kind + "_images"], kind + " image")
        for kind in ("constant", "saturated", "masked")
        if summary.get(kind + "_images")
    ]
    if summary.get("half_sets_redrawn"):
        sentences.append(
            "Without them one of the given half-sets is much larger than the other: "
            "the particles were shared out anew, at random."
        )
    return [*sentences, *summary.get("warnings", [])]


def _reproducible(summary: dict[str, Any]) -> str:
    count, total = summary["significant_components"], len(summary["eigenvalues"])
    cosines = ", ".join("%.2f" % c for c in summary["half_set_cosines"][:count])
    return (
        "%d of %d components %s reproducible between half-sets (cosine%s %s; noise gives up "
        "to %.2f%s)."
        % (
            count,
            total,
            "is" if count == 1 else "are",
            "" if count == 1 else "s",
            cosines,
            summary["null_cosine"],
            " in the whole mask" if summary.get("changing_places") else "",
        )
    )


def _batch_sentence(summary: dict[str, Any]) -> str:
    pairs = np.asarray(summary["pairwise_differences"], float)
    return (
        "The %d volumes are averages of random batches and differ by at most %.1f times their "
        "noise. This method does not test whether the particles are heterogeneous: use the "
        "method particles for that." % (summary["classes"], pairs.max() if pairs.size else 0)
    )


def _nothing_found(summary: dict[str, Any]) -> list[str]:
    cosines = summary["half_set_cosines"]
    sentences = [
        "No heterogeneity beyond noise at %g A: use one class." % summary["resolution"],
        "No component is reproducible between half-sets and confirmed by held-out "
        "particles (largest cosine %.2f; noise gives up to %.2f)."
        % (max(cosines) if cosines else 0, summary["null_cosine"] or 0),
    ]
    if summary["classes"] > 1:
        sentences.append(
            "The %d volumes asked for are reconstructions of random subsets and show "
            "no states." % summary["classes"]
        )
    return sentences


def _something_found(summary: dict[str, Any]) -> list[str]:
    return [_reproducible(summary), *_started(summary), *_places(summary), *_classes(summary)]


def _classes(summary: dict[str, Any]) -> list[str]:
    count, sentences = summary["significant_components"] or len(summary["eigenvalues"]), []
    copies = np.asarray(summary["copies"], bool)
    weights = np.asarray(summary["class_weights"], float)
    real = weights[~copies] if len(copies) == len(weights) else weights
    shares = ", ".join("%.3g" % (100 * w) for w in real)
    supported = summary.get("supported_classes") or len(real)
    if supported == 1:
        sentences.append(
            "The particles spread along %s without separate classes%s."
            % (
                "it" if count == 1 else "them",
                ""
                if len(real) <= 1
                else ": the %d volumes are points along component 1 (%s %%)" % (len(real), shares),
            )
        )
    else:
        sentences.append("%d classes (%s %%)." % (len(real), shares))
    extra = int(copies.sum())
    if extra:
        names = ", ".join(str(k + 1) for k in np.flatnonzero(copies))
        sentences.append(
            "More classes were asked for than the data support: volume%s %s %s no "
            "state but %s."
            % (
                "s" if extra > 1 else "",
                names,
                "show" if extra > 1 else "shows",
                "random subsets" if extra > 1 else "a random subset",
            )
        )
    if supported > len(real):
        sentences.append("The data support %d classes: %s." % (supported, _merged(summary)))
    return sentences


def _taken(summary: dict[str, Any]) -> bool:
    """Whether given components were taken at their word."""
    return bool(summary.get("given")) and summary["given"]["use"] == FIXED


def _at_their_word(summary: dict[str, Any]) -> list[str]:
    """What the particles say of components that were not tested."""
    given = summary["given"]
    count = len(given["files"])
    names = [os.path.basename(path) for path in given["files"]]
    scores = ", ".join("%s %.1f" % pair for pair in zip(names, given["score"]))
    sentences = [
        "The given component%s taken at %s word: no half-set test was made."
        % (("s were", "their") if count > 1 else (" was", "its")),
        "The particles vary along %s by so many standard deviations more than noise would: %s "
        "(over 5 is clear). This is evidence only if other particles gave the component%s: noise "
        "that was fitted to the same particles scores high too%s."
        % (
            "each" if count > 1 else "it",
            scores,
            "s" if count > 1 else "",
            " and is cut into classes of its own" if summary.get("classes", 1) > 1 else "",
        ),
    ]
    alike = [name for name, share in zip(names, given["nuisance"]) if share > RULES.max_nuisance]
    if alike:
        sentences.append(
            "%s look%s like contrast or pose errors."
            % (_listed(alike), "s" if len(alike) == 1 else "")
        )
    return sentences


def _started(summary: dict[str, Any]) -> list[str]:
    """What became of components that the search started from."""
    given = summary.get("given")
    if not given:
        return []
    names = [os.path.basename(path) for path in given["files"]]
    several = "s" if len(names) > 1 else ""
    if not summary["significant_components"]:
        return [
            "The search started from the given component%s and did not confirm %s."
            % (several, "them" if several else "it")
        ]
    return [
        "Both half-sets started from the given component%s (cosine with what was found: %s). "
        "If %s made from these same particles, run once without: only what is found then too "
        "is independent."
        % (
            several,
            ", ".join("%s %.2f" % pair for pair in zip(names, given["found"])),
            "they were" if several else "it was",
        )
    ]


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _places(summary: dict[str, Any]) -> list[str]:
    """What the search of small regions has found."""
    tried, found = summary.get("regions_tried", 0), summary.get("changing_places", [])
    if not tried or not found:
        return []
    where = "; ".join(
        "%.0f A around (%.0f, %.0f, %.0f)" % (p["radius"], p["x"], p["y"], p["z"]) for p in found
    )
    return [
        "A search of %d small regions found %s that change%s (%s; Angstrom from the box's "
        "centre)."
        % (tried, _count(len(found), "further place"), "s" if len(found) == 1 else "", where)
    ]


def _surroundings(summary: dict[str, Any]) -> list[str]:
    """What scrambled residuals have shown of backgrounds and neighbours."""
    found, sentences = summary.get("surroundings"), []
    if not found:
        return []
    if found["components"]:
        sentences.append(
            "%s left out: residuals exchanged between particles have %s too, so "
            "backgrounds or neighbours make %s."
            % (
                (_count(found["components"], "reproducible component"),)
                + (("it",) * 2 if found["components"] == 1 else ("them",) * 2)
            )
        )
    if summary.get("regions_tried") and found["region_score"]:
        sentences.append(
            "The same search on scrambled residuals scores up to %.1f." % found["region_score"]
        )
    if found["mask_grown"]:
        sentences.append("What varies goes on outside the automatic mask, which was extended.")
    return sentences


def _detectable(summary: dict[str, Any]) -> list[str]:
    """How small a change would have been found."""
    power = summary.get("power") or {}
    tried = [size for size in power.get("long") or [] if size["tried"]]
    if tried:
        return [_tried(size) for size in tried]
    sizes = power.get("short") or []
    seen = [size for size in sizes if size["share"] is not None]
    sentences = []
    if seen:
        larger = seen[len(seen) // 2]
        text = (
            "A %g kDa domain that comes and goes within the mask would be found in 8 of 10 "
            "cases from a share of about %s on" % (larger["kda"], _percent(larger["share"]))
        )
        if larger is not seen[0]:
            text += "; %g kDa from %s" % (seen[0]["kda"], _percent(seen[0]["share"]))
        sentences.append(text + ".")
    unseen = [size["kda"] for size in sizes if size["share"] is None]
    if unseen:
        sentences.append(
            "A %g kDa domain would not be found in these particles at any share." % max(unseen)
        )
    return sentences


def _tried(size: dict[str, Any]) -> str:
    """What the search found of domains that were added to the particles."""
    counts = ", ".join(
        "%d at %s" % (found, _percent(share)) for found, share in zip(size["found"], size["shares"])
    )
    text = "A %g kDa domain was added to these particles at %s; found: %s." % (
        size["kda"],
        _count(size["tried"], "place"),
        counts,
    )
    if size["share"] is None:
        return text
    return text[:-1] + "; 8 of 10 cases from a share of about %s on." % _percent(size["share"])


def _percent(share: float) -> str:
    return "%.2g %%" % (100 * share)


def _merged(summary: dict[str, Any]) -> str:
    """Which of the classes that the data support share a volume."""
    weights = 100 * np.asarray(summary["supported_weights"], float)
    into = np.asarray(summary["merged_into"], int)
    groups = [weights[into == k] for k in np.unique(into)]
    return (
        "; ".join(
            "those of %s %% are merged" % " and ".join("%.3g" % w for w in group)
            for group in groups
            if len(group) > 1
        )
        or "ask for more to see them all"
    )


def _quality(summary: dict[str, Any]) -> list[str]:
    nuisance = summary["nuisance"]
    if not nuisance:
        return []
    told = [
        "%.1f %s" % (nuisance[name], unit)
        for name, unit in (("rotation_deg", "degrees"), ("shift_px", "pixels"))
        if nuisance.get(name.split("_")[0] + "_told", True)
    ]
    unknown = [word for word in ("rotation", "shift") if not nuisance.get(word + "_told", True)]
    text = "Contrast varies by %.0f %%" % (100 * nuisance["contrast_sd"])
    if told:
        text += "; pose errors are about %s per axis" % " and ".join(told)
    text += "."
    if unknown:
        text += (
            " Errors of the %s cannot be told: these poses were refined on the same images "
            "and fit their noise." % " and ".join(word + "s" for word in unknown)
        )
    junk = int(round(nuisance["junk_share"] * summary["particles"]))
    if junk:
        text += " %s (%.1f %%) %s like junk and %s set aside, listed in junk.txt." % (
            _count(junk, "particle"),
            100 * nuisance["junk_share"],
            "looks" if junk == 1 else "look",
            "was" if junk == 1 else "were",
        )
    return [text]


def listed_figures(values: Sequence[float]) -> str:
    """Figures of two digits, or their range where they are many."""
    words = ["%.2f" % (round(float(value), 2) + 0.0) for value in values]  # no -0
    if len(words) <= MAX_LISTED:
        return " ".join(words)
    return "%.2f to %.2f (%d)" % (min(values), max(values), len(words))


def _count(number: int, noun: str) -> str:
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")
