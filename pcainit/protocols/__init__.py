"""Scipion protocols of the plugin."""
# SPDX-License-Identifier: GPL-3.0-or-later
from pcainit.protocols.protocol_chosen_volume import PcaInitProtChosenVolume
from pcainit.protocols.protocol_initial_volumes import PcaInitProtInitialVolumes

__all__ = ["PcaInitProtChosenVolume", "PcaInitProtInitialVolumes"]
