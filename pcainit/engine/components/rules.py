"""Thresholds that decide a verdict."""
# SPDX-License-Identifier: GPL-3.0-or-later

# More of a component than this in the span of contrast, shift and rotation makes it an artefact.
MAX_NUISANCE = 0.4
# Half-sets agree on a component where its local correlation exceeds the first, and its amplitude
# this share of its largest: tuned on ribosomes that lose a tRNA (2 % of atoms) and on apoferritin
# with 60 kDa added.
MIN_AGREEMENT, MIN_AMPLITUDE = 0.3, 0.15
