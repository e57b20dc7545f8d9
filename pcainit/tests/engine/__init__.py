"""Tests of the engine, on arrays with known truth."""

# SPDX-License-Identifier: GPL-3.0-or-later
