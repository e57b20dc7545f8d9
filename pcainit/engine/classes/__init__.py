"""Clusters of particles in latent space, their number, and their volumes."""
# SPDX-License-Identifier: GPL-3.0-or-later
