"""A subset of the input particles as a run of Scipion's own subset protocol."""
# SPDX-License-Identifier: GPL-3.0-or-later
import os
from typing import Any

import numpy as np

from pcainit.files.atomic import write_text


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
    path = _new_file(protocol._getExtraPath("viewer"))
    write_text(path, " ".join(str(number) for number in ids.tolist()) + "\n")
    subset = project.newProtocol(ProtUserSubSet)
    subset.setObjLabel(label)
    subset.inputObject.copy(protocol.inputParticles)
    subset.sqliteFile.set("%s," % path)         # a list of ids, and no prefix of tables
    subset.outputClassName.set("SetOfParticles")
    return subset


def _new_file(folder: str) -> str:
    number = 1
    while os.path.exists(os.path.join(folder, "selection_%03d.txt" % number)):
        number += 1
    return os.path.join(folder, "selection_%03d.txt" % number)
