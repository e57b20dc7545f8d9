"""Which files of a cryoSPARC job hold its particles, and their rows joined by unique id."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Iterator

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.errors import InputError, shorten
from pcainit.io.structured import read_structured

_METAFILE = re.compile(r"metafile:\s*(\"[^\"\n]*\"|'[^'\n]*'|[^\s,}]+)")
_MAIN = re.compile(r"(?:cryosparc_P\d+_)?J\d+_(?:(\d+)_)?(?!passthrough)(.*particles.*)\.cs")
_JOB = re.compile(r"J\d{1,9}")
_MAX_INDEX = 2**22  # bytes of a .csg or job.json file
_MAX_GENERATIONS = 10  # of jobs that a particle's image is looked for in
WITH_POSES = ("alignments3D/pose", "alignments3D_multi/pose", "alignments_class_0/pose")


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedRows:
    """Fields of all particles of a job, in the order of its own file.

    Parameters
    ----------
    path : Path
        The file that names the particles.
    files : tuple of Path
        All that fields come from, `path` first.
    identity : str
        Changes when the content of one of them does.
    fields : dict
        Name -> array (n, ...).
    """

    path: Path
    files: tuple[Path, ...]
    identity: str
    fields: dict[str, AnyArray]

    def __len__(self) -> int:
        return len(self.fields["uid"])


def is_cryosparc(path: str | Path) -> bool:
    """Whether this names cryoSPARC's particles: a .cs or .csg file, or a job's folder."""
    return Path(path).suffix.lower() in (".cs", ".csg") or os.path.isdir(str(path))


def read_joined(path: str | Path) -> JoinedRows:
    """Rows of a ``.cs`` file, a ``.csg`` group or a job's folder, with what they inherit.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    JoinedRows

    Raises
    ------
    InputError
        A file is missing or damaged, or does not know a particle.
    """
    main, named = _start(Path(path))
    rows, content = read_structured(main)
    names = rows.dtype.names or ()
    if not len(rows):
        raise InputError("%s has no particles." % main)
    if "uid" not in names or rows["uid"].dtype.kind not in "ui" or rows["uid"].ndim != 1:
        raise InputError(
            "%s has no unique ids (uid): give the particles file that cryoSPARC wrote." % main
        )
    uid = rows["uid"].astype(np.uint64)
    _refuse_twice(uid, main)
    fields = {name: rows[name] for name in names}
    digest, files = hashlib.sha256(content), [main]
    sources: Iterator[tuple[Path, bool]] = iter(
        [(file, True) for file in named] or [(file, False) for file in _passthroughs(main)]
    )
    for generation in range(2):
        for file, sure in sources:
            if generation and _complete(fields):
                break
            if file in files:
                continue
            more, content = read_structured(file)
            if _take(fields, uid, more, file, sure):
                digest.update(content)
                files.append(file)
        if generation == 0:
            sources = iter([(file, False) for file in _ancestors(main)])
    return JoinedRows(main, tuple(files), digest.hexdigest()[:16], fields)


def _complete(fields: dict[str, AnyArray]) -> bool:
    return (
        "blob/path" in fields
        and "ctf/df1_A" in fields
        and any(name in fields for name in WITH_POSES)
    )


def _take(
    fields: dict[str, AnyArray], uid: AnyArray, rows: AnyArray, file: Path, sure: bool
) -> bool:
    """Add the fields that are not there yet, by unique id; whether the file knows them all."""
    names = rows.dtype.names or ()
    if "uid" not in names or rows["uid"].dtype.kind not in "ui" or not len(rows):
        known = np.zeros(len(uid), bool)
    else:
        theirs = rows["uid"].astype(np.uint64)
        order = np.argsort(theirs, kind="stable")
        place = order[np.minimum(np.searchsorted(theirs, uid, sorter=order), len(theirs) - 1)]
        known = theirs[place] == uid
    if not known.all():
        if sure:
            raise InputError(
                "%s lacks %d of the %d particles (the first has the unique id %d): give the "
                "passthrough file of the same job."
                % (file, int((~known).sum()), len(uid), uid[np.argmax(~known)])
            )
        return False
    _refuse_twice(theirs, file)
    # An inherited file may carry the poses of an earlier classification: own poses stand.
    own_poses = any(name in fields for name in WITH_POSES)
    for name in names:
        if name not in fields and not (own_poses and name.startswith("alignments3D_multi")):
            if own_poses and re.match(r"alignments_class_\d+/", name):
                continue
            if "alignments3D/pose" in fields and name.startswith("alignments3D/"):
                continue
            fields[name] = rows[name][place]
    return True


def _refuse_twice(uid: AnyArray, path: Path) -> None:
    value, count = np.unique(uid, return_counts=True)
    if (count > 1).any():
        raise InputError(
            "%s has %d particles twice, with the same unique id (%d is the first): remove the "
            "duplicates." % (path, int((count > 1).sum()), value[np.argmax(count > 1)])
        )


def _start(path: Path) -> tuple[Path, list[Path]]:
    """The file that names the particles, and those that an index names beside it."""
    if os.path.isdir(str(path)):
        path = _of_folder(path)
    if not path.exists():
        raise InputError(
            "The particle file %s does not exist: check the path." % shorten(str(path))
        )
    if path.suffix.lower() != ".csg":
        if "_passthrough_" in path.name:
            raise InputError(
                "%s holds only what the job's particles inherit: give the particles file beside "
                "it, whose name has a number in that place, or the job's folder." % path
            )
        return path, []
    files = []
    for name in _METAFILE.findall(_read_index(path)):
        name = name.strip("\"'").lstrip(">")
        if name and name not in files:
            files.append(name)
    if not files:
        raise InputError("%s names no metafile: give cryoSPARC's .csg file of particles." % path)
    files.sort(key=lambda name: "passthrough" in Path(name).name)
    found = []
    for name in files:
        file = path.parent / Path(name).name  # beside the index, wherever that was moved
        if ".." in Path(name).parts or not file.is_file():
            raise InputError(
                "%s names %s, which is not beside it: copy that file there, or give the job's "
                "folder." % (path, shorten(name))
            )
        found.append(file)
    return found[0], found[1:]


def _of_folder(folder: Path) -> Path:
    """The particles that a job has made, from the files in its folder."""
    groups: dict[str, tuple[int, Path]] = {}
    for file in sorted(folder.glob("*.cs")):
        match = _MAIN.fullmatch(file.name)
        if match and file.is_file():
            number, name = int(match.group(1) or 0), match.group(2)
            if name not in groups or number >= groups[name][0]:
                groups[name] = number, file
    for name in ("particles", "particles_all_classes"):
        if name in groups:
            return groups[name][1]
    if len(groups) == 1:
        return next(iter(groups.values()))[1]
    exported = sorted(folder.glob("*.csg"))
    if not groups and len(exported) == 1:
        return exported[0]
    if groups or exported:
        raise InputError(
            "The folder %s has several files of particles (%s): give one of them."
            % (folder, ", ".join(file.name for _, file in sorted(groups.values())[:8]))
        )
    raise InputError(
        "The folder %s has no particles of cryoSPARC (a file such as J42_005_particles.cs): give "
        "the folder of a refinement, or a STAR file." % shorten(str(folder))
    )


def _passthroughs(main: Path) -> list[Path]:
    """Files of what the particles inherit, those of their own name first."""
    match = _MAIN.fullmatch(main.name)
    group = match.group(2) if match else "particles"
    files = [file for file in main.parent.glob("*passthrough*.cs") if file.is_file()]
    return sorted(
        files, key=lambda file: (not file.name.endswith("passthrough_%s.cs" % group), file.name)
    )


def _ancestors(main: Path) -> Iterator[Path]:
    """Particle files of the jobs that this one got its particles from, the nearest first."""
    folder = Path(os.path.abspath(str(main))).parent
    waiting, seen = [(folder, 0)], {folder}
    while waiting:
        job, age = waiting.pop(0)
        if age:
            files = [file for file in job.glob("*.cs") if file.is_file()]
            numbered = [(_MAIN.fullmatch(file.name), file) for file in files]
            last = max((int(m.group(1) or 0) for m, _ in numbered if m), default=0)
            for match, file in sorted(numbered, key=lambda pair: pair[1].name):
                if match and int(match.group(1) or 0) == last or "passthrough" in file.name:
                    yield file
        if age < _MAX_GENERATIONS and (job / "job.json").is_file():
            for name in _parents(job / "job.json"):
                if folder.parent / name not in seen:
                    seen.add(folder.parent / name)
                    waiting.append((folder.parent / name, age + 1))


def _parents(path: Path) -> list[str]:
    try:
        content = json.loads(_read_index(path))
        names = content.get("parents", [])
        return [name for name in names if isinstance(name, str) and _JOB.fullmatch(name)]
    except (InputError, ValueError, AttributeError, TypeError, RecursionError):
        return []


def _read_index(path: Path) -> str:
    try:
        if path.is_file() and path.stat().st_size <= _MAX_INDEX:
            return path.read_text(encoding="utf-8", errors="replace")
        reason = "it is no regular file of a few kilobytes"
    except OSError as error:
        reason = error.strerror or "damaged"
    raise InputError("%s cannot be read (%s): copy it again." % (path, reason))
