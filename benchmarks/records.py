"""Runs whose figures are kept as one JSON file each, and made again only for another engine."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence, Tuple

import numpy as np
from jobs import ROOT, run_measured, run_pcainit, show
from movement import score_movement
from oracle import oracle_labels
from results import Figures, score_run
from scores import agreement
from truth_sets import TruthSet, data_root, disturb_poses, load_set

from pcainit.io.maps import read_map

Column = Tuple[str, Callable[[Figures], Any], str]  # head, figure, how it is printed
ENGINE = ("pcainit", ":!pcainit/tests")  # what results depend on


@dataclass(frozen=True)
class Job:
    """One run on one set.

    Parameters
    ----------
    name : str
        How tables call the set.
    folder : Path
        Of the set; without `truth` it counts as homogeneous.
    star : str
        Which STAR file of the folder.
    resolution : float
        Angstrom.
    seed : int
    options : tuple of str
        Further ones of `pcainit run`.
    pose_error : tuple of float
        Degrees and pixels per axis that the recorded poses are disturbed by first.
    first : int, optional
        Only so many particles.
    simulate : tuple of str
        Options of `pcainit simulate` that make the folder if it is not there.
    oracle : bool
        Also score the classes of one who knows the true maps.
    """

    name: str
    folder: Path
    star: str = "particles.star"
    resolution: float = 20.0
    seed: int = 0
    options: tuple[str, ...] = ()
    pose_error: tuple[float, float] = (0.0, 0.0)
    first: int | None = None
    simulate: tuple[str, ...] = ()
    oracle: bool = False

    @property
    def poses(self) -> str:
        """The poses in words."""
        words = {"particles.star": "as in the set", "particles_poseerr.star": "with errors"}
        text = words.get(self.star, Path(self.star).stem.replace("particles_", ""))
        if any(self.pose_error):
            text += ", off by %g degrees and %g px" % self.pose_error
        return text

    @property
    def simulated(self) -> str:
        """The command that makes the set; empty where it is given."""
        return "pcainit simulate SET " + " ".join(self.simulate) if self.simulate else ""

    @property
    def key(self) -> str:
        """Name of the files that belong to this job."""
        parts = [self.name, Path(self.star).stem, "%gA" % self.resolution, "seed%d" % self.seed]
        if any(self.pose_error):
            parts.append("off%g-%g" % self.pose_error)
        if self.first:
            parts.append("first%d" % self.first)
        parts += [word.strip("-") for word in self.options]
        return re.sub(r"[^\w.+-]+", "-", "_".join(parts))[:150]


class Store:
    """Folder of the figures, and whether they are those of the engine as it is now.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.engine = Path(folder).resolve(), engine_version()
        self.folder.mkdir(parents=True, exist_ok=True)

    def find(self, job: Job) -> dict[str, Any] | None:
        """The record of a job made with this engine; None if there is none."""
        path = self.folder / (job.key + ".json")
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        same = record.get("engine") == self.engine and record.get("simulated") == job.simulated
        scored = "oracle" in record["figures"] if same and job.oracle else same
        return record if scored else None

    def keep(self, job: Job, record: dict[str, Any]) -> None:
        """Write a record, whole or not at all."""
        path = self.folder / (job.key + ".json")
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(record, indent=1, default=_plain) + "\n")
        os.replace(unfinished, path)


def run_job(job: Job, store: Store, work: Path, threads: int = 2, keep: bool = False) -> dict:
    """The record of a job: kept from before, or of a run that is made now.

    Parameters
    ----------
    job : Job
    store : Store
    work : Path
        Folder for the result, which is removed unless `keep` is true.
    threads : int
    keep : bool

    Returns
    -------
    dict
        `set`, `poses`, `resolution`, `seed`, `options`, `command`, `commit`, `engine`, `simulated`,
        `machine`, `made` and `figures`, as in the JSON file.
    """
    known = store.find(job)
    if known is not None:
        print("%s: kept" % job.key, flush=True)
        return known
    made_here = bool(job.simulate) and not (job.folder / "particles.star").is_file()
    if made_here:
        command = [sys.executable, "-m", "pcainit", "simulate", job.folder, *job.simulate]
        run_measured(command, work / "simulate.log")
    truth = _truth_of(job, work)
    star, root = (truth.star, truth.root) if truth else _plain_set(job)
    output = work / job.key
    options = ["--resolution", job.resolution, "--seed", job.seed, *job.options]
    used = _cpu_seconds()
    summary, seconds, memory = run_pcainit(star, output, root, [*options, "--threads", threads])
    figures = figures_of(truth, output, summary, job.oracle)
    figures.update(seconds=seconds, memory=memory, cpu_seconds=_cpu_seconds() - used)
    record = dict(
        set=job.name,
        poses=job.poses,
        resolution=job.resolution,
        seed=job.seed,
        options=list(job.options),
        command="pcainit run SETS/%s/%s -o OUT %s"
        % (job.folder.name, star.name, " ".join(map(str, options))),
        commit=commit(),
        engine=store.engine,
        simulated=job.simulated,
        machine=machine(),
        made=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        figures=figures,
    )
    store.keep(job, record)
    if not keep:
        shutil.rmtree(output)
        if made_here:
            shutil.rmtree(job.folder)
    print("%s: %s" % (job.key, _in_short(figures)), flush=True)
    return record


def figures_of(
    truth: TruthSet | None, output: Path, summary: dict, oracle: bool = False
) -> Figures:
    """All figures of a finished run, JSON types but for numpy's numbers.

    Parameters
    ----------
    truth : TruthSet, optional
        None for a homogeneous set without maps.
    output : Path
    summary : dict
    oracle : bool
    """
    many = truth is not None and len(truth.maps) > 1
    if truth is not None:
        figures = score_run(truth, output, summary, len(truth.maps))
        figures.update(true=truth.populations.tolist(), states=len(truth.maps))
        if many:
            figures.update(score_movement(truth, output, summary))
            if oracle:
                for name in ("resolution", "analysis_resolution"):
                    labels = oracle_labels(truth, summary[name])
                    key = "oracle" if name == "resolution" else "oracle_fine"
                    figures[key] = agreement(truth.states, labels)
        else:
            del figures["ari"]  # of one state it is 0 or 1
    else:
        figures = dict(
            states=1,
            classes=summary["classes"] - sum(summary["copies"]),
            weights=summary["class_weights"],
            verdict=summary["verdict"],
            null=summary["null_cosine"],
            significant=summary["significant_components"],
            cosines=summary["half_set_cosines"],
            **summary["nuisance"],
        )
    mask, voxel = read_map(output / "components" / "mask.mrc")
    figures.update(
        sizes=summary["class_sizes"],
        analysis_resolution=summary["analysis_resolution"],
        mask_nm3=float((mask > 0.5).sum()) * (voxel / 10) ** 3,
        mask_grown=bool(summary["surroundings"].get("mask_grown")),
        headline=summary.get("headline", ""),
    )
    return figures


def _truth_of(job: Job, work: Path) -> TruthSet | None:
    """The set as the run sees it, or None where nothing is known but that it is homogeneous."""
    if not (job.folder / "truth" / "truth.csv").is_file():
        return None
    truth = load_set(job.folder, job.star, job.first, work)
    if any(job.pose_error):
        star = work / (job.key + ".star")
        known = disturb_poses(truth.star, star, job.pose_error, job.seed)
        truth = dataclasses.replace(truth, star=star, nuisance={**truth.nuisance, **known})
    return truth


def _plain_set(job: Job) -> tuple[Path, Path]:
    if any(job.pose_error) or job.first:
        raise SystemExit("%s has no truth: neither poses nor size are changed." % job.folder)
    star = job.folder.resolve() / job.star
    return star, data_root(star)


def median_of(records: Sequence[dict]) -> Figures:
    """Median over seeds of all figures that are numbers."""
    out: Figures = {}
    for name, value in records[0]["figures"].items():
        values = [record["figures"].get(name) for record in records]
        if isinstance(value, bool) or not all(isinstance(v, (int, float)) for v in values):
            continue
        out[name] = float(np.median(values))
    return out


def rows_of(records: Sequence[dict], columns: Sequence[Column]) -> list[list[str]]:
    """A row for each record; after those that differ by their seed alone, one of medians."""
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        same = tuple(str(record[name]) for name in ("set", "poses", "resolution", "options"))
        groups.setdefault(same, []).append(record)
    rows = []
    for group in groups.values():
        wide = [dict(record["figures"], **_heads(record)) for record in group]
        if len(group) > 1:
            wide.append(dict(median_of(group), **dict(_heads(group[0]), seed="**median**")))
        rows += [[show(figure(run), pattern) for _, figure, pattern in columns] for run in wide]
    return rows


def _heads(record: dict) -> Figures:
    out = {name: record[name] for name in ("set", "poses", "resolution")}
    words = " ".join(record["options"])
    return dict(out, seed=str(record["seed"]), options=words or "defaults")


def field(name: str) -> Callable[[Figures], Any]:
    """The figure of that name, as a column's function."""
    return lambda run: run.get(name)


HEADS: tuple[Column, ...] = (
    ("set", field("set"), "%s"),
    ("poses", field("poses"), "%s"),
    ("A", field("resolution"), "%g"),
    ("seed", field("seed"), "%s"),
)
ENDS: tuple[Column, ...] = (
    ("CPU seconds", field("cpu_seconds"), "%.0f"),
    ("MB", field("memory"), "%.0f"),
)


def _cpu_seconds() -> float:
    """Processor time of all programs that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def engine_version() -> str:
    """The last commit that changed the engine, with a mark of changes not yet committed."""
    version = _git("log", "-1", "--format=%h", "--", *ENGINE) or "unknown"
    changed = _git("diff", "HEAD", "--", *ENGINE)
    return version + ("+" + hashlib.sha1(changed.encode()).hexdigest()[:7] if changed else "")


def commit() -> str:
    """The commit that is checked out."""
    return _git("rev-parse", "--short", "HEAD") or "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Processor, how many of its cores may be used, and memory."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return dict(
        processor=model, cores=cores, memory_gb=round(memory), python=sys.version.split()[0]
    )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


def _in_short(figures: Figures) -> str:
    parts = ["%d certified, %d classes" % (figures["significant"], figures["classes"])]
    for name, label in (("ari", "ARI"), ("own", "own state"), ("corr_mean_mask", "differences")):
        if figures.get(name) is not None:
            parts.append("%s %.3f" % (label, figures[name]))
    return ", ".join([*parts, "%.0f s" % figures["seconds"]])
