"""Particle images: what describes them, their CTF, cropping to the samples analysed."""
# SPDX-License-Identifier: GPL-3.0-or-later
