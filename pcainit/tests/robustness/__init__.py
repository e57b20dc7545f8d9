"""Tests of what accidents do: full disks, kills, damaged and hostile files."""

# SPDX-License-Identifier: GPL-3.0-or-later
