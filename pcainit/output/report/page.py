"""The report's content as plain values; the templates beside it make them a page."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Iterable, Mapping

import jinja2

import pcainit
from pcainit.output.plots import Result
from pcainit.output.report.classes import class_rows
from pcainit.output.report.figures import Drawn, figure
from pcainit.output.report.pack import MAX_POINTS, MAX_STATES, pack_points, pack_volumes
from pcainit.output.words import advice
from pcainit.output.words.headline import agreement, certainty, is_null, sensitivity, write_headline
from pcainit.settings import USED_BY, Settings

FILES = Path(__file__).parent / "page_files"
_POINTS = ("particles", "batches")
_PICTURES = ("changes", "volumes", "differences")
_CLASSES = ("shares", "pairwise", "number", "fsc")
_COMPONENTS = ("spectrum", "components", "variance")
_OTHERS = {"align_greyscale": "Align the greyscale?", "along": "Steps along coordinate (0: none)"}

_QUALITY = (
    ("contrast_sd", "Contrast", "%.0f %%", 100, "spread of the particles' contrast (ice, dose)"),
    ("shift_px", "Shifts", "%.2f px", 1, "error of the recorded shifts, per axis"),
    ("rotation_deg", "Orientations", "%.1f°", 1, "error of the recorded angles, per axis"),
    ("junk_share", "Junk", "%.1f %%", 100, "images that do not look like the particle, set aside"),
)


def render(result: Result) -> str:
    """The whole page."""
    volumes, points = pack_volumes(result), pack_points(result)
    drawn = _figures(result, _POINTS)  # the first stands in for the points, on paper say
    return fill(
        "report.html.jinja",
        title="pcainit: initial volumes",
        **_head(result),
        volumes=volumes,
        comparison=None,
        common="the mean of the volumes" if result.kind == "volumes" else "the consensus",
        points=points,
        most_points=f"{MAX_POINTS:,}",
        most_states=MAX_STATES,
        null=is_null(result.summary),
        advice=dict(cards=advice.cards(result), command=advice.relion_command(result)),
        classes=class_rows(result),
        more_classes=max(0, result.n_classes - len(class_rows(result))),
        of_volumes=result.kind == "volumes",
        point_figures=drawn[:1],
        pictures=_figures(result, _PICTURES),
        class_figures=drawn[1:] + _figures(result, _CLASSES),
        component_figures=_figures(result, _COMPONENTS),
        quality=_quality(result),
        record=_record(result),
    )


def fill(template: str, **values: Any) -> str:
    """A page of its own from a template; every text is escaped.

    Parameters
    ----------
    template : str
        Name of the file.
    **values
        `title` at least.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(FILES)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = {
        name.replace(".", "_"): (FILES / name).read_text(encoding="utf-8")
        for name in ("style.css", "volumes.js", "scatter.js")
    }
    return environment.get_template(template).render(
        logo=_logo(), own=own, guide=pcainit.__url__, version=pcainit.__version__, **values
    )


def _head(result: Result) -> dict[str, Any]:
    summary = result.summary
    facts = [
        (result.n_classes, "volume" if result.n_classes == 1 else "volumes"),
        (
            _thousands(summary.get("particles", summary.get("input_volumes"))),
            "particles" if "particles" in summary else "input volumes",
        ),
        (advice.resolution(result) + " Å", "resolution"),
        (summary.get("method", "?"), "method"),
        (_duration(sum(_seconds(result).values())), "computing"),
    ]
    words = dict(summary, classes=result.n_classes, copies=result.spare.tolist())
    verdict = str(summary.get("verdict") or "No verdict was reached.")
    lead, stop, _ = verdict.partition(". ")
    return dict(
        headline=write_headline(words) or lead + stop.strip(),
        certainty=certainty(words),
        next_step=advice.opening(result),
        sensitivity=sensitivity(summary),
        verdict=verdict,
        agreement=_agreement(result),
        facts=facts,
    )


def _agreement(result: Result) -> dict[str, Any] | None:
    """Figures of the half-set test, where it was made."""
    summary = result.summary
    cosines = [float(c) for c in summary.get("half_set_cosines") or [] if c is not None]
    if not cosines or summary.get("significant_components") is None:
        return None
    noise = summary.get("null_cosine")
    return dict(
        real=summary["significant_components"],
        sought=len(cosines),
        cosines=", ".join("%.2f" % c for c in agreement(summary) or cosines),
        noise="%.2f" % noise if isinstance(noise, (int, float)) else "",
    )


def _figures(result: Result, names: Iterable[str]) -> list[Drawn]:
    return [drawn for drawn in (figure(result, name) for name in names) if drawn]


def _quality(result: Result) -> list[tuple[str, str, str]]:
    """Figure, name and meaning of each."""
    nuisance = result.summary.get("nuisance") or {}
    tiles = [
        (shown % (factor * nuisance[name]), title, explained)
        for name, title, shown, factor, explained in _QUALITY
        if isinstance(nuisance.get(name), (int, float))
        and nuisance.get(name.split("_")[0] + "_told", True)
    ]
    for kind, why in (
        ("Constant", "they hold no signal"),
        ("Saturated", "they have far more power than all others"),
    ):
        count = result.summary.get(kind.lower() + "_images") or 0
        if count:
            tiles.append((_thousands(count), kind + " images", "left out: " + why))
    return tiles


def _record(result: Result) -> dict[str, Any]:
    summary = result.summary
    known, method = Settings.fields(), str(summary.get("method"))
    rows = []
    for name, value in (summary.get("parameters") or {}).items():
        info = known.get(name, {})
        used = name in USED_BY[method] if method in USED_BY else method in info.get("methods", ())
        if info and not used:
            continue
        same = tuple(value) if isinstance(value, list) else value
        changed = "default" in info and info["default"] != same
        rows.append((info.get("label") or _OTHERS.get(name, name), name, _shown(value), changed))
    seconds = _seconds(result)
    longest = max(seconds.values(), default=0) or 1
    return dict(
        parameters=rows,
        steps=[
            (name, "%.1f s" % value, "%.1f" % (100 * value / longest))
            for name, value in seconds.items()
        ],
        details=[
            ("working box", "%s pixels" % summary.get("working_box", "?")),
            ("box", "%s pixels of %s Å" % (summary.get("box", "?"), summary.get("sampling", "?"))),
            ("threads", summary.get("threads", "?")),
        ],
        versions=list(
            dict(
                {"pcainit": summary.get("version", "?")}, **(summary.get("versions") or {})
            ).items()
        ),
    )


def _shown(value: Any) -> Any:
    """A parameter's value for people."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value == "" else {"True": "yes", "False": "no"}.get(str(value), value)


def _seconds(result: Result) -> Mapping[str, float]:
    return {
        name: value
        for name, value in (result.summary.get("seconds") or {}).items()
        if isinstance(value, (int, float))
    }


def _thousands(value: Any) -> str:
    return format(value, ",") if isinstance(value, int) else "?"


def _duration(seconds: float) -> str:
    return "%.0f s" % seconds if seconds < 120 else "%.0f min" % (seconds / 60)


def _logo() -> str:
    data = (Path(pcainit.__file__).parent / "logo.png").read_bytes()
    return "data:image/png;base64," + base64.b64encode(data).decode()
