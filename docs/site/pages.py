"""Pages of the documentation that are made from the code and from result files.

python docs/site/pages.py            write them
python docs/site/pages.py --check    exit status 1 where one is out of date
"""

# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E501 (lines of pages)
import importlib
import inspect
import json
import re
import sys
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pcainit.engine.components.rules import CertificationRules  # noqa: E402
from pcainit.settings import METHODS, Settings  # noqa: E402

SOURCE = "https://github.com/scipion-em/scipion-em-pcainit/blob/main/"
NOTE = "<!-- Made by docs/site/pages.py (make pages): change the source, not this page. -->\n\n"

# What scripts may rely on, by what it is for; each has an example that is run as a test.
API = {
    "A run and its result": (
        "settings.Settings",
        "output.result_folder.ResultFolder",
        "output.plots.results.load_result",
    ),
    "Files": ("io.maps.read_map", "io.maps.write_map", "io.particle_table.ParticleTable"),
    "Geometry": (
        "engine.geometry.grid.Grid",
        "engine.geometry.poses.rotation_from_euler",
        "engine.geometry.poses.symmetry_matrices",
        "engine.geometry.masks.auto_mask",
        "engine.geometry.rigid_motion.move_volume",
        "engine.images.ctf.evaluate_ctf",
    ),
    "Volumes": (
        "engine.projection.reconstruction.fourier_shell_correlation",
        "engine.components.certify.principal_directions",
        "engine.classes.distances.pairwise_differences",
        "engine.volume_sets.noise_edge.above_noise",
        "engine.volume_sets.comparison.best_match",
    ),
    "Simulation": ("engine.simulation.simulate.draw_truth",),
}

# Beside the table of settings: questions that only the form asks.
FORM_ONLY = """
## In the form only

| label | default | what it does |
| --- | --- | --- |
| Let the data decide the number of classes? | yes | Yes is `auto`; with no, the number is 4 until you change it. |
| Only the variance map? | no | *Expert.* Where the structure varies, as a quick look without classes. |
| Keep the cropped images? | yes | *Expert.* No saves disk, but *Continue* must then read the particles again, and *volume of chosen particles* cannot be used. |
| Jobs to read the images | 1 | *Expert.* How many jobs of a queue read parts of the images side by side. |

## On the command line only

`--threads` (2, or 1 where there is one processor): processors to use. In the form it is Scipion's own field *Threads*.
`pcainit variance` makes the variance map alone. `pcainit run --help` lists the same parameters as this page.
"""

STAGES = {
    "prepare": "Reading the images",
    "reconstruct": "Consensus, mask and method",
    "components": "Components",
    "cluster": "Classes",
}

# The pages that show what a threshold rests on, where there is one.
EVIDENCE = {
    "null_factor": ("nulls_1100", "nulls_1200"),
    "min_score": ("nulls_1100", "nulls_1200"),
    "min_started_score": ("nulls_given_1000", "nulls_given_1040"),
    "max_nuisance": ("states_1150",),
    "max_scrambled_inside": ("real",),
    "max_scrambled_outside": ("real", "nulls_real_2000"),
    "min_of_surroundings": ("real",),
    "min_at_mates": ("real",),
    "min_gain": ("states_1150", "B_auto"),
    "min_distance": ("states_1150",),
    "min_distance_alone": ("real",),
    "clearly_even": ("real", "D"),
}


def cell(text):
    """Text as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def shown(default):
    """A default as a person reads it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "none" if default in ("", ()) else "`%s`" % default


def parameters():
    """docs/parameters.md, from the table of settings."""
    lines = [
        "# Parameters",
        "",
        "One table makes this page, the options of the command line, the form in Scipion and the record in `summary.json`. *Expert*",
        "ones are shown in the form at the level *Advanced*. Advice on when to change which: [Settings that matter](reading_the_result.md#settings-that-matter).",
    ]
    by_stage = {}
    for name, info in Settings.fields().items():
        by_stage.setdefault(info["stage"], []).append((name, info))
    for stage, title in STAGES.items():
        lines += ["", "## " + title, "", "| option, label | default | range | what it does |"]
        lines += ["| --- | --- | --- | --- |"]
        for name, info in by_stage.pop(stage):
            unit = " " + info["unit"].replace("A", "Å") if info["unit"] else ""
            bounds = ""
            if info["choices"]:
                bounds = ", ".join("`%s`" % choice for choice in info["choices"])
            elif info["low"] is not None:
                bounds = "%g to %g%s" % (info["low"], info["high"], unit)
            text = info["help"]
            if set(info["methods"]) != set(METHODS):
                text = "(%s only.) %s" % (", ".join("`%s`" % m for m in info["methods"]), text)
            if info["expert"]:
                text = "*Expert.* " + text
            lines.append(
                "| `--%s`<br>%s | %s | %s | %s |"
                % (
                    name.replace("_", "-"),
                    info["label"],
                    shown(info["default"]),
                    bounds,
                    cell(text),
                )
            )
    assert not by_stage, by_stage
    return NOTE + "\n".join(lines) + "\n" + FORM_ONLY


def rule_texts():
    """Name -> description of each threshold, from the docstring of their dataclass."""
    body = inspect.getdoc(CertificationRules).split("----------\n", 1)[1]
    texts = {}
    for names, text in re.findall(r"^(\w[\w, ]*) : float\n((?:    .*\n?)+)", body, re.MULTILINE):
        for name in names.split(", "):
            texts[name] = " ".join(text.split())
    return texts


def thresholds():
    """docs/thresholds.md, from the dataclass that the code decides by."""
    texts = rule_texts()
    lines = [
        "# Thresholds",
        "",
        "What decides whether something counts as heterogeneity, as a place, or as a class. Scores are in standard deviations of what noise",
        "alone gives; cosines are between the components of two independent half-sets. Where no set is named, none was recorded. The last",
        "column leads to the measurements that show a bound at work; [Theory](theory.md) has the equations. Changing one is a change of",
        "the method: the code is [rules.py](%spcainit/engine/components/rules.py)." % SOURCE,
        "",
        "| threshold | value | meaning, unit and what it was tuned on | measured in |",
        "| --- | --- | --- | --- |",
    ]
    for field in fields(CertificationRules):
        pages = EVIDENCE.get(field.name, ())
        links = ", ".join("[%s](benchmarks/%s.md)" % (page, page) for page in pages)
        lines.append(
            "| `%s` | %g | %s | %s |" % (field.name, field.default, cell(texts[field.name]), links)
        )
    return NOTE + "\n".join(lines) + "\n"


def documented(name):
    """The object that an entry of `API` names."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module("pcainit." + module), attribute)


def signature(name):
    """Name and parameters, without annotations, the same on every Python."""
    item = documented(name)
    listed = []
    starred = False
    for parameter in inspect.signature(item).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            listed.append("*")
            starred = True
        has = parameter.default is not parameter.empty
        if name == "settings.Settings" and has:
            listed = ["..."]
            break
        listed.append(
            parameter.name
            + ("=%s" % ("..." if callable(parameter.default) else parameter.default) if has else "")
        )
    return "%s(%s)" % (name.rpartition(".")[2], ", ".join(listed))


def api():
    """docs/api.md, from the docstrings."""
    lines = [
        "# From Python",
        "",
        "What scripts may rely on. All else may change without notice. A run is started with the [command line](command_line.md), from a",
        'script as `pcainit.cli.main.main(["run", "particles.star", "-o", "initial"])`, which returns the exit status. Conventions (axes,',
        "Fourier scale, poses, units) stand in `pcainit.engine`'s own docstring. All examples are run as tests.",
    ]
    for title, names in API.items():
        lines += ["", "## " + title]
        for name in names:
            module = name.rpartition(".")[0]
            lines += [
                "",
                "### " + name.rpartition(".")[2],
                "",
                "[`pcainit.%s`](%spcainit/%s.py)" % (module, SOURCE, module.replace(".", "/")),
                "",
                "```text",
                signature(name),
                "",
                *inspect.getdoc(documented(name)).split("\n"),
                "```",
            ]
    return NOTE + "\n".join(lines) + "\n"


def quality():
    """docs/quality.md, from docs/benchmarks/data."""
    lines = [
        "# Quality and speed",
        "",
        "Every figure stands in a file of [docs/benchmarks/data](%sdocs/benchmarks/data) with its command, commit and"
        % SOURCE.replace("blob", "tree"),
        "machine, and in full on the page behind the title. How to measure it yourself: [benchmarks](../benchmarks/README.md); all result",
        "pages: [list](benchmarks/README.md). Figures hold for the commit that is named, not for a later one.",
    ]
    groups = {}
    for path in sorted((ROOT / "docs" / "benchmarks" / "data").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        groups.setdefault(record["group"], []).append(record)
    for group in sorted(groups):
        lines += ["", "## " + group]
        for record in sorted(groups[group], key=lambda record: record["order"]):
            lines += [
                "",
                "### " + record["title"],
                "",
                record["what"],
                "",
                "| figure | value |",
                "| --- | --- |",
            ]
            lines += [
                "| %s | %s |" % (cell(f["name"]), cell(str(f["value"]))) for f in record["figures"]
            ]
            lines += [
                "",
                "`%s`; commit %s; %s. [All figures](benchmarks/%s.md)."
                % (record["command"], record["commit"], record["machine"], record["page"]),
            ]
    return NOTE + "\n".join(lines) + "\n"


PAGES = {
    "parameters.md": parameters,
    "thresholds.md": thresholds,
    "api.md": api,
    "quality.md": quality,
}


def outdated():
    """Names of pages that differ from what would be written."""
    found = []
    for name, make in PAGES.items():
        path = ROOT / "docs" / name
        if not path.is_file() or path.read_text(encoding="utf-8") != make():
            found.append(name)
    return found


def main(arguments):
    """Write the pages, or say which are out of date."""
    old = outdated()
    if "--check" in arguments:
        if old:
            print("out of date: %s: run make pages" % ", ".join(old))
        return bool(old)
    for name in old:
        (ROOT / "docs" / name).write_text(PAGES[name](), encoding="utf-8")
        print("docs/" + name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
