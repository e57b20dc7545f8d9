"""What the method can take, used by checks before a run and by the engine alike."""
# SPDX-License-Identifier: GPL-3.0-or-later

MIN_PARTICLES = 50
MIN_VOLUMES = 3  # that a PCA of volumes takes
WORKING_BOX_FACTOR = 2.2  # working box = this x box x sampling / resolution
FINEST = 400  # box / resolution: beyond it voxels cannot be numbered in 32 bits
