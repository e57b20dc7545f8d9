"""What a finished run says about itself: summary, methods paragraph, references."""

# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any, Dict, List

from pcainit.output.words.headline import opening_lines
from pcainit.settings import FIXED

CITATIONS = {
    "particles": ["Penczek2011", "Punjani2021", "Bovy2011"],
    "batches": ["Punjani2017", "Penczek2011", "Pedregosa2011"],
    "simple": ["Punjani2017"],
}


def summary(run: Dict[str, Any]) -> List[str]:
    """Lines for the protocol's summary from ``summary.json``, as much as there is of it."""
    if not run:
        return ["The volumes are not ready yet."]
    parameters = run.get("parameters") or {}
    first, *more = [line for line in opening_lines(run) if line] or [""]
    lines = ["*%s*" % first, *more] if first else []
    lines += [run["verdict"]] if run.get("verdict") else []
    weights = run.get("class_weights") or []
    if weights:
        line = "%d volumes at %s Å from %s particles" % (
            len(weights),
            _number(parameters.get("resolution")),
            run.get("particles", "?"),
        )
        if run.get("method") in ("particles", "batches"):
            line += "; shares of the particles: %s" % _percentages(weights)
        lines.append(line)
    cosines = [value for value in run.get("half_set_cosines") or [] if value is not None]
    if cosines:
        lines.append(
            "Agreement of the components between half-sets: %s (1: the same, 0: noise)"
            % " ".join("%.2f" % value for value in cosines)
        )
    lines += _nuisance(run.get("nuisance"))
    seconds = run.get("seconds") or {}
    if seconds:
        lines.append(
            "Method %s, working box %s pixels, %s"
            % (run.get("method", "?"), run.get("working_box", "?"), _duration(_total(seconds)))
        )
    return lines


def _nuisance(nuisance: Any) -> List[str]:
    """One line on the quality of the data, from what the particle method estimates."""
    if not isinstance(nuisance, dict):
        return []
    texts = (
        ("contrast_sd", "contrast varies by %.0f %%", 100),
        ("shift_px", "shifts by %.2f pixels", 1),
        ("rotation_deg", "orientations by %.1f degrees", 1),
        ("junk_share", "%.1f %% of the images look like junk", 100),
    )
    words = [
        text % (factor * nuisance[key])
        for key, text, factor in texts
        if isinstance(nuisance.get(key), (int, float))
        and nuisance.get(key.split("_")[0] + "_told", True)
    ]
    return ["Quality of the particles: " + ", ".join(words)] if words else []


def methods(run: Dict[str, Any]) -> List[str]:
    """A paragraph for a paper, with the numbers of this run."""
    if not run:
        return []
    parameters = run.get("parameters") or {}
    weights = run.get("class_weights") or []
    start = (
        "%d initial volumes at %s A resolution were computed with pcainit %s from %s "
        "particles with known poses"
        % (
            len(weights),
            _number(parameters.get("resolution")),
            run.get("version", ""),
            run.get("particles", "?"),
        )
    )
    text = {
        "particles": _particle_methods,
        "batches": _batch_methods,
        "simple": _simple_methods,
    }.get(run.get("method"), lambda *_: ".")(run, parameters)
    return [start + text]


def _particle_methods(run, parameters) -> str:
    text = (
        ". Principal components (%s asked for) were fitted to the Fourier-cropped particle "
        "images by expectation maximisation, following [Penczek2011] and [Punjani2021], with "
        "contrast and pose errors marginalised" % parameters.get("components", "?")
    )
    given = run.get("given") or {}
    if given.get("use") == FIXED:
        text = (
            ". %d component volumes were given and not tested; the particles' coordinates "
            "along them were estimated following [Penczek2011] and [Punjani2021], with "
            "contrast and pose errors marginalised" % len(given["files"])
        )
    elif given:
        text += "; the search started from %d given component volumes" % len(given["files"])
    if run.get("significant_components") is not None:
        text += "; %s agreed between half-sets" % run["significant_components"]
    if run.get("regions_tried"):
        text += (
            "; %d overlapping small regions were searched for local components, which gave %d "
            "of these" % (run["regions_tried"], run.get("local_components", 0))
        )
    return text + (
        ". The particles were clustered with a Gaussian mixture that takes each "
        "particle's uncertainty into account [Bovy2011] (shares %s), and each class "
        "was reconstructed from its particles (seed %s)."
        % (_percentages(run.get("class_weights") or []), parameters.get("seed", "?"))
    )


def _batch_methods(run, parameters) -> str:
    return (
        ", as described for cryoSPARC [Punjani2017]. %s reconstructions of %s random "
        "particles were reduced to %s principal components, clustered with a Gaussian "
        "mixture model [Pedregosa2011], and averaged within each cluster (seed %s)."
        % tuple(
            parameters.get(name, "?")
            for name in ("reconstructions", "particles_per_reconstruction", "components", "seed")
        )
    )


def _simple_methods(run, parameters) -> str:
    return (
        ". Each is the reconstruction of %s randomly chosen particles [Punjani2017] (seed %s)."
        % (parameters.get("particles_per_reconstruction", "?"), parameters.get("seed", "?"))
    )


def citations(method: str) -> List[str]:
    """Keys of the references that a method rests on."""
    return CITATIONS[method] + ["delaRosaTrevin2016"]


def _percentages(weights) -> str:
    return ", ".join("%.1f %%" % (100 * weight) for weight in weights)


def _number(value: Any) -> str:
    return "%g" % value if isinstance(value, (int, float)) else "?"


def _total(seconds: Any) -> float:
    values = seconds.values() if isinstance(seconds, dict) else [seconds]
    return float(sum(value for value in values if isinstance(value, (int, float))))


def _duration(seconds: float) -> str:
    return "%.0f s" % seconds if seconds < 120 else "%.0f min" % (seconds / 60)
