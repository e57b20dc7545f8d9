"""What the method particles says of the images and of the search, as plain values."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any, Dict

import numpy as np

from pcainit.engine.images.census import warn_of_images
from pcainit.pipeline.store import Workspace

Arrays = Dict[str, np.ndarray]

# Scores of poses vary by less than this share of their curvature where the poses were refined on
# the same images: 0.4 on real particles, 0.8 after a search on a grid of 0.9 degrees; true poses
# give 0.96 to 1.06.
MIN_TOLD = 0.88


def summarise_nuisance(stages: dict[str, Arrays], total: int) -> dict[str, Any] | None:
    """Spread of contrast and pose errors, and share of junk; None where they are not measured.

    `shift_told` and `rotation_told` are false where the images cannot say how large errors are.
    """
    found, before = stages["components"], stages["reconstruct"]
    if "spread" not in found:
        return None
    contrast, shift, rotation, _ = found["spread"].tolist()
    shifts, rotations = before.get("pose_information", np.ones(2)).tolist()
    return dict(
        contrast_sd=contrast,
        shift_px=shift,
        rotation_deg=float(np.degrees(rotation)),
        shift_told=shifts > MIN_TOLD,
        rotation_told=rotations > MIN_TOLD,
        junk_share=float(before["junk"].sum() / total),
    )


def summarise_surroundings(stages: dict[str, Arrays], voxel: float) -> dict[str, Any] | None:
    """What backgrounds and neighbours did; None where it was not looked at.

    `components`: reproducible ones that scrambled residuals have too; `region_score`: the largest
    of any small region in scrambled residuals; `window`: radius of the circle that crowded images
    are seen through (A), 0 for none.
    """
    found, before = stages["components"], stages["reconstruct"]
    if "surroundings" not in found:
        return None
    return dict(
        components=int(found["surroundings"]),
        region_score=float(found["scrambled_score"]),
        window=float(before["window"]) * voxel,
        mask_grown=any(name.startswith("again_") for name in found),
    )


def left_out(workspace: Workspace, before: Arrays) -> dict[str, Any]:
    """What the images are like, and how many of them no result is made from.

    Parameters
    ----------
    workspace : Workspace
    before : dict
        Of the stage reconstruct.
    """
    meta = workspace.get("prepare")
    images, aside = json.loads(str(meta.get("images", "{}"))), set_aside(meta)
    masked, notes = images.pop("masked", 0), images.pop("notes", [])
    images.pop("set_aside", None)
    notes += filter(None, [str(before.get("mask_note", ""))])
    code = meta.get("aside", np.zeros(0, np.int8))
    constant, other = workspace.slices().left_out(code > 0 if len(code) else False)
    return dict(
        constant_images=constant,
        saturated_images=other - masked,
        masked_images=masked,
        set_aside=len(aside),
        half_sets_redrawn=bool(meta["redrawn"]),
        images=images,
        warnings=[*notes, *warn_of_images(images)],
    )


def set_aside(prepared: Arrays) -> list[tuple[int, str]]:
    """Row (from 0) of each particle that was set aside for what its row says, and the reason."""
    code = prepared.get("aside", np.zeros(0, np.int8))
    if not len(code):
        return []
    reasons = json.loads(str(prepared["images"]))["set_aside"]
    return [(k, reasons[code[k] - 1]) for k in np.flatnonzero(code).tolist()]
