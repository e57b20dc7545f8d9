"""Which runs the tables of quality are made of."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Sequence

from nulls import DEFECTS, STATES, SURROUNDINGS
from records import Job

EXACT, ERRORS, REFINED = "particles.star", "particles_poseerr.star", "particles_refined.star"


@dataclass(frozen=True)
class Line:
    """Runs on one set.

    Parameters
    ----------
    group : str
        Of the table that it belongs to.
    name : str
        Of the set.
    stars : tuple of str
    resolutions : tuple of float
    options : tuple of str
        Of `pcainit run`.
    seeds : tuple of int, optional
        Those of the command by default.
    oracle : bool
    simulate : tuple of str
        Options of `pcainit simulate`; the seeds are the sets' too then.
    same_as : str
        The set whose folder it uses, if it has another name.
    """

    group: str
    name: str
    stars: tuple[str, ...] = (EXACT,)
    resolutions: tuple[float, ...] = (20.0,)
    options: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    oracle: bool = False
    simulate: tuple[str, ...] = ()
    same_as: str = ""


def _words(options: Mapping[str, Sequence]) -> tuple[str, ...]:
    return tuple(str(word) for flag, values in options.items() for word in (flag, *values))


FINER, SYMMETRIC = (20.0, 15.0, 12.0), ("--symmetry", "o")
_BASE = ("--box", "64", "--sampling", "5", "--snr", "0.1")
_NULL = (*_BASE, "--populations", "1")
_ROUGH = (*_BASE, *_words(DEFECTS))
_FINE = (*_NULL, "--particles", "20000", "--contrast-sd", "0.15", "--pose-error", "1.5", "0.5")
PLAN = (
    # Real particles of a homogeneous molecule, its simulated twins, and what is added to it.
    Line("real", "given", resolutions=FINER),
    Line("real", "given_o", resolutions=FINER, options=SYMMETRIC, same_as="given"),
    Line("real", "random", resolutions=FINER),
    Line("real", "random_o", resolutions=FINER, options=SYMMETRIC, same_as="random"),
    Line("real", "expanded", resolutions=FINER),
    Line("real", "twin0", resolutions=FINER),
    Line("real", "twin1", resolutions=FINER),
    Line("real", "twin2", resolutions=FINER),
    Line("positives", "outside_60_0.4", oracle=True),
    Line("positives", "outside_20_0.15", oracle=True),
    Line("positives", "cavity_60_0.4", oracle=True),
    Line("positives", "subunit_18_0.4", oracle=True),
    # Known states.
    Line("states", "A", (EXACT, ERRORS), (8.0,)),
    Line("states", "B", (EXACT, ERRORS, REFINED)),
    Line("states", "D", (EXACT, ERRORS), (8.0,)),
    Line("states", "E", (EXACT, ERRORS)),
    Line("states", "F", resolutions=(15.0,)),
    Line("states", "ratchet"),
    Line("states", "I", resolutions=(12.0,)),
    Line("states", "J"),
    Line("harsh", "F_harsh", resolutions=(15.0,)),
    Line("harsh", "ratchet_harsh"),
    Line("harsh", "I_harsh", resolutions=(12.0,)),
    Line("harsh", "J_harsh"),
    Line("movement", "antibody", (EXACT, ERRORS)),
    Line("movement", "antibody", resolutions=(15.0,)),
    Line("many", "assembly", (EXACT, ERRORS)),
    # Nothing to find.
    Line("nulls", "C", (EXACT, ERRORS, REFINED)),
    Line("nulls", "H", (EXACT, REFINED)),
    Line("nulls", "H_harsh"),
    Line("fresh", "null", seeds=tuple(range(1400, 1420)), simulate=(*_ROUGH, "--populations", "1")),
    Line(
        "fresh real",
        "null_real",
        seeds=tuple(range(2100, 2130)),
        simulate=(*_ROUGH, *_words(SURROUNDINGS), "--populations", "1"),
    ),
    Line("fresh fine", "null_fine", (EXACT,), (12.0,), seeds=tuple(range(6)), simulate=_FINE),
    Line(
        "fresh states",
        "three_states",
        seeds=tuple(range(1420, 1424)),
        simulate=(*_ROUGH, "--populations", STATES),
    ),
    Line(
        "views",
        "views_of_a_state",
        seeds=(1, 2, 3),
        simulate=(
            *_BASE,
            "--particles",
            "10000",
            "--populations",
            "0.6,0.4",
            "--state-views",
            "0,0.7",
        ),
    ),
    Line(
        "views",
        "views_of_a_state_errors",
        seeds=(1, 2, 3),
        simulate=(
            *_BASE,
            *("--particles", "10000", "--populations", "0.6,0.4", "--state-views", "0,0.7"),
            *("--pose-error", "1.5", "0.5"),
        ),
    ),
)


def expand(
    plan: Sequence[Line], folders: Mapping[str, Path], seeds: Sequence[int], work: Path
) -> Iterator[tuple[Line, Job]]:
    """The jobs of a plan whose sets are there, seed after seed within each line.

    Parameters
    ----------
    plan : list of Line
    folders : dict
        Set name -> its folder, or a STAR file, which then stands for `particles.star`.
    seeds : list of int
        Of the runs on given sets.
    work : Path
        Where sets are simulated.

    Yields
    ------
    line : Line
    job : Job
    """
    for line in plan:
        for star in line.stars:
            for resolution in line.resolutions:
                for seed in line.seeds or seeds:
                    if line.simulate:
                        folder, name = work / ("%s_%d" % (line.name, seed)), star
                        options = ("--seed", str(seed), *_with_particles(line.simulate))
                    else:
                        folder, options = folders.get(line.same_as or line.name, Path("-")), ()
                        name = star
                        if folder.suffix == ".star":
                            folder, name = folder.parent, folder.name if star == EXACT else star
                        if not (folder / name).is_file():
                            continue
                    yield (
                        line,
                        Job(
                            line.name,
                            folder,
                            name,
                            resolution,
                            seed,
                            line.options,
                            oracle=line.oracle,
                            simulate=options,
                        ),
                    )


def _with_particles(options: tuple[str, ...]) -> tuple[str, ...]:
    return options if "--particles" in options else ("--particles", "5000", *options)
