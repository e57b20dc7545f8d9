"""Central slices: reading them from volumes, inserting them, reconstruction."""
# SPDX-License-Identifier: GPL-3.0-or-later
