"""Which components are heterogeneity: certification, local search, controls."""
# SPDX-License-Identifier: GPL-3.0-or-later
