"""Thresholds that decide a verdict."""
# SPDX-License-Identifier: GPL-3.0-or-later

# More of a component than this in the span of contrast, shift and rotation makes it an artefact.
MAX_NUISANCE = 0.4
