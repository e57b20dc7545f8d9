"""Scipion protocols of the plugin."""

# SPDX-License-Identifier: GPL-3.0-or-later
from pcainit.protocols.protocol_chosen_volume import PcaInitProtChosenVolume
from pcainit.protocols.protocol_compare import PcaInitProtCompare
from pcainit.protocols.protocol_import import PcaInitProtImport
from pcainit.protocols.protocol_initial_volumes import PcaInitProtInitialVolumes
from pcainit.protocols.protocol_latents import PcaInitProtLatents
from pcainit.protocols.protocol_volume_pca import PcaInitProtVolumePca

__all__ = [
    "PcaInitProtChosenVolume",
    "PcaInitProtCompare",
    "PcaInitProtImport",
    "PcaInitProtInitialVolumes",
    "PcaInitProtLatents",
    "PcaInitProtVolumePca",
]
