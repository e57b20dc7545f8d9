"""Chosen particles as a run: of Scipion's own subset protocol, or of one more volume."""

# SPDX-License-Identifier: GPL-3.0-or-later
import os
from typing import Any

import numpy as np

from pcainit.io.atomic import write_text


def subset_protocol(project: Any, protocol: Any, ids: np.ndarray, label: str) -> Any:
    """A new run that copies the chosen particles of a protocol's input into a set.

    Parameters
    ----------
    project : Project
    protocol : PcaInitProtInitialVolumes
        Finished.
    ids : (m,) int64
        Scipion's ids of the particles.
    label : str
        Name of the new run.

    Returns
    -------
    ProtUserSubSet
        Not launched yet.
    """
    from pwem.protocols import ProtUserSubSet

    path = _write_ids(protocol, ids)
    subset = project.newProtocol(ProtUserSubSet)
    subset.setObjLabel(label)
    subset.inputObject.copy(protocol.inputParticles)
    subset.sqliteFile.set("%s," % path)  # a list of ids, and no prefix of tables
    subset.outputClassName.set("SetOfParticles")
    return subset


def volume_protocol(project: Any, protocol: Any, ids: np.ndarray, label: str) -> Any:
    """A new run that makes one more volume from the chosen particles; as `subset_protocol`.

    Returns
    -------
    PcaInitProtChosenVolume
        Not launched yet.
    """
    from pcainit.protocols import PcaInitProtChosenVolume

    run = project.newProtocol(PcaInitProtChosenVolume)
    run.setObjLabel(label)
    run.inputRun.set(protocol)
    run.idsFile.set(_write_ids(protocol, ids))
    return run


def _write_ids(protocol: Any, ids: np.ndarray) -> str:
    """A new text file in the protocol's folder."""
    folder = protocol._getExtraPath("viewer")
    number = 1
    while os.path.exists(os.path.join(folder, "selection_%03d.txt" % number)):
        number += 1
    path = os.path.join(folder, "selection_%03d.txt" % number)
    write_text(path, " ".join(str(number) for number in ids.tolist()) + "\n")
    return path
