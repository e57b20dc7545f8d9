"""Where things are: the sample grid, poses, symmetry, masks, motions of volumes."""
# SPDX-License-Identifier: GPL-3.0-or-later
