"""The page's sections, as HTML; every text from outside is escaped."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

import pcainit
from pcainit.output.plots import Result
from pcainit.output.plots.style import class_colour
from pcainit.output.report.figures import figure
from pcainit.output.report.stylesheet import STYLE
from pcainit.output.words import advice
from pcainit.settings import USED_BY, Settings

_FIRST = ("particles", "batches", "changes")
_CLASSES = ("volumes", "differences", "shares", "pairwise", "number", "fsc")
_COMPONENTS = ("spectrum", "components", "variance")
_OTHERS = {"align_greyscale": "Align the greyscale?", "along": "Steps along coordinate (0: none)"}
_TABLED = 200  # classes in the table

_QUALITY = (
    ("contrast_sd", "Contrast", "%.0f %%", 100, "spread of the particles' contrast (ice, dose)"),
    ("shift_px", "Shifts", "%.2f px", 1, "error of the recorded shifts, per axis"),
    ("rotation_deg", "Orientations", "%.1f°", 1, "error of the recorded angles, per axis"),
    ("junk_share", "Junk", "%.1f %%", 100, "images that do not look like the particle, set aside"),
)


def render(result: Result) -> str:
    """The whole page."""
    sections = [
        _head(result),
        _next_steps(result),
        _figures(result, "What was found", _FIRST),
        _classes(result),
        _figures(result, "The volumes", _CLASSES),
        _figures(result, "What varies, and where", _COMPONENTS),
        _quality(result),
        _record(result),
    ]
    return whole_page("pcainit: initial volumes", "\n".join(filter(None, sections)))


def whole_page(title: str, body: str) -> str:
    """A page of its own, from HTML."""
    return _PAGE % dict(style=STYLE, title=text(title), body=body)


def text(value: Any) -> str:
    """A value as safe HTML text."""
    return html.escape(str(value), quote=True)


def _head(result: Result) -> str:
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
    if summary.get("significant_components") is not None:
        facts.insert(
            1,
            (
                "%s of %d" % (summary["significant_components"], result.n_components),
                "components real",
            ),
        )
    lead, rest = _sentences(str(summary.get("verdict") or "No verdict was reached."))
    return (
        '<header><p class="brand"><img alt="" src="%s">pcainit <span>initial volumes for 3D '
        'classification</span></p><h1>%s</h1>%s<ul class="facts">%s</ul></header>'
        % (
            _logo(),
            text(lead),
            '<p class="more">%s</p>' % text(rest) if rest else "",
            "".join("<li><b>%s</b> %s</li>" % (text(value), text(name)) for value, name in facts),
        )
    )


def _sentences(verdict: str) -> Sequence[str]:
    """The first sentence, and what follows it."""
    lead, stop, rest = verdict.partition(". ")
    return lead + stop.strip(), rest


def _next_steps(result: Result) -> str:
    cards = "".join(
        '<div class="card"><h3>%s</h3><dl>%s</dl></div>'
        % (
            title,
            "".join(
                "<dt>%s</dt><dd>%s</dd>" % (text(name), text(value))
                for name, value in values(result)
            ),
        )
        for title, values in (
            ("RELION, Class3D", advice.relion),
            ("cryoSPARC, 3D Classification", advice.cryosparc),
            ("Scipion", advice.scipion),
        )
    )
    star = (
        "<details><summary>STAR file of the references for RELION</summary><pre>%s</pre>"
        "</details>" % text(advice.references_star(result))
    )
    return (
        '<section><h2>What to do next</h2><p class="lead">%s</p><div class="cards">%s</div>%s'
        "</section>" % (text(advice.opening(result)), cards, star)
    )


def _figures(result: Result, title: str, names: Iterable[str]) -> str:
    drawn = "".join(filter(None, (figure(result, name) for name in names)))
    return (
        '<section><h2>%s</h2><div class="figures">%s</div></section>' % (title, drawn)
        if drawn
        else ""
    )


def _classes(result: Result) -> str:
    if not result.n_classes:
        return ""
    rows, of_volumes = [], result.kind == "volumes"
    sizes = (
        result.summary.get("class_sizes") or []
        if of_volumes
        else result.class_sizes
        if result.labels is not None
        else []
    )
    for k in range(min(result.n_classes, _TABLED)):
        weight = "" if result.class_weights is None else "%.1f %%" % (100 * result.class_weights[k])
        rows.append(
            (
                _dot(k) + "class %d" % (k + 1),
                weight,
                _thousands(int(sizes[k])) if len(sizes) > k else "",
                _nearest(result, k),
                "<code>volumes/class_%03d.mrc</code>" % (k + 1),
            )
        )
    more = result.n_classes - len(rows)
    return "<section><h2>Classes</h2>%s%s</section>" % (
        _table(
            (
                "class",
                "weight",
                "input volumes" if of_volumes else "particles",
                "nearest class",
                "file",
            ),
            rows,
        ),
        '<p class="note">and %d more</p>' % more if more > 0 else "",
    )


def _nearest(result: Result, k: int) -> str:
    if result.spare[k]:
        return "random subset, shows no state"
    if result.pairwise is None or len(result.pairwise) < 2:
        return ""
    ratio = np.where(np.arange(len(result.pairwise)) == k, np.inf, result.pairwise[k])
    other = int(np.nanargmin(ratio))
    return "class %d, %.1f × %s apart" % (
        other + 1,
        ratio[other],
        "their spread" if result.kind == "volumes" else "noise",
    )


def _quality(result: Result) -> str:
    nuisance = result.summary.get("nuisance") or {}
    tiles = "".join(
        "<li><b>%s</b><span>%s</span><small>%s</small></li>"
        % (text(shown % (factor * nuisance[name])), text(title), text(explained))
        for name, title, shown, factor, explained in _QUALITY
        if isinstance(nuisance.get(name), (int, float))
        and nuisance.get(name.split("_")[0] + "_told", True)
    )
    for kind, why in (
        ("Constant", "they hold no signal"),
        ("Saturated", "they have far more power than all others"),
    ):
        count = result.summary.get(kind.lower() + "_images") or 0
        if count:
            tiles += "<li><b>%s</b><span>%s images</span><small>left out: %s</small></li>" % (
                _thousands(count),
                kind,
                why,
            )
    if not tiles:
        return ""
    return (
        '<section><h2>Quality of the data</h2><p class="lead">Estimated from the images '
        'themselves, and accounted for in the components.</p><ul class="tiles">%s</ul>'
        "</section>" % tiles
    )


def _record(result: Result) -> str:
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
        rows.append(
            (
                text(info.get("label") or _OTHERS.get(name, name)),
                "<code>%s</code>" % text(name),
                ("<b>%s</b>" if changed else "%s") % text(_shown(value)),
            )
        )
    seconds = _seconds(result)
    longest = max(seconds.values(), default=0) or 1
    steps = [
        (
            text(name),
            "%.1f s" % value,
            '<i class="bar" style="width:%.1f%%"></i>' % (100 * value / longest),
        )
        for name, value in seconds.items()
    ]
    versions = dict({"pcainit": summary.get("version", "?")}, **(summary.get("versions") or {}))
    details = [
        ("working box", "%s pixels" % summary.get("working_box", "?")),
        ("box", "%s pixels of %s Å" % (summary.get("box", "?"), summary.get("sampling", "?"))),
        ("threads", summary.get("threads", "?")),
    ]
    return (
        '<section class="record"><h2>Record</h2><div class="columns"><div><h3>Parameters</h3>'
        '%s<p class="note">Bold: not the default.</p></div><div><h3>Time</h3>%s<h3>Run</h3>%s'
        "<h3>Versions</h3>%s</div></div></section>"
        % (
            _table(("parameter", "name", "value"), rows),
            _table(None, steps, "steps"),
            _table(None, [map(text, row) for row in details]),
            _table(None, [map(text, row) for row in versions.items()]),
        )
    )


def _shown(value: Any) -> Any:
    """A parameter's value for people."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value == "" else {"True": "yes", "False": "no"}.get(str(value), value)


def _table(titles: Sequence[str] | None, rows: Iterable[Iterable[str]], name: str = "") -> str:
    """A table of cells that are HTML already."""
    head = (
        "<thead><tr>%s</tr></thead>" % "".join("<th>%s</th>" % t for t in titles) if titles else ""
    )
    body: list[str] = [
        "<tr>%s</tr>" % "".join("<td>%s</td>" % cell for cell in row) for row in rows
    ]
    return '<table class="%s">%s<tbody>%s</tbody></table>' % (name, head, "".join(body))


def _dot(k: int) -> str:
    return '<i class="dot" style="background:%s"></i>' % class_colour(k)


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


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%(title)s</title>
<style>%(style)s</style>
</head>
<body>
<main>
%(body)s
</main>
</body>
</html>
"""
