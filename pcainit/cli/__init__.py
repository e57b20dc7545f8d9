"""The command line: one module per group of commands, each driving the engine."""
# SPDX-License-Identifier: GPL-3.0-or-later
