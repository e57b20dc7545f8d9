"""What the method particles says of the images and of the search, as plain values."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Dict

import numpy as np

from pcainit.io.star import ParticleTable

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


def image_columns(table: ParticleTable) -> Arrays:
    """Defocus and viewing direction of each particle, for the report's scatter."""
    defocus = [name for name in ("rlnDefocusU", "rlnDefocusV") if table.has(name)]
    angles = [name for name in ("rlnAngleRot", "rlnAngleTilt") if table.has(name)]
    arrays = {}
    if defocus:
        arrays["defocus"] = np.mean([table.numbers(name) for name in defocus], axis=0)
    if len(angles) == 2:
        arrays["view"] = np.stack([table.numbers(name) for name in angles], axis=1)
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def class_offsets(final: Arrays) -> list[dict[str, np.ndarray]]:
    """How each class as a whole lies against the consensus."""
    return [
        dict(shift_px=offset[:3], rotation_deg=np.degrees(offset[3:]))
        for offset in final.get("offsets", ())
    ]
