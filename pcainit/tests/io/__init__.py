"""Tests of reading and writing of files."""

# SPDX-License-Identifier: GPL-3.0-or-later
