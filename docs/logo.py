"""Draw the plugin's logo: particles in the plane of two components, in three clusters.

usage: python docs/logo.py        (writes pcainit/logo.png)
"""

# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = ("#2a6f97", "#e07a1f", "#4a9d5b")
CENTRES = np.array([[-0.85, 0.55], [0.95, 0.65], [0.15, -0.85]])

rng = np.random.default_rng(3)
fig, ax = plt.subplots(figsize=(2.4, 2.4), dpi=100)
for colour, centre in zip(COLOURS, CENTRES):
    points = centre + rng.normal(0, 0.25, (16, 2))
    ax.scatter(*points.T, s=95, color=colour, alpha=0.55, linewidths=0)
    ax.scatter(*centre, s=900, color=colour, edgecolors="white", linewidths=4, zorder=3)
for end in ((1.75, -1.5), (-1.6, 1.75)):
    ax.annotate(
        "",
        xy=end,
        xytext=(-1.6, -1.5),
        arrowprops=dict(arrowstyle="-|>", color="#444444", lw=6, mutation_scale=30),
    )
ax.set_xlim(-1.75, 1.8)
ax.set_ylim(-1.7, 1.8)
ax.set_axis_off()
fig.subplots_adjust(0, 0, 1, 1)
fig.savefig(Path(__file__).resolve().parents[1] / "pcainit" / "logo.png", transparent=True)
