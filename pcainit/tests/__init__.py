"""Tests of the plugin; all run offline."""
# SPDX-License-Identifier: GPL-3.0-or-later
