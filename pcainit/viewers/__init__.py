"""What "Analyze results" opens."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pcainit.viewers.viewer_chosen_volume import PcaInitViewerChosenVolume
from pcainit.viewers.viewer_compare import PcaInitViewerCompare
from pcainit.viewers.viewer_initial_volumes import PcaInitViewerInitialVolumes

__all__ = ["PcaInitViewerChosenVolume", "PcaInitViewerCompare", "PcaInitViewerInitialVolumes"]
