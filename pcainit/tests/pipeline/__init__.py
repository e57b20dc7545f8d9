"""Tests of the order of the work, and the routes of the other commands."""

# SPDX-License-Identifier: GPL-3.0-or-later
