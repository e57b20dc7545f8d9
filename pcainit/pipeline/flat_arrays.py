"""Any stage's result as flat arrays, for a file, and back."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import json
from typing import Any, Dict, TypeVar

import numpy as np

from pcainit.engine.arrays import AnyArray
from pcainit.engine.consensus.refine import ParticleQuality
from pcainit.engine.geometry.grid import Grid
from pcainit.engine.model.image_model import LatentModel, NuisanceSpread
from pcainit.engine.model.statistics import Measurements
from pcainit.engine.projection.reconstruction import Consensus
from pcainit.engine.volume_sets.volume_set import VolumeComponents
from pcainit.pipeline.prepare_result import Checksums, PartResult, StageResult
from pcainit.pipeline.results import (
    STAGE_RESULTS,
    BatchVolumes,
    ComponentTests,
    LocalSearch,
    ParticleClasses,
    ParticleClusters,
    ParticleComponents,
)

Arrays = Dict[str, AnyArray]
Kind = TypeVar("Kind", bound=StageResult)

TREE = "result"  # name of what is no array
# All that a stage's result may be made of.
RESULT_TYPES = (
    *STAGE_RESULTS.values(),
    PartResult,
    Checksums,
    Grid,
    Consensus,
    ParticleQuality,
    BatchVolumes,
    NuisanceSpread,
    LatentModel,
    Measurements,
    VolumeComponents,
    ComponentTests,
    LocalSearch,
    ParticleComponents,
    ParticleClusters,
    ParticleClasses,
)
_KNOWN = {kind.__name__: kind for kind in RESULT_TYPES}


def to_arrays(result: object) -> Arrays:
    """Take a result apart into flat arrays.

    Parameters
    ----------
    result : dataclass
        Of `RESULT_TYPES`; so are those in it.

    Returns
    -------
    dict
        Each array under its dotted name (``consensus.mean``); `TREE` holds all else, as JSON.
    """
    arrays: Arrays = {}

    def take_apart(value: Any, name: str) -> Any:
        inside = name + "." if name else ""
        if isinstance(value, np.ndarray):
            # In the order that files keep: sums over other orders are rounded otherwise.
            arrays[name] = np.asarray(value, order="C")
            return dict(array=name)
        if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            parts = {f.name: take_apart(getattr(value, f.name), inside + f.name) for f in fields}
            return dict(kind=type(value).__name__, parts=parts)
        if isinstance(value, tuple):
            return dict(items=[take_apart(v, "%s%d" % (inside, k)) for k, v in enumerate(value)])
        return dict(plain=value)

    arrays[TREE] = np.array(json.dumps(take_apart(result, "")))
    return arrays


def from_arrays(arrays: Arrays, kind: type[Kind]) -> Kind:
    """Put together what `to_arrays` has taken apart; anything wrong with it is an exception."""

    def put_together(node: dict[str, Any]) -> Any:
        if "array" in node:
            return arrays[node["array"]]
        if "kind" in node:
            parts = {name: put_together(part) for name, part in node["parts"].items()}
            return _KNOWN[node["kind"]](**parts)
        if "items" in node:
            return tuple(put_together(item) for item in node["items"])
        return node["plain"]

    result = put_together(json.loads(str(arrays[TREE])))
    if not isinstance(result, kind):
        raise TypeError("%s is no %s" % (type(result).__name__, kind.__name__))
    return result
